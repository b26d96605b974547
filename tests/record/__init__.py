"""Tests of the station that counts."""
