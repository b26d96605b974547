r"""A stand-in for a pluggable transport's server: it follows the protocol and obfuscates nothing.

    python peers/stand_in.py --control FILE [--arguments k=v] [--stays] [CONDUCT ...]

It reports where it listens, tells the extended ORPort of each client, reads the cookie for every connection, and
forwards bytes both ways with half-closes kept. It replaces the servers of webtunnel and Snowflake, of which Debian has
no package: their made-up ports, and clients without an address, are conducts of its connections. The conducts that are
named apply to one connection each, in their order; all further connections are served properly.

Through a Unix socket (`--control`) a test sends it commands, a line each way:

    describe            what it was started with
    expect CONDUCT ...  how the next connections are treated
    write HEX           bytes for standard output; it answers when all are written
    close_stdout        it closes standard output
    end STATUS          it ends

It ends at SIGTERM and at the end of standard input; at SIGINT it accepts no more connections and ends with the last
one, as obfs4proxy; for SIGHUP it has no handler. With `--stays` it reports each of the three signals to tor and goes
on.

It uses the standard library alone: a second implementation of the protocol, independent of `obfstats.wire`.

Source: pt-spec, version 1; ext-orport-spec.
"""

from __future__ import annotations

import argparse
import hmac
import json
import os
import signal
import socket
import struct
import sys
import threading
from contextlib import ExitStack, suppress
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

DONE, USERADDR, TRANSPORT, OKAY, DENY = 0x0000, 0x0001, 0x0002, 0x1000, 0x1001
"""The extended ORPort's commands."""

NONSENSE = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
WEBTUNNELS_PORT, SNOWFLAKES_PORT = 60000, 1

_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


class ServerConduct(Enum):
    """How the program treats the extended ORPort for one client; the values describe it."""

    HONEST = "names the client and the transport"
    WEBTUNNEL = "names port 60000, whatever the client's is, as webtunnel's server"
    SNOWFLAKE = "names port 1, whatever the client's is, as snowflake-server"
    NO_ADDRESS = "names no client, as snowflake-server if it does not know the address"
    NO_TRANSPORT = "names no transport"
    BARE = "omits the brackets of an IPv6 address, as old transports"
    HOST_NAME = "names the client by a host name"
    WRONG_HASH = "does not know the cookie"
    NONSENSE = "speaks another protocol"
    OVERLONG = "names a client by nearly 64 KiB"
    SILENT = "never sends DONE"
    EAGER = "sends a client's bytes before OKAY"


def read(connection: socket.socket, length: int) -> bytes:
    """Read exactly that many bytes.

    Raises:
        ConnectionError: if the other end hangs up before.
    """
    held = b""
    while len(held) < length:
        more = connection.recv(length - len(held))
        if not more:
            raise ConnectionError("the other end hung up")
        held += more
    return held


def authenticate(connection: socket.socket, cookie_file: Path, *, rightly: bool = True) -> None:
    """Check that the other end knows the cookie, and prove that we do.

    Args:
        connection: to an extended ORPort.
        cookie_file: its cookie.
        rightly: whether to send a valid proof.

    Raises:
        ConnectionError: if one of both does not know it, or the other end hangs up.
    """
    if read(connection, 2) != b"\1\0":
        raise ConnectionError("the other end does not offer exactly one authentication type")
    nonce = os.urandom(32)
    connection.sendall(b"\1" + nonce)
    answer = read(connection, 64)
    cookie, nonces = cookie_file.read_bytes()[32:], nonce + answer[32:]
    if answer[:32] != prove(cookie, b"server-to-client", nonces):
        raise ConnectionError("the other end does not know the cookie")
    connection.sendall(prove(cookie, b"client-to-server", nonces) if rightly else os.urandom(32))
    if read(connection, 1) != b"\1":
        raise ConnectionError("the other end refused the cookie")


def prove(cookie: bytes, direction: bytes, nonces: bytes) -> bytes:
    """Compute a proof of the cookie."""
    return hmac.digest(cookie, b"ExtORPort authentication " + direction + b" hash" + nonces, "sha256")


def message(command: int, body: bytes = b"") -> bytes:
    """Write a message."""
    return struct.pack(">HH", command, len(body)) + body


def introduction(address: str | None, transport: str | None) -> bytes:
    """Write USERADDR and TRANSPORT, those that are given, and DONE."""
    named = b"" if address is None else message(USERADDR, address.encode())
    return named + (b"" if transport is None else message(TRANSPORT, transport.encode())) + message(DONE)


def verdict(connection: socket.socket) -> int:
    """Wait for the answer to DONE; give its command.

    Raises:
        ConnectionError: if there is none.
    """
    command, length = struct.unpack(">HH", read(connection, 4))
    read(connection, length)
    return int(command)


def introduce(conduct: ServerConduct, host: str, port: int, transport: str) -> bytes:
    """Write a client's introduction under a conduct."""
    port = {ServerConduct.WEBTUNNEL: WEBTUNNELS_PORT, ServerConduct.SNOWFLAKE: SNOWFLAKES_PORT}.get(conduct, port)
    address: str | None = f"[{host}]:{port}" if ":" in host and conduct is not ServerConduct.BARE else f"{host}:{port}"
    if conduct is ServerConduct.NO_ADDRESS:
        address = None
    elif conduct is ServerConduct.HOST_NAME:
        address = f"localhost:{port}"
    elif conduct is ServerConduct.OVERLONG:
        address = "9" * 0xFFFF
    said = introduction(address, None if conduct is ServerConduct.NO_TRANSPORT else transport)
    if conduct is ServerConduct.SILENT:
        return said.removesuffix(message(DONE))
    return said + NONSENSE if conduct is ServerConduct.EAGER else said


