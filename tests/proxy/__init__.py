"""Tests of the sockets and the program."""
