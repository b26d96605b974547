"""Keys and signatures, in the format of minisign (Ed25519 over a BLAKE2b hash), so that minisign itself verifies them.

- `obfstats.collect.minisign` reads and writes the files.
- A secret key is a file of its owner's, 0600, not encrypted: a bridge signs without a person. Its public key is
  derived from it, and written as 56 characters of base64.
- A trusted comment is signed and published. Here it never has a time: that would date the moment of signing.
- Ed25519 signatures are deterministic, so equal bytes get equal signatures.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import tempfile
from functools import lru_cache
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from obfstats.collect.minisign import EncryptedKeyError, FormatError, PublicKey, SecretKey, Signature
from obfstats.lockedfile import make_folder, sync_folder

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

SIGNATURE_SUFFIX = ".minisig"
"""What minisign appends to the name of a signed file."""

MAX_SIGNATURE_LENGTH = 1024
"""Bytes of a signature, both comments included."""

_TRUSTED_COMMENT = re.compile(b"[\t\x20-\x7e]*")
_BLOCK = 1 << 16
_MAX_KEY_FILE_LENGTH = 1024
# A collector reads the same keys again and again; reading one takes a tenth of verifying a signature.
_KEPT_KEYS = 4096
_OTHERS = 0o077


class SigningError(ValueError):
    """A key cannot be used, or a signature is none. Its text is one sentence for the operator."""


class KeyExistsError(SigningError):
    """There is a key already."""


class SigningKey:
    """A secret key.

    Attributes:
        public: the public key, 56 characters of base64.
    """

    def __init__(self, name: bytes, seed: bytes) -> None:
        """Derive the public key; `generate`, `create`, `read` and `open` are how to get a key.

        Args:
            name: the 8 bytes that name the key in its signatures.
            seed: the Ed25519 secret key, 32 bytes.
        """
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        public = PublicKey(name, self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
        self._secret = SecretKey(public, seed)
        self.public = public.write()

    @classmethod
    def generate(cls) -> SigningKey:
        """Make a new key, in memory alone."""
        return cls(secrets.token_bytes(8), secrets.token_bytes(32))

    @classmethod
    def create(cls, path: Path) -> SigningKey:
        """Make a new key in a new file.

        Raises:
            KeyExistsError: if the file exists.
            SigningError: if it cannot be written.
        """
        key = cls.generate()
        try:
            make_folder(path.parent, 0o700)
            descriptor, unfinished = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(key._secret.write())
                    file.flush()
                    os.fsync(file.fileno())
                # Unlike a rename, it does not replace a key; and no reader gets a part of one.
                os.link(unfinished, path)
            finally:
                os.unlink(unfinished)  # noqa: PTH108 - mkstemp gives text
            sync_folder(path.parent)
        except FileExistsError:
            raise KeyExistsError(f"{path} exists; a new key would have to be admitted anew") from None
        except OSError as error:
            raise SigningError(f"cannot write the key {path}: {error.strerror}") from None
        return key

    @classmethod
    def read(cls, path: Path) -> SigningKey:
        """Read a key's file.

        Raises:
            SigningError: if there is none, if others can read it, or if it is not an unencrypted key of minisign's.
        """
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_mode & _OTHERS:
                    raise SigningError(f"{path} is open to others; run: chmod 600 {path}")
                text = file.read(_MAX_KEY_FILE_LENGTH)
        except OSError as error:
            raise SigningError(f"cannot read the key {path}: {error.strerror}") from None
        try:
            secret = SecretKey.parse(text)
        except EncryptedKeyError:
            raise SigningError(f"{path} has a password; make a key without one with: obfstats key new") from None
        except FormatError:
            raise SigningError(f"{path} is not a secret key; make one with: obfstats key new") from None
        key = cls(secret.public.name, secret.seed)
        if key._secret != secret:
            raise SigningError(f"{path} is damaged: its public half is another key's; make one with: obfstats key new")
        return key

    @classmethod
    def open(cls, path: Path) -> SigningKey:
        """Read a key's file, and make it where there is none. Several programs may do so at once: all get one key.

        Raises:
            SigningError: if it can be neither read nor made.
        """
        if not path.exists():
            try:
                return cls.create(path)
            except KeyExistsError:
                pass
        return cls.read(path)

    def sign(self, data: bytes | BinaryIO, comment: str) -> bytes:
        """Sign bytes, or an open file from where it is.

        Args:
            data: what is signed.
            comment: the trusted comment, printable ASCII.

        Returns:
            The four lines of the signature; its untrusted comment names the public key.
        """
        signature = self._key.sign(_hash(data))
        trusted_comment = comment.encode("ascii")
        global_signature = self._key.sign(signature + trusted_comment)
        name = self._secret.public.name
        return Signature(name, signature, trusted_comment, global_signature).write(_name_key(self.public))


def parse_public_key(text: str) -> str:
    """Check a public key.

    Args:
        text: 56 characters of base64.

    Returns:
        The same.

    Raises:
        SigningError: if it is none.
    """
    _read_public_key(text)
    return text


def verify(data: bytes | BinaryIO, signature: bytes, public: str) -> bytes:
    """Verify a signature.

    Args:
        data: what was signed, or an open file of it.
        signature: the four lines.
        public: the key that must have signed it, 56 characters of base64.

    Returns:
        The signature in one form: its untrusted comment names the key, lines end in LF.

    Raises:
        SigningError: if it is malformed, or not that key's signature of these bytes.
    """
    if len(signature) > MAX_SIGNATURE_LENGTH:
        raise SigningError(f"signature exceeds {MAX_SIGNATURE_LENGTH} bytes")
    try:
        parsed = Signature.parse(signature)
    except FormatError:
        raise SigningError("not a signature in minisign's format") from None
    if not parsed.is_prehashed:
        raise SigningError("a signature in minisign's legacy format; sign with -H")
    if not _TRUSTED_COMMENT.fullmatch(parsed.trusted_comment):
        raise SigningError("trusted comment is not printable ASCII")
    name, key = _read_public_key(public)
    mismatch = SigningError("the signature does not match")
    if parsed.name != name:
        raise mismatch
    try:
        key.verify(parsed.signature, _hash(data))
        key.verify(parsed.global_signature, parsed.signature + parsed.trusted_comment)
    except InvalidSignature:
        raise mismatch from None
    return parsed.write(_name_key(public))


def _hash(data: bytes | BinaryIO) -> bytes:
    if isinstance(data, bytes):
        return hashlib.blake2b(data).digest()
    state = hashlib.blake2b()
    # A month's file may be larger than memory.
    while block := data.read(_BLOCK):
        state.update(block)
    return state.digest()


@lru_cache(maxsize=_KEPT_KEYS)
def _read_public_key(text: str) -> tuple[bytes, Ed25519PublicKey]:
    """Give the key's name and the key."""
    try:
        public = PublicKey.parse(text)
    except FormatError:
        raise SigningError("not a public key of 56 characters, as `obfstats key show` prints it") from None
    return public.name, Ed25519PublicKey.from_public_bytes(public.key)


def _name_key(public: str) -> str:
    return f"signature by {public}"
