"""Counting in front of another transport's program: `obfstats wrap`."""
