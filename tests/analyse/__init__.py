"""Tests of src/obfstats/analyse."""
