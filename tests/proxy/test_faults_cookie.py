"""The extended ORPort's cookie changes, or is unusable for a while: clients stay, and new ones are served later."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from obfstats.wire.extorport import COOKIE_LENGTH, write_cookie
from peers import extended, managed
from tests.proxy.honest import EXACT, Visitors, countries, is_served, warnings
from tests.proxy.moved import Time

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_a_cookie_that_is_replaced_is_used_for_the_next_client(tmp_path: Path) -> None:
    """Three new ones; a client that connected under the first stays to the end."""
    log = tmp_path / "log"
    with (
        extended.orport(tmp_path) as tor,
        managed.server(tmp_path / "state", tor, argv=managed.ours(EXACT, *managed.counting(log))) as bridge,
    ):
        visitors = Visitors(bridge.methods["obfs3"])
        with visitors.connect() as staying:
            for country in ("de", "tr", "ir"):
                tor.renew_cookie()
                visitors.visit(2, country)
                assert is_served(staying)
    assert countries(log) == visitors.expected_lines()
    assert (len(tor.visits), tor.refused) == (len(visitors.served), [])


def _missing(path: Path) -> None:
    path.unlink()


def _unreadable(path: Path) -> None:
    """Root may read everything, so a mode would not be enough."""
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    """No process writes to it, so opening it would block."""
    path.unlink()
    os.mkfifo(path)


def _device(path: Path) -> None:
    """An endless file."""
    path.unlink()
    path.symlink_to("/dev/zero")


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def _holding(content: bytes) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        path.write_bytes(content)

    return spoil


A_COOKIE = write_cookie(bytes(COOKIE_LENGTH))
SPOILT = {
    "missing": _missing,
    "a folder": _unreadable,
    "a pipe": _pipe,
    "a device": _device,
    "a dangling link": _dangling,
    "empty": _holding(b""),
    "cut short": _holding(A_COOKIE[:-1]),
    "too long": _holding(A_COOKIE + b"\n"),
    "giant": _holding(A_COOKIE * 100_000),
    "of another kind": _holding(A_COOKIE.replace(b"Extended ORPort", b"Control Port..")),
    "text": _holding(b"no cookie\n"),
    "another tor's": _holding(A_COOKIE),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_without_its_cookie_clients_are_closed_and_not_counted(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    """Three clients are refused; earlier ones are served all the time, and later ones after the repair."""
    log = tmp_path / "log"
    with (
        extended.orport(tmp_path) as tor,
        managed.server(tmp_path / "state", tor, argv=managed.ours(EXACT, *managed.counting(log))) as bridge,
    ):
        visitors = Visitors(bridge.methods["obfs3"])
        good = tor.cookie_file.read_bytes()
        with visitors.connect() as staying:
            spoil(tor.cookie_file)
            for _ in range(3):
                visitors.expect_refused()
                assert is_served(staying)
            _remove(tor.cookie_file)
            tor.cookie_file.write_bytes(good)
            visitors.visit(3, "tr")
    assert countries(log) == visitors.expected_lines()
    assert len(tor.visits) == len(visitors.served)


def test_its_faults_are_reported_once_a_minute(tmp_path: Path) -> None:
    """Missing, spoilt and another tor's within one minute: a report of each, with a number and no path."""
    time = Time(tmp_path)
    argv = managed.ours(EXACT, *managed.counting(tmp_path / "log"))
    with (
        extended.orport(tmp_path) as tor,
        managed.server(tmp_path / "state", tor, argv=argv, environment=time.environment) as bridge,
    ):
        visitors = Visitors(bridge.methods["obfs3"])
        good = tor.cookie_file.read_bytes()
        for number, spoil in enumerate((_missing, SPOILT["text"], SPOILT["another tor's"]), 1):
            spoil(tor.cookie_file)
            visitors.expect_refused(number)
            tor.cookie_file.write_bytes(good)
        for _ in range(3):
            time.minute(visitors.visit)
        bridge.child.stop()
    passed_on = "connection(s) could not be passed on"
    assert sorted(warnings(bridge)) == [
        f"obfs3: 1 {passed_on} (the extended ORPort's cookie cannot be read: No such file or directory)",
        f"obfs3: 2 {passed_on} (the extended ORPort's cookie file holds no cookie)",
        f"obfs3: 3 {passed_on} (the extended ORPort does not know the cookie)",
    ]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
