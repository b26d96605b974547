"""The collector's web service."""
