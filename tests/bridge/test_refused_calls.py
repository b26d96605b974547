"""Old kernels and policies refuse system calls (seccomp, SELinux): both programs go on without, and say so once."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from peers import extended, managed, program, wrapped
from peers.child import START_SECONDS, STOP_SECONDS
from peers.missing import need
from peers.seccomp import NUMBERS, refusing
from tests.proxy.honest import METRICS, Visitors, lines, warnings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

pytestmark = pytest.mark.skipif(not NUMBERS, reason="the numbers of this machine's system calls are not known")

NO_LOCK = "the kernel does not lock memory (ulimit -l, madvise): the secret could reach a disk"

CONSEQUENCES = {
    "prlimit64": ["core dumps could not be turned off: {}", "the limit on descriptors is unknown: {}"],
    "setrlimit": ["core dumps could not be turned off: {}", "the limit on descriptors stays at 1000: {}"],
    "prctl": ["other programs of this user can read this one's memory: {}"],
    "sched_getaffinity": ["it is unknown which processors may be used: {}"],
    "madvise": [NO_LOCK],
    "mlock": [NO_LOCK],
}
"""What both programs say where a call is refused by itself; the others cost the operator nothing."""

ALL = sorted(NUMBERS.keys() - {"epoll_create1", "setrlimit"})

BOTH = [CONSEQUENCES[name] for name in ALL if name in CONSEQUENCES and name != "mlock"]

WRAP = ["if this program is killed, the transport goes on without it: {}"]

LIMITED = ("prlimit", "--nofile=1000:2000")

refusals = pytest.mark.parametrize("error", [errno.EPERM, errno.ENOSYS], ids=["forbidden", "missing"])


def expected(sentences: Iterable[list[str]], error: int) -> list[str]:
    """Give all sentences with the kernel's reason, in the order of the alphabet."""
    return sorted(sentence.format(os.strerror(error)) for several in sentences for sentence in several)


@refusals
def test_a_bridge_serves_counts_and_says_what_is_refused(tmp_path: Path, error: int) -> None:
    """Every call that it can do without, all at once."""
    argv = (*refusing(ALL, error), *managed.ours(*managed.counting(tmp_path / "log")))
    with extended.orport(tmp_path) as tor, managed.server(tmp_path / "state", tor, argv=argv) as proxy:
        Visitors(proxy.methods["obfs3"]).visit(3)
        assert proxy.child.stop() == 0
    assert [line.country for line in lines(tmp_path / "log")] == ["de"] * 2
    assert sorted(warnings(proxy)) == expected(BOTH, error)


@refusals
def test_a_wrap_serves_counts_and_ends_with_its_program(tmp_path: Path, error: int) -> None:
    """The same; bytes are not spliced then, and the program's end is noticed all the same."""
    options, before = managed.counting(tmp_path / "log"), refusing(ALL, error)
    with extended.orport(tmp_path) as tor, wrapped.server(tmp_path, tor, *options, before=before) as bridge:
        Visitors(bridge.methods[wrapped.NAME], "dummy").visit(3)
        bridge.program.end(7)
        assert bridge.child.wait(STOP_SECONDS) == 7
    assert [line.country for line in lines(tmp_path / "log")] == ["de"] * 2
    assert sorted(warnings(bridge)) == expected([*BOTH, WRAP], error)


@pytest.mark.parametrize("name", sorted(NUMBERS.keys() - {"epoll_create1"}))
def test_a_call_that_is_refused_alone_is_said_with_its_own_consequence(tmp_path: Path, name: str) -> None:
    """To an operator who starts the program by hand; what costs nothing is not said."""
    options = ["--data-dir", str(tmp_path), *managed.countries(tmp_path)]
    need("util-linux", "prlimit")
    under = (*LIMITED, *refusing([name], errno.EPERM))
    with program.obfsproxy(*options, "obfs3", "--dest", "127.0.0.1:9", "server", "127.0.0.1:0", under=under) as proxy:
        proxy.child.wait_for_line("stderr", "Starting")
    said = [line.partition("[warn] ")[2] for line in proxy.child.stderr.splitlines() if "[warn]" in line]
    assert sorted(line for line in said if METRICS not in line) == expected([CONSEQUENCES.get(name, [])], errno.EPERM)


@pytest.mark.parametrize("is_wrap", [False, True], ids=["obfsproxy", "wrap"])
def test_without_a_call_that_it_needs_it_says_so_and_ends(tmp_path: Path, *, is_wrap: bool) -> None:
    """One line with the kernel's reason, and not one about a log, a program or standard output that is in order."""
    argv = wrapped.argv("--no-stats", program=["/bin/sleep", "60"]) if is_wrap else managed.SILENT
    told = managed.server_environment(tmp_path / "pt_state", ("127.0.0.1", 9))
    with managed.start(told, (*refusing(["epoll_create1"], errno.EPERM), *argv)) as child:
        assert child.wait(START_SECONDS) == 2
    name = "obfstats wrap" if is_wrap else "obfsproxy"
    assert child.stderr == f"{name}: the system refuses what this program needs: {os.strerror(errno.EPERM)}\n"
