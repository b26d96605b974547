"""Tests of `obfstats wrap` without a tor."""
