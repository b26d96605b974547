"""Numbers to pictures: the operator's page. Reads published files only; knows no log and no other station."""
