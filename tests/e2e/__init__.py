"""End to end: real tors in a private network on loopback, with our programs as their transports."""
