"""Text to values and back: addresses, intervals, log lines, counts, documents, the lines of old programs. Pure."""
