"""Tests of the protocols without IO."""
