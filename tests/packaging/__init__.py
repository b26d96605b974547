"""Tests of what users install: packages, man pages, completion, units."""
