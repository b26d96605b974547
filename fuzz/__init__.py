"""Fuzz targets: each states one invariant, runs under atheris, and has a test that runs it briefly."""