def carry(source: socket.socket, sink: socket.socket) -> None:
    """Forward one direction, its end included; an error ends both."""
    try:
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class StandIn:
    """The program while it runs."""

    def __init__(self, conducts: Sequence[ServerConduct], *, stays: bool) -> None:
        self._conducts = list(conducts)
        self._stays = stays
        self._signals = _SIGNALS if stays else _SIGNALS[1:]
        self._listening: list[socket.socket] = []
        self._open = 0
        self._ending = False
        self._lock = threading.Lock()
        self._writing = threading.Lock()

    def write(self, line: bytes) -> None:
        """Write to standard output, however long that takes."""
        with self._writing, suppress(OSError):
            while line:
                line = line[os.write(1, line) :]

    def listen(self, arguments: str) -> None:
        """Listen for each transport, and report where."""
        self.write(b"VERSION 1\n")
        for bind in os.environ["TOR_PT_SERVER_BINDADDR"].split(","):
            name, _, place = bind.partition("-")
            host, _, port = place.rpartition(":")
            family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
            listening = socket.create_server((host.strip("[]"), int(port)), family=family, backlog=512)
            self._listening.append(listening)
            self.write(f"SMETHOD {name} {host}:{listening.getsockname()[1]}{arguments}\n".encode())
            threading.Thread(target=self._accept, args=(listening, name), daemon=True).start()
        self.write(b"SMETHODS DONE\n")

    def hold_signals(self) -> None:
        """Block signals until `stay` receives them; call it before there are threads, which would receive them."""
        signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)

    def stay(self) -> None:
        """Run until something ends it."""
        if os.environ.get("TOR_PT_EXIT_ON_STDIN_CLOSE") == "1":
            threading.Thread(target=self._end_with_stdin, daemon=True).start()
        while True:
            self._take_signal(signal.sigwait(self._signals))

    def _end_with_stdin(self) -> None:
        while os.read(0, 1 << 12):
            pass
        os._exit(0)

    def obey(self, listening: socket.socket) -> None:
        """Carry out commands."""
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=self._obey, args=(connection,), daemon=True).start()

    def _obey(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rw") as lines:
            word, *rest = lines.readline().split()
            answer: dict[str, object] = {}
            if word == "describe":
                answer = {"pid": os.getpid(), "arguments": sys.argv, "environment": dict(os.environ)}
            if word == "expect":
                self._conducts += [ServerConduct[name] for name in rest]
            if word == "close_stdout":
                os.close(1)
            if word == "write":
                self.write(bytes.fromhex("".join(rest)))
            lines.write(f"{json.dumps(answer)}\n")
            lines.flush()
        if word == "end":
            os._exit(int(rest[0]))

    def _take_signal(self, number: int) -> None:
        if self._stays:
            self.write(f'LOG SEVERITY=notice MESSAGE="{signal.Signals(number).name}"\n'.encode())
        elif number == signal.SIGTERM:
            os._exit(0)
        else:
            for listening in self._listening:
                # It may be in accept(2), which closing alone does not end.
                listening.shutdown(socket.SHUT_RDWR)
            self._ending = True
            self._end_with_the_last()

    def _end_with_the_last(self) -> None:
        if self._ending and not self._open:
            os._exit(0)

    def _accept(self, listening: socket.socket, name: str) -> None:
        with suppress(OSError):
            while True:
                client, address = listening.accept()
                with self._lock:
                    self._open += 1
                conduct = self._conducts.pop(0) if self._conducts else ServerConduct.HONEST
                threading.Thread(target=self._meet, args=(client, address, name, conduct), daemon=True).start()

    def _meet(self, client: socket.socket, address: tuple[str, int], name: str, conduct: ServerConduct) -> None:
        with client, suppress(OSError):
            self._let_in(client, address, name, conduct)
        with self._lock:
            self._open -= 1
        self._end_with_the_last()

    def _let_in(self, client: socket.socket, address: tuple[str, int], name: str, conduct: ServerConduct) -> None:
        host, _, port = os.environ["TOR_PT_EXTENDED_SERVER_PORT"].rpartition(":")
        with ExitStack() as stack:
            tor = stack.enter_context(socket.create_connection((host.strip("[]"), int(port))))
            if conduct is ServerConduct.NONSENSE:
                tor.sendall(NONSENSE)
            else:
                cookie_file = Path(os.environ["TOR_PT_AUTH_COOKIE_FILE"])
                authenticate(tor, cookie_file, rightly=conduct is not ServerConduct.WRONG_HASH)
                tor.sendall(introduce(conduct, address[0], address[1], name))
            if verdict(tor) != OKAY:
                return
            other = threading.Thread(target=carry, args=(tor, client), daemon=True)
            other.start()
            carry(client, tor)
            other.join()


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--control")
    parser.add_argument("--arguments")
    parser.add_argument("--stays", action="store_true")
    parser.add_argument("conducts", nargs="*")
    options = parser.parse_args()
    program = StandIn([ServerConduct[name] for name in options.conducts], stays=options.stays)
    program.hold_signals()
    if options.control:
        control = socket.socket(socket.AF_UNIX)
        control.bind(options.control)
        control.listen()
        threading.Thread(target=program.obey, args=(control,), daemon=True).start()
    program.listen(f" ARGS:{options.arguments}" if options.arguments else "")
    program.stay()


if __name__ == "__main__":
    main()
