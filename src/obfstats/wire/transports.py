"""The transports by name, and their options.

Options are checked here, before a connection exists: an error in torrc or in a bridge line is reported once, at the
start, and does not become failing connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from obfstats.wire.dummy import Dummy
from obfstats.wire.obfs2 import Obfs2
from obfstats.wire.obfs3 import Obfs3
from obfstats.wire.transport_names import RETIRED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from obfstats.wire.handshake import Transport

_SHARED_SECRET = "shared-secret"  # noqa: S105 - the option's key

_MAX_SHOWN = 40


class TransportError(ValueError):
    """There is no such transport, or its options are invalid; the text says what to do."""


def make_transport(name: str, *, shared_secret: str | None = None) -> Transport:
    """Make a transport with its options checked.

    Args:
        name: its name as tor writes it, for instance `obfs3`.
        shared_secret: the value of the option `shared-secret`, or None.

    Raises:
        TransportError: there is no such transport, or it does not take the option. The secret is never in the text.
    """
    make = TRANSPORTS.get(name)
    if make is None:
        unknown = f"There is no transport called {name!r}; choose one of {', '.join(TRANSPORTS)}."
        raise TransportError(RETIRED.get(name, unknown))
    return make(shared_secret)


def make_transport_with(name: str, options: Mapping[str, str]) -> Transport:
    """Make a transport with the options of torrc (ServerTransportOptions) or of a bridge line.

    Args:
        name: its name as tor writes it.
        options: values by key; `shared-secret` is the only key that exists.

    Raises:
        TransportError: as `make_transport`, or there is another key. No value is ever in the text.
    """
    for key in options:
        if key != _SHARED_SECRET and name in TRANSPORTS:
            raise TransportError(f"{name} does not take the option {_quote(key)}; leave it out.")
    return make_transport(name, shared_secret=options.get(_SHARED_SECRET))


def _quote(key: str) -> str:
    """Quote a key, which may hold anything."""
    return ascii(key if len(key) <= _MAX_SHOWN else f"{key[:_MAX_SHOWN]}...")


def _make_dummy(shared_secret: str | None) -> Transport:
    if shared_secret is not None:
        raise TransportError("dummy does not take the option shared-secret; leave it out or use obfs2.")
    return Dummy()


def _make_obfs2(shared_secret: str | None) -> Transport:
    if shared_secret is None:
        return Obfs2()
    if not shared_secret:
        raise TransportError("The option shared-secret of obfs2 is empty; give it a value or leave it out.")
    try:
        # Bytes of the environment that are not UTF-8 are surrogates in str; this restores them.
        secret = shared_secret.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise TransportError("The option shared-secret of obfs2 is not text; give one in UTF-8.") from None
    return Obfs2(secret)


def _make_obfs3(shared_secret: str | None) -> Transport:
    if shared_secret is not None:
        raise TransportError("obfs3 does not take the option shared-secret; leave it out or use obfs2.")
    return Obfs3()


TRANSPORTS: dict[str, Callable[[str | None], Transport]] = {
    "dummy": _make_dummy,
    "obfs2": _make_obfs2,
    "obfs3": _make_obfs3,
}
"""By name: makes the transport, given its `shared-secret`. The names are those of transport_names.py."""
