"""The demonstration: real clients through a real server, and what is left of them."""
