"""The public archive: files made from the ledger, their index, their signatures."""
