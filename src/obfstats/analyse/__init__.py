"""Descriptors and documents become numbers: read, ingest, estimate, events, explain.

This station needs the extra `obfstats[analyse]`. It reads files that anybody publishes and writes tables, so it can run
on another machine, under another operator.
"""
