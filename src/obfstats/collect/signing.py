"""Keys and signatures, in the format of minisign (Ed25519 over a BLAKE2b hash), so that minisign itself verifies them.

- A secret key is a file of its owner's, 0600, not encrypted: a bridge signs without a person. Its public key is
  derived from it, and written as 56 characters of base64.
- A trusted comment is signed and published. Here it never has a time: that would date the moment of signing.
- Ed25519 signatures are deterministic, so equal bytes get equal signatures.
"""

from __future__ import annotations

import os
import re
import tempfile
from functools import lru_cache
from typing import TYPE_CHECKING

import minisign

from obfstats.lockedfile import make_folder, sync_folder

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

SIGNATURE_SUFFIX = ".minisig"
"""What minisign appends to the name of a signed file."""

MAX_SIGNATURE_LENGTH = 1024
"""Bytes of a signature, both comments included."""

_KEY = re.compile("RW[A-Za-z0-9+/]{54}")
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

    def __init__(self, secret: minisign.SecretKey) -> None:
        """Wrap a secret key; `read` and `create` make one."""
        self._secret = secret
        self.public = secret.get_public_key().to_base64().decode()

    @classmethod
    def create(cls, path: Path) -> SigningKey:
        """Make a new key in a new file.

        Raises:
            KeyExistsError: if the file exists.
            SigningError: if it cannot be written.
        """
        key = minisign.KeyPair.generate().secret_key
        try:
            make_folder(path.parent, 0o700)
            descriptor, unfinished = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(bytes(key) + b"\n")
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
        return cls(key)

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
            key = minisign.SecretKey.from_bytes(text)
        except minisign.Error:
            raise SigningError(f"{path} is not a secret key; make one with: obfstats key new") from None
        if key.is_encrypted():
            raise SigningError(f"{path} has a password; make a key without one with: obfstats key new")
        return cls(key)

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
        signature = self._secret.sign(data, trusted_comment=comment, untrusted_comment=_name_key(self.public))
        return bytes(signature) + b"\n"


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
        parsed = minisign.Signature.from_bytes(signature)
    except minisign.Error:
        raise SigningError("not a signature in minisign's format") from None
    if not parsed.is_prehashed():
        raise SigningError("a signature in minisign's legacy format; sign with -H")
    if not re.fullmatch("[\t\x20-\x7e]*", parsed.trusted_comment):
        raise SigningError("trusted comment is not printable ASCII")
    try:
        _read_public_key(public).verify(data, parsed)
    except (minisign.Error, ValueError):
        raise SigningError("the signature does not match") from None
    parsed.untrusted_comment = _name_key(public)
    return bytes(parsed) + b"\n"


@lru_cache(maxsize=_KEPT_KEYS)
def _read_public_key(text: str) -> minisign.PublicKey:
    try:
        if _KEY.fullmatch(text):
            # Unused bits at the end of base64 could be set: one key has one text.
            key = minisign.PublicKey.from_base64(text)
            if key.to_base64().decode() == text:
                return key
    except minisign.Error:
        pass
    raise SigningError("not a public key of 56 characters, as `obfstats key show` prints it")


def _name_key(public: str) -> str:
    return f"signature by {public}"
