"""All the sockets: accept, shake hands, count, relay; and the program `obfsproxy`."""
