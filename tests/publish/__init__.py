"""Tests of the station that makes the log publishable."""
