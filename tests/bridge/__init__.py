"""Tests of the bridge: the two daemons, from the command line to the published document."""
