"""Fuzz what tor says in the environment: it is read, or refused with one line that tor can read, and nothing else.

Run it with libFuzzer's arguments:

    .venv/bin/python -m fuzz.fuzz_pluggable -max_total_time=60 [corpus folder]

Noise alone is never an environment. So every input is tried as the value of one variable in a good one, in whole and
inserted into its good value:

    byte 0      which variable
    byte 1      where in the good value it is inserted
    the rest    the new value, or what is inserted

Bytes are text as in Python's environment. The secrets in the good environment must never be in a line.
"""

from __future__ import annotations

import re
from contextlib import suppress

from fuzz.target import run, watched
from peers.arguments import write_arguments, write_options

with watched(__name__, "obfstats.wire"):
    from obfstats.wire.arguments import ArgumentsError, parse_arguments, parse_options
    from obfstats.wire.lines import ascii_line
    from obfstats.wire.pluggable import PluggableError, negotiate_version, read_environment
    from obfstats.wire.upstream import UpstreamError, parse_upstream

SECRET = "xyzzy"
SERVER = {
    "TOR_PT_MANAGED_TRANSPORT_VER": "1",
    "TOR_PT_STATE_LOCATION": "/pt_state/",
    "TOR_PT_EXIT_ON_STDIN_CLOSE": "1",
    "TOR_PT_SERVER_TRANSPORTS": "obfs3,obfs2",
    "TOR_PT_SERVER_BINDADDR": "obfs3-192.0.2.1:443,obfs2-[2001:db8::1]:80",
    "TOR_PT_SERVER_TRANSPORT_OPTIONS": rf"obfs2:shared-secret={SECRET}\:a;obfs2:b=\\c",
    "TOR_PT_ORPORT": "127.0.0.1:9001",
    "TOR_PT_EXTENDED_SERVER_PORT": "[::1]:9002",
    "TOR_PT_AUTH_COOKIE_FILE": "/cookie",
    "TOR_PT_OUTBOUND_BIND_ADDRESS_V4": "203.0.113.4",
    "TOR_PT_OUTBOUND_BIND_ADDRESS_V6": "[2001:db8::4]",
}
CLIENT = {
    "TOR_PT_MANAGED_TRANSPORT_VER": "1",
    "TOR_PT_STATE_LOCATION": "/pt_state/",
    "TOR_PT_CLIENT_TRANSPORTS": "obfs3,obfs2",
    "TOR_PT_PROXY": f"socks5://tor%2F:{SECRET}@[2001:db8::1]:1080",
}
VARIABLES = [(environment, name) for environment in (SERVER, CLIENT) for name in environment]

_LINE = re.compile(r"(?:ENV|VERSION)-ERROR [ -~]{1,500}")


def check(data: bytes) -> None:
    """Hold one input against the invariants.

    Raises:
        AssertionError: a line is none or shows a secret, or what was read is not what would be written.
    """
    if len(data) < 2:
        return
    environment, name = VARIABLES[data[0] % len(VARIABLES)]
    text = data[2:].decode("utf-8", "surrogateescape")
    good = environment[name]
    place = data[1] % (len(good) + 1)
    for value in (text, good[:place] + text + good[place:]):
        told = _tell({**environment, name: value})
        # Noise that spells the secret where none belongs is no secret.
        assert SECRET in text or SECRET not in told, "a secret is shown"
        _check_arguments(value)


def _tell(environment: dict[str, str]) -> str:
    """Read an environment in whole; give all that can be seen of it."""
    told = _read(environment)
    proxy = environment.get("TOR_PT_PROXY")
    if proxy is None:
        return told
    try:
        upstream = parse_upstream(proxy)
    except UpstreamError as error:
        refused = str(error)
    else:
        assert upstream.endpoint.port, "port 0"
        return told + repr(upstream)
    assert ascii_line(refused) == refused, "no line for tor"
    return told + refused


def _read(environment: dict[str, str]) -> str:
    """Read what the environment says but for the proxy."""
    try:
        assert negotiate_version(environment) == "VERSION 1", "another version"
        read = read_environment(environment)
    except PluggableError as error:
        line = error.line
    else:
        assert read.state, "no state folder"
        assert read.transports, "nothing to do"
        return repr(read)
    assert _LINE.fullmatch(line), "no line for tor"
    return line


def _check_arguments(text: str) -> None:
    """Read arguments and options, and write them again."""
    with suppress(ArgumentsError):
        arguments = parse_arguments(text)
        assert parse_arguments(write_arguments(arguments)) == arguments, "arguments are not the same"
    with suppress(ArgumentsError):
        options = parse_options(text)
        assert parse_options(write_options(options)) == options, "options are not the same"


if __name__ == "__main__":
    run(check)
