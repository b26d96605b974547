"""Tests of the station show."""
