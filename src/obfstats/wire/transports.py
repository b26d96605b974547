"""The transports there are, by name, and their options.

Options are checked here, before a connection exists: a mistake in torrc or in a bridge line is told once, at the
start, and never becomes a connection that fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from obfstats.wire.obfs2 import Obfs2
from obfstats.wire.obfs3 import Obfs3

if TYPE_CHECKING:
    from collections.abc import Callable

    from obfstats.wire.handshake import Transport


class TransportError(ValueError):
    """A transport or its options are not as they must be; the text is a sentence that says what to do."""


def make_transport(name: str, *, shared_secret: str | None = None) -> Transport:
    """Make a transport with its options checked.

    Args:
        name: its name as tor writes it, for instance `obfs3`.
        shared_secret: the value of the option `shared-secret`, or None where it is not given.

    Raises:
        TransportError: there is no such transport, or it does not take what it was given. The secret is never in the
            text.
    """
    make = TRANSPORTS.get(name)
    if make is None:
        raise TransportError(f"There is no transport called {name!r}; choose one of {', '.join(TRANSPORTS)}.")
    return make(shared_secret)


def _make_obfs2(shared_secret: str | None) -> Transport:
    if shared_secret is None:
        return Obfs2()
    if not shared_secret:
        raise TransportError("The option shared-secret of obfs2 is empty; give it a value or leave it out.")
    try:
        # Bytes of the environment that are not UTF-8 are surrogates in str: they become the same bytes again.
        secret = shared_secret.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise TransportError("The option shared-secret of obfs2 is not text; give one in UTF-8.") from None
    return Obfs2(secret)


def _make_obfs3(shared_secret: str | None) -> Transport:
    if shared_secret is not None:
        raise TransportError("obfs3 does not take the option shared-secret; leave it out or use obfs2.")
    return Obfs3()


TRANSPORTS: dict[str, Callable[[str | None], Transport]] = {"obfs2": _make_obfs2, "obfs3": _make_obfs3}
"""How to make each transport of its `shared-secret`, by name, in the order they are offered."""
