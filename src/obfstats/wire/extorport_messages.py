"""What both ends of the extended ORPort write and compute: messages and the hashes that prove the cookie.

Source: ext-orport-spec; how a connection goes is told in `extorport`.
"""

from __future__ import annotations

import hmac
import struct
from enum import IntEnum

SAFE_COOKIE = 1
"""The one way to authenticate that there is."""

NONCE_LENGTH = 32
HASH_LENGTH = 32

MAX_BODY = 1024
"""Bytes of a message that anybody has a use for: an address, or a transport's name."""

_SERVER_TEXT = b"ExtORPort authentication server-to-client hash"
_CLIENT_TEXT = b"ExtORPort authentication client-to-server hash"

_HEAD = struct.Struct(">HH")


class Command(IntEnum):
    """What a message is about."""

    DONE = 0x0000
    USERADDR = 0x0001
    TRANSPORT = 0x0002
    OKAY = 0x1000
    DENY = 0x1001


def pack_message(command: Command, body: bytes = b"") -> bytes:
    """Write a message."""
    return _HEAD.pack(command, len(body)) + body


def take_message(held: bytearray) -> tuple[int, bytes | None] | None:
    """Take the first message out of what is held; None where it is not whole.

    A message that says more than MAX_BODY is told as soon as its head is there, and left where it is.

    Returns:
        the command, a `Command` or any other number, and what it says; None in place of what is too long.
    """
    if len(held) < _HEAD.size:
        return None
    command, length = _HEAD.unpack_from(held)
    if length > MAX_BODY:
        return command, None
    end = _HEAD.size + length
    if len(held) < end:
        return None
    body = bytes(held[_HEAD.size : end])
    del held[:end]
    return command, body


def server_hash(cookie: bytes, client_nonce: bytes, server_nonce: bytes) -> bytes:
    """Compute what tor proves its knowledge of the cookie with."""
    return hmac.digest(cookie, _SERVER_TEXT + client_nonce + server_nonce, "sha256")


def client_hash(cookie: bytes, client_nonce: bytes, server_nonce: bytes) -> bytes:
    """Compute what the transport proves it with."""
    return hmac.digest(cookie, _CLIENT_TEXT + client_nonce + server_nonce, "sha256")
