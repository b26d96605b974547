"""The one error of this folder."""

from __future__ import annotations


class DemoError(Exception):
    """The demonstration cannot go on. Its text is one sentence that says why; it never holds a client's address."""
