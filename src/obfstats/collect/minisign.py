"""The files of minisign: public keys, secret keys and signatures, from bytes to fields and back. It verifies nothing.

    public key    base64 of: "Ed", the key's name (8 bytes), an Ed25519 public key (32)
    secret key    untrusted comment: TEXT
                  base64 of: "Ed", the encryption of what follows the memory ("Sc", or two zeros for none), "B2",
                  salt (32), work (8), memory (8), the key's name (8), an Ed25519 seed (32), the public key (32), a
                  checksum (32): BLAKE2b of "Ed", name, seed and public key. `minisign -W` writes zeros for a checksum.
    signature     untrusted comment: TEXT
                  base64 of: "ED", the key's name (8), an Ed25519 signature (64) of the data's BLAKE2b hash (64)
                  trusted comment: TEXT
                  base64 of: an Ed25519 signature (64) of the first one and of TEXT

"Ed" in a signature is the legacy format, which signs the data itself. Lines end in LF; CR LF is read, too.
Sources: https://jedisct1.github.io/minisign/ ("Signature format", "Public key format", "Secret key format"); for keys
without a password minisign 0.11's `src/minisign.c` (KDFNONE).
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from typing import Final

_UNTRUSTED: Final = b"untrusted comment: "
_TRUSTED: Final = b"trusted comment: "
_ALGORITHM: Final = b"Ed"
_PREHASHED: Final = b"ED"
_CHECKSUM: Final = b"B2"
_ENCRYPTED: Final = b"Sc"
_NOT_ENCRYPTED: Final = bytes(2)
_NO_SALT: Final = bytes(48)
_NO_CHECKSUM: Final = bytes(32)

_FIELD: Final = 2**255 - 19
SMALL_ORDER: Final = frozenset(
    {
        0,
        1,
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
        _FIELD - 1,
    }
)
"""Coordinates y of the eight points whose order divides 8 (RFC 8032, curve 25519). Anyone can sign for such a key."""


class FormatError(ValueError):
    """What was read is not what it should be, in minisign's format."""


class EncryptedKeyError(FormatError):
    """A secret key has a password."""


@dataclass(frozen=True)
class PublicKey:
    """A public key.

    Attributes:
        name: 8 random bytes that its signatures carry.
        key: the Ed25519 public key, 32 bytes.
    """

    name: bytes
    key: bytes

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """Read the key's line.

        Raises:
            FormatError: if it is another key's, or not in the one form that `write` gives.
        """
        content = _decode(text, 42)
        public = cls(content[2:10], content[10:])
        y = int.from_bytes(public.key, "little") & (2**255 - 1)
        if y >= _FIELD or y in SMALL_ORDER:
            raise FormatError("not a public key")
        # Unused bits at the end of base64 could be set: one key has one text.
        if public.write() != text:
            raise FormatError("not a public key")
        return public

    def write(self) -> str:
        """Give the key's line, 56 characters of base64."""
        return b64encode(_ALGORITHM + self.name + self.key).decode()


@dataclass(frozen=True)
class SecretKey:
    """A secret key without a password.

    Attributes:
        public: its public key.
        seed: the Ed25519 secret key, 32 bytes.
    """

    public: PublicKey
    seed: bytes = field(repr=False)

    @classmethod
    def parse(cls, content: bytes) -> SecretKey:
        """Read a key's file.

        Raises:
            EncryptedKeyError: if the key has a password.
            FormatError: if it is not a secret key.
        """
        comment, line = _split(content, 2)
        fields = _decode(line, 158)
        if not comment.startswith(_UNTRUSTED) or (fields[:2], fields[4:6]) != (_ALGORITHM, _CHECKSUM):
            raise FormatError("not a secret key")
        if fields[2:4] == _ENCRYPTED:
            raise EncryptedKeyError("the key has a password")
        secret = cls(PublicKey(fields[54:62], fields[94:126]), fields[62:94])
        if fields[2:4] != _NOT_ENCRYPTED or fields[126:] not in {_NO_CHECKSUM, secret._checksum()}:
            raise FormatError("not a secret key")
        return secret

    def write(self) -> bytes:
        """Give the key's file."""
        header = _ALGORITHM + _NOT_ENCRYPTED + _CHECKSUM + _NO_SALT
        fields = header + self.public.name + self.seed + self.public.key + self._checksum()
        return b"%sminisign secret key\n%s\n" % (_UNTRUSTED, b64encode(fields))

    def _checksum(self) -> bytes:
        content = _ALGORITHM + self.public.name + self.seed + self.public.key
        return hashlib.blake2b(content, digest_size=32).digest()


@dataclass(frozen=True)
class Signature:
    """A signature.

    Attributes:
        name: the name of the key that made it, 8 bytes.
        signature: the Ed25519 signature, 64 bytes: of the data's hash if the signature is prehashed.
        trusted_comment: the comment that is signed.
        global_signature: the Ed25519 signature of `signature` and `trusted_comment`, 64 bytes.
        is_prehashed: whether it is not in the legacy format.
    """

    name: bytes
    signature: bytes
    trusted_comment: bytes
    global_signature: bytes
    is_prehashed: bool = True

    @classmethod
    def parse(cls, content: bytes) -> Signature:
        """Read a signature's file, without its untrusted comment.

        Raises:
            FormatError: if it is not a signature.
        """
        comment, line, trusted, global_line = _split(content, 4)
        fields = _decode(line, 74)
        if (
            not comment.startswith(_UNTRUSTED)
            or not trusted.startswith(_TRUSTED)
            or fields[:2] not in {_PREHASHED, _ALGORITHM}
        ):
            raise FormatError("not a signature")
        return cls(
            name=fields[2:10],
            signature=fields[10:],
            trusted_comment=trusted.removeprefix(_TRUSTED),
            global_signature=_decode(global_line, 64),
            is_prehashed=fields[:2] == _PREHASHED,
        )

    def write(self, untrusted_comment: str) -> bytes:
        """Give the signature's file: four lines.

        Args:
            untrusted_comment: the comment that is not signed; ASCII.
        """
        algorithm = _PREHASHED if self.is_prehashed else _ALGORITHM
        lines = (
            _UNTRUSTED + untrusted_comment.encode("ascii"),
            b64encode(algorithm + self.name + self.signature),
            _TRUSTED + self.trusted_comment,
            b64encode(self.global_signature),
        )
        return b"".join(line + b"\n" for line in lines)


def _split(content: bytes, count: int) -> list[bytes]:
    lines = [line.removesuffix(b"\r") for line in content.removesuffix(b"\n").split(b"\n")]
    if len(lines) != count or b"\0" in content:
        raise FormatError(f"not {count} lines")
    return lines


def _decode(line: bytes | str, length: int) -> bytes:
    try:
        content = b64decode(line, validate=True)
    except ValueError:
        raise FormatError("not base64") from None
    if len(content) != length:
        raise FormatError(f"not {length} bytes")
    return content
