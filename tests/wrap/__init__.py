"""Tests of `obfstats wrap`, with a stub of tor."""
