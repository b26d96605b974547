"""The whole thing: real tors in a private network on loopback, with our program as their transport."""
