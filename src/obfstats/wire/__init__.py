"""Protocols without IO: bytes go in, events come out. No socket, clock, file or log anywhere in this folder."""
