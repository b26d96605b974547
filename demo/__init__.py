"""The demonstration: real clients connect through two real bridges, and what remains of them is examined."""


class DemoError(Exception):
    """The demonstration cannot continue. The text is one sentence with the reason, never with a client's address."""
