"""The cap on connections."""

from __future__ import annotations

from obfstats.proxy.limits import Gate, Limits


def test_a_full_gate_calls_back_once_when_a_connection_closes() -> None:
    """Full at two; the callback runs when one closes, and only once."""
    gate = Gate(Limits(connections=2))
    called: list[str] = []
    leave = gate.admit()
    assert not gate.is_full(lambda: called.append("too early"))
    second = gate.admit()
    assert gate.is_full(lambda: called.append("now"))
    leave()
    assert called == ["now"]
    second()
    assert called == ["now"]


def test_that_clients_waited_is_reported_once() -> None:
    """However many there were."""
    gate = Gate(Limits(connections=1))
    gate.admit()
    assert gate.pop_refusals() == []
    for _ in range(2):
        gate.is_full(lambda: None)
    assert gate.pop_refusals() == ["connection limit (1) reached; new clients waited"]
    assert gate.pop_refusals() == []
