"""The lines of torrc for each kind of tor in a private network on loopback.

Rules:

- Everything listens on loopback, nothing is sent elsewhere: no name is resolved, reachability is not tested.
- A tor ends with the process that started it, even when that is killed; tor checks every 15 seconds.
- Addresses are scrubbed from the log, as by default, so that the tests can search the logs for them.

Source: tor's manual, "Testing network options"; the numbers were chosen by measuring.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

VOTING_INTERVAL = 20
"""Seconds between two consensuses."""

FIRST_CONSENSUS = 7
"""Seconds from the authority's start to the first consensus; it votes four seconds earlier."""

_DELAY = 2
"""Seconds for the votes, and again for the signatures: tor's least."""


@dataclass(frozen=True, slots=True)
class Authority:
    """The directory authority, as every other tor must know it.

    Attributes:
        or_port: its ORPort.
        directory_port: its DirPort.
        identity: the fingerprint of its voting key.
        fingerprint: the fingerprint of its relay key.
    """

    or_port: int
    directory_port: int
    identity: str
    fingerprint: str

    def __str__(self) -> str:
        return (
            f"DirAuthority authority orport={self.or_port} no-v2 v3ident={self.identity} "
            f"127.0.0.1:{self.directory_port} {self.fingerprint}"
        )


def common(folder: Path, authority: Authority, countries: tuple[Path, Path]) -> list[str]:
    """Give the lines of every tor of the network.

    Args:
        folder: its data directory.
        authority: the directory authority that it trusts.
        countries: its GeoIP files, for IPv4 and for IPv6.
    """
    return [
        f"DataDirectory {folder}",
        "Log notice stdout",
        f"__OwningControllerProcess {os.getpid()}",
        "TestingTorNetwork 1",
        "PathsNeededToBuildCircuits 0.67",
        "ShutdownWaitLength 1",
        str(authority),
        f"GeoIPFile {countries[0]}",
        f"GeoIPv6File {countries[1]}",
    ]


def _relay(nickname: str, or_port: int | str) -> list[str]:
    return [
        f"Nickname {nickname}",
        f"ORPort 127.0.0.1:{or_port}",
        "Address 127.0.0.1",
        "AssumeReachable 1",
        "SocksPort 0",
        "ServerDNSDetectHijacking 0",
        # Without it a relay prints a warning on stderr.
        "ContactInfo nobody@example.org",
    ]


def authority(which: Authority, now: float) -> list[str]:
    """Give the lines of a directory authority.

    Args:
        which: the authority.
        now: when it starts, in seconds since 1970: tor votes at round times, which are moved to soon after that.
    """
    return [
        *_relay("authority", which.or_port),
        f"DirPort 127.0.0.1:{which.directory_port}",
        "AuthoritativeDirectory 1",
        "V3AuthoritativeDirectory 1",
        "ExitRelay 0",
        f"TestingV3AuthVotingStartOffset {int(now + FIRST_CONSENSUS) % VOTING_INTERVAL}",
        f"TestingV3AuthInitialVotingInterval {VOTING_INTERVAL}",
        f"TestingV3AuthInitialVoteDelay {_DELAY}",
        f"TestingV3AuthInitialDistDelay {_DELAY}",
        f"V3AuthVotingInterval {VOTING_INTERVAL}",
        f"V3AuthVoteDelay {_DELAY}",
        f"V3AuthDistDelay {_DELAY}",
        # A consensus outlasts the whole run.
        "V3AuthNIntervalsValid 60",
        "TestingDirAuthVoteExit *",
        "TestingDirAuthVoteHSDir *",
        "TestingDirAuthVoteGuard *",
        "TestingMinExitFlagThreshold 0",
    ]


def exit_relay() -> list[str]:
    """Give the lines of an exit that connects to loopback."""
    return [
        *_relay("exit", "auto"),
        "ExitRelay 1",
        # Or it would be asked for what it does not have yet, which delays the asker by ten seconds.
        "DirCache 0",
        "ExitPolicyRejectPrivate 0",
        "ExitPolicy accept *:*",
        # It may serve before it has a consensus of its own.
        "RefuseUnknownExits 0",
    ]


def bridge(
    folder: Path, command: Sequence[str], listeners: Mapping[str, str], named: Sequence[str], *, extended: bool = True
) -> list[str]:
    """Give the lines of a bridge.

    Args:
        folder: its data directory, which gets a control socket; named like the bridge.
        command: the transports' server program.
        listeners: where each transport listens, as HOST:PORT.
        named: the transports that the program is started for.
        extended: whether it has an extended ORPort.
    """
    return [
        *_relay(folder.name, "auto"),
        "BridgeRelay 1",
        "PublishServerDescriptor 0",
        *(["ExtORPort 127.0.0.1:auto"] if extended else []),
        f"ControlSocket {control_socket(folder)}",
        server_plugin(named, command),
        *(f"ServerTransportListenAddr {name} {listener}" for name, listener in listeners.items()),
    ]


def server_plugin(named: Sequence[str], command: Sequence[str]) -> str:
    """Give the line that lets a bridge start a program for transports; a bridge may have several."""
    return f"ServerTransportPlugin {','.join(named)} exec {_words(command)}"


def control_socket(folder: Path) -> Path:
    """Give the path of a control socket; the data directory's mode protects it."""
    return folder / "control"


def client(command: Sequence[str], line: str) -> list[str]:
    """Give the lines of a client that uses one bridge and no other.

    Args:
        command: the transport's client program.
        line: the bridge line, without the word Bridge.
    """
    return [
        "SocksPort 127.0.0.1:auto",
        "UseBridges 1",
        "ConfluxEnabled 0",
        "VanguardsLiteEnabled 0",
        f"ClientTransportPlugin {line.partition(' ')[0]} exec {_words(command)}",
        f"Bridge {line}",
    ]


def _words(command: Sequence[str]) -> str:
    """Write a command as tor reads it: split at blanks, without any quoting."""
    assert not any(" " in word for word in command), "torrc cannot hold a command with a blank in a word"
    return " ".join(command)
