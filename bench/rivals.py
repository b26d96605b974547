"""The programs that ours is measured against: lyrebird, which bridges run today, and Debian's obfs4proxy."""

from __future__ import annotations

from typing import NamedTuple

from bench.report import MissingError
from peers import fetched, obfs4proxy


class Rival(NamedTuple):
    """A program of another author.

    Attributes:
        name: what tables call it.
        program: its path.
        version: its name and version.
    """

    name: str
    program: str
    version: str


def find_rivals() -> list[Rival]:
    """Find both.

    Raises:
        MissingError: if one is missing.
    """
    lyrebird, older = fetched.find_program("lyrebird"), fetched.find_program(obfs4proxy.PROGRAM)
    if lyrebird is None:
        raise MissingError("the peer is missing: script/fetch-peers")
    if older is None:
        raise MissingError(f"the peer is missing: apt-get install {obfs4proxy.PACKAGE}")
    # Debian's build of lyrebird does not know its own version.
    return [
        Rival("lyrebird", lyrebird, fetched.version("lyrebird")),
        Rival("obfs4proxy", older, obfs4proxy.version()),
    ]
