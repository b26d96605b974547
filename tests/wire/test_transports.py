"""The registry: names, options, and sentences for people."""

from __future__ import annotations

import pytest

from obfstats.wire.handshake import Side
from obfstats.wire.transport_names import RETIRED, TRANSPORT_NAMES
from obfstats.wire.transports import TRANSPORTS, TransportError, make_transport, make_transport_with
from tests.wire.machines import make_ends, pump, seeded


@pytest.mark.parametrize("name", TRANSPORTS)
def test_every_transport_carries_its_name_and_works(name: str) -> None:
    """What the registry makes shakes hands with itself."""
    transport = make_transport(name)
    initiator, responder = make_ends(transport, seeded(1), seeded(2))
    pump(initiator, responder)
    assert transport.name == name
    assert responder.story[-1] == initiator.story[-1] == "InboundReady"


def test_dummy_obfs2_and_obfs3_are_offered() -> None:
    """The two transports of the Python obfsproxy that bridges used, and the one to try things with."""
    assert list(TRANSPORTS) == ["dummy", "obfs2", "obfs3"]


def test_shared_secret_reaches_obfs2() -> None:
    """With a secret the costly MACs are jobs, so the first event is no message."""
    machine = make_transport("obfs2", shared_secret="open sesame").handshake(Side.INITIATOR, seeded(1))
    assert [type(event).__name__ for event in machine.start()] == ["Compute"]


def test_shared_secret_may_be_any_bytes_of_the_environment() -> None:
    """Bytes that are no UTF-8 arrive as Python's surrogates and are the same bytes again."""
    transport = make_transport("obfs2", shared_secret=b"caf\xe9".decode("utf-8", "surrogateescape"))
    initiator, responder = make_ends(transport, seeded(1), seeded(2))
    pump(initiator, responder)
    assert responder.story[-1] == "InboundReady"


@pytest.mark.parametrize("name", ["", "obfs1", "OBFS3", "obfs3 ", "obfs4", "<OR>"])
def test_unknown_name_is_told_with_the_choices(name: str) -> None:
    """A name that is not exactly a transport's gets a sentence."""
    with pytest.raises(
        TransportError, match=r"^There is no transport called '.*'; choose one of dummy, obfs2, obfs3\.$"
    ):
        make_transport(name)


@pytest.mark.parametrize("name", ["dummy", "obfs3"])
@pytest.mark.parametrize("secret", ["", "xyzzy"])
def test_only_obfs2_takes_a_shared_secret(name: str, secret: str) -> None:
    """An option that would be ignored is refused, and a secret is never repeated."""
    with pytest.raises(TransportError, match=f"^{name} does not take .*; leave it out or use obfs2") as refused:
        make_transport(name, shared_secret=secret)
    assert "xyzzy" not in str(refused.value)


@pytest.mark.parametrize("secret", ["", "xyzzy\ud800"])
def test_obfs2_refuses_a_secret_that_is_none(secret: str) -> None:
    """An empty secret is a mistake, not an absent one; so is text that no bytes encode to."""
    with pytest.raises(TransportError, match=r"shared-secret of obfs2 is .*; give") as refused:
        make_transport("obfs2", shared_secret=secret)
    assert "xyzzy" not in str(refused.value)


@pytest.mark.parametrize("name", RETIRED)
def test_what_the_python_obfsproxy_had_is_told_apart(name: str) -> None:
    """The error names what to use instead, with options or without."""
    for options in ({}, {"password": "xyzzy"}):
        with pytest.raises(TransportError, match=f"^{name} is not offered: .*; use .*lyrebird") as refused:
            make_transport_with(name, options)
        assert "xyzzy" not in str(refused.value)


def test_options_of_torrc_reach_the_transport() -> None:
    """By their keys; none at all is fine for every transport."""
    machine = make_transport_with("obfs2", {"shared-secret": "open sesame"}).handshake(Side.INITIATOR, seeded(1))
    assert [type(event).__name__ for event in machine.start()] == ["Compute"]
    for name in TRANSPORT_NAMES:
        assert make_transport_with(name, {}).name == name
    assert tuple(TRANSPORTS) == TRANSPORT_NAMES
    with pytest.raises(TransportError, match=r"^obfs3 does not take the option shared-secret"):
        make_transport_with("obfs3", {"shared-secret": "xyzzy"})
    with pytest.raises(TransportError, match=r"^There is no transport called 'obfs4'"):
        make_transport_with("obfs4", {"cert": "xyzzy"})


@pytest.mark.parametrize(
    ("key", "shown"),
    [("cert", "'cert'"), ("", "''"), ("a\nb\u00e9", r"'a\nb\xe9'"), ("k" * 1000, f"'{'k' * 40}...'")],
)
@pytest.mark.parametrize("name", TRANSPORTS)
def test_an_unknown_option_is_named_without_its_value(name: str, key: str, shown: str) -> None:
    """In one line however the key looks; the value may be a secret."""
    with pytest.raises(TransportError) as refused:
        make_transport_with(name, {"shared-secret": "open sesame", key: "xyzzy"})
    assert str(refused.value) == f"{name} does not take the option {shown}; leave it out."
