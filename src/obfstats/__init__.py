"""obfstats: how many an obfuscated bridge helps, and from where, without remembering who.

A folder is a station of the data's journey; docs/architecture.md follows an address through them.
"""

__version__ = "0.1.0"
