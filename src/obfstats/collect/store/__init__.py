"""The ledger: a database of what was accepted, from whom, and where it is."""
