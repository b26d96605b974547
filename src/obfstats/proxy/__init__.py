"""Sockets: accept, limits, handshake, relay. It knows tor's ORPorts, and nothing of publishing."""
