"""The program's environment: tor's, with the wrap's ORPorts in place of tor's."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from obfstats.wire.endpoint import parse_endpoint
from obfstats.wire.extorport import parse_cookie
from peers import extended, managed, wrapped
from peers.destinations import echo, serve
from tests.proxy.visiting import HELLO, visit
from tests.wrap.running import environment, run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

PORT, COOKIE_FILE = "TOR_PT_EXTENDED_SERVER_PORT", "TOR_PT_AUTH_COOKIE_FILE"
PLAIN_PORT = "TOR_PT_ORPORT"


def variables(said: bytes) -> dict[bytes, bytes]:
    """Parse the output of env(1)."""
    return dict(line.partition(b"=")[::2] for line in said.splitlines())


def without_ours(said: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Leave out the three variables that the wrap sets."""
    return {name: value for name, value in said.items() if name.decode() not in {PORT, COOKIE_FILE, PLAIN_PORT}}


@pytest.mark.parametrize("has_extended", [True, False], ids=["with an extended ORPort", "with a plain one"])
def test_three_variables_are_the_wraps_and_all_others_are_tors(tmp_path: Path, *, has_extended: bool) -> None:
    """They are set whatever tor offers; without them a program would not tell its clients' addresses."""
    told = {"LANG": "C", "LC_ALL": "", "ODD": "a=b "}
    if has_extended:
        told |= {PORT: "127.0.0.1:9", COOKIE_FILE: str(tmp_path / "cookie")}
    said = variables(run(tmp_path, "/usr/bin/env", told=told).stdout)
    given = {**os.environ, **environment(tmp_path), **told}
    assert without_ours(said) == without_ours({name.encode(): value.encode() for name, value in given.items()})
    assert re.fullmatch(rb"127\.0\.0\.1:[0-9]+", said[PORT.encode()])
    assert re.fullmatch(rb"127\.0\.0\.1:[0-9]+", said[PLAIN_PORT.encode()])
    assert len({b"127.0.0.1:9", said[PORT.encode()], said[PLAIN_PORT.encode()]}) == 3
    assert said[COOKIE_FILE.encode()].startswith(bytes(tmp_path / "pt_state" / "wrap-"))


def plain_or_extended(folder: Path, *, has_extended: bool) -> AbstractContextManager[extended.ExtendedOrPort | str]:
    """A tor with an extended ORPort, or one without."""
    return extended.orport(folder) if has_extended else serve(echo)


@pytest.mark.parametrize("has_extended", [True, False], ids=["with an extended ORPort", "with a plain one"])
def test_its_cookie_is_for_the_owner_alone(tmp_path: Path, *, has_extended: bool) -> None:
    """64 bytes, 0600, in a folder of 0700, in a new state folder of 0700, whatever the umask."""
    under = managed.UNDER_ANY_UMASK
    folder = tmp_path / "data"
    folder.mkdir()
    with plain_or_extended(tmp_path, has_extended=has_extended) as tor:
        orport = parse_endpoint(tor) if isinstance(tor, str) else tor
        with wrapped.server(folder, orport, "--no-stats", before=under) as bridge:
            cookie = bridge.entrance.cookie_file
            assert (bridge.entrance.address[0], cookie.name) == ("127.0.0.1", "cookie")
            assert bridge.folders() == [cookie.parent]
            assert len(cookie.read_bytes()) == 64
            assert any(parse_cookie(cookie.read_bytes()))
            modes = [path.stat().st_mode & 0o7777 for path in (bridge.state, cookie.parent, cookie)]
            assert modes == [0o700, 0o700, 0o600]
            assert visit(bridge.methods[wrapped.NAME], "dummy") == HELLO


def test_its_cookie_is_another_at_each_start_and_never_tors(tmp_path: Path) -> None:
    """One cookie does not help to guess the next."""
    cookies = []
    with extended.orport(tmp_path) as tor:
        for _ in range(2):
            with wrapped.server(tmp_path, tor, "--no-stats") as bridge:
                cookies.append(bridge.entrance.cookie_file.read_bytes())
        cookies.append(tor.cookie_file.read_bytes())
    assert len(set(cookies)) == 3


def test_a_state_folder_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    """Its mode and its other files."""
    state = tmp_path / "pt_state"
    state.mkdir(mode=0o750)
    kept = state / "obfs4_state.json"
    kept.write_text("{}")
    assert run(tmp_path, "/bin/true").returncode == 0
    assert (state.stat().st_mode & 0o7777, [path.name for path in state.iterdir()]) == (0o750, [kept.name])


def test_the_program_learns_where_it_may_keep_something(tmp_path: Path) -> None:
    """The state folder exists when it starts, even if the wrap keeps its statistics elsewhere."""
    log = tmp_path / "elsewhere"
    options = ["--stats-log", str(log), *managed.countries(tmp_path)]
    script = 'touch "$TOR_PT_STATE_LOCATION/kept"'
    assert run(tmp_path, "/bin/sh", "-c", script, options=options).returncode == 0
    assert [path.name for path in (tmp_path / "pt_state").iterdir()] == ["kept"]
