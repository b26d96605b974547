"""From documents to a public archive: submit, admit, store, publish, mirror."""
