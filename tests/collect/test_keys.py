"""Keys and signatures, against Debian's minisign; and the commands `obfstats key new` and `key show`."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import tempfile
from base64 import b64decode, b64encode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from obfstats.collect.client.keys import KEY_NAME
from obfstats.collect.minisign import SMALL_ORDER, PublicKey, SecretKey, Signature
from obfstats.collect.signing import SigningError, SigningKey, parse_public_key, verify
from peers.missing import need
from peers.program import OBFSTATS
from tests.publish.programs import run

DOCUMENT = b"@type obfsproxy-stats 1.0\nobfsproxy-stats-end (86400 s) 2026-11-29 09:22:04\nobfsproxy-ips DE=8\n"

ENCRYPTED = (
    "RWRTY0IynclzeGUqQQAEDBrz0oAt7CO9D9kU+RZ5dGKIm5sWFZ4AAAACAAAAAAAAAEAAAAAAGruRDI9AUGqmeqbRHJTpx/Iiv6y5qzTwtc"
    "XEOABMuTR0/6k7Xiwbc/H2L9wQbAmaN7DVhc9JLmYVDH6NE2nhHxewGTs8XIk9RjLY3fe6JyjdIEz+9AJ5JDYfXUTbOKPWg+A0HFYQUrI="
)
"""A key that minisign 0.11 has made with a password, which takes it two seconds."""

EARLIER_KEY = """\
untrusted comment: minisign secret key
RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAApnbGoUfXZS4FMOJ8B6oJOGwW8V7jZxL8dgeb/bXb2MDFSf\
iFWNvMy+iYw5vtXdBqCvY4upOCVNg4ozwsHwDYsrtqtQk/kkja5mRi4w2ktYL/hjJ5o/f6/h6MXltN+rKVRacPOk90UrI=
"""
EARLIER_PUBLIC = "RWSmdsahR9dlLuiYw5vtXdBqCvY4upOCVNg4ozwsHwDYsrtqtQk/kkja"
EARLIER_SIGNATURE = f"""\
untrusted comment: signature by {EARLIER_PUBLIC}
RUSmdsahR9dlLo7Vb6yGMQBGDDAco+gZRJDHj0FH/KiK+LyhAPkfG6P2E1tbDJNaBnsvuocPIlAkOgBc+136W15r+1kZ9qwHRwo=
trusted comment: obfstats
njLrO3UZ0uMO8mUQC5I9ylmbpv5ZRhMc/xSh4wthFqv8/8tIc2EkINnOv9PmM1vqW0jBaQQnQyBQY9MhZ+gkBw==
"""
"""A key that py-minisign has made, as earlier versions of ours did, and its signature of DOCUMENT."""


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    """A key of ours."""
    return SigningKey.create(tmp_path_factory.mktemp("key") / KEY_NAME)


def minisign(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Debian's minisign in a folder."""
    need("minisign", "minisign")
    return subprocess.run(
        ["minisign", *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=30, input=""
    )


def test_minisign_verifies_a_signature_of_ours(key: SigningKey, tmp_path: Path) -> None:
    """And it prints our trusted comment."""
    (tmp_path / "document").write_bytes(DOCUMENT)
    (tmp_path / "document.minisig").write_bytes(key.sign(DOCUMENT, "obfstats"))
    result = minisign(tmp_path, "-Vm", "document", "-P", key.public)
    assert (result.returncode, result.stderr) == (0, "")
    assert "Trusted comment: obfstats\n" in result.stdout


def test_minisign_refuses_a_changed_document(key: SigningKey, tmp_path: Path) -> None:
    """One byte more, and the signature is another document's."""
    (tmp_path / "document").write_bytes(DOCUMENT + b"\n")
    (tmp_path / "document.minisig").write_bytes(key.sign(DOCUMENT, "obfstats"))
    assert minisign(tmp_path, "-Vm", "document", "-P", key.public).returncode == 1


def test_we_verify_a_signature_of_minisigns(tmp_path: Path) -> None:
    """With a key of its own, which we can also sign with; its untrusted comment is replaced by the key's name."""
    assert minisign(tmp_path, "-GW", "-p", "theirs.pub", "-s", "theirs.key").returncode == 0
    (tmp_path / "document").write_bytes(DOCUMENT)
    result = minisign(tmp_path, "-SHm", "document", "-s", "theirs.key", "-t", "obfstats", "-c", "anything")
    assert result.returncode == 0, result.stderr
    public = (tmp_path / "theirs.pub").read_text().splitlines()[1]
    signature = verify(DOCUMENT, (tmp_path / "document.minisig").read_bytes(), public)
    assert signature.startswith(f"untrusted comment: signature by {public}\n".encode())
    (tmp_path / "theirs.key").chmod(0o600)
    assert SigningKey.read(tmp_path / "theirs.key").sign(DOCUMENT, "obfstats") == signature


def test_a_legacy_signature_of_minisigns_is_refused(tmp_path: Path) -> None:
    """Without the hash a signer has to hold the whole file in memory; minisign itself no longer makes them."""
    assert minisign(tmp_path, "-GW", "-p", "theirs.pub", "-s", "theirs.key").returncode == 0
    (tmp_path / "document").write_bytes(DOCUMENT)
    result = minisign(tmp_path, "-Slm", "document", "-s", "theirs.key")
    assert result.returncode == 0, result.stderr
    public = (tmp_path / "theirs.pub").read_text().splitlines()[1]
    with pytest.raises(SigningError, match="legacy format; sign with -H"):
        verify(DOCUMENT, (tmp_path / "document.minisig").read_bytes(), public)


def test_a_key_of_minisigns_with_a_password_is_refused(tmp_path: Path) -> None:
    """A bridge signs without a person, so it could only be used with its password beside it."""
    path = tmp_path / "theirs.key"
    path.write_text(f"untrusted comment: minisign encrypted secret key\n{ENCRYPTED}\n")
    path.chmod(0o600)
    with pytest.raises(SigningError, match="has a password"):
        SigningKey.read(path)


def test_minisign_signs_with_a_key_of_ours(tmp_path: Path) -> None:
    """A key's file is minisign's own: it derives our public key from it, and makes the same signature."""
    path = tmp_path / "ours.key"
    public = SigningKey.create(path).public
    assert minisign(tmp_path, "-R", "-s", "ours.key", "-p", "ours.pub").returncode == 0
    assert (tmp_path / "ours.pub").read_text().splitlines()[1] == public
    (tmp_path / "document").write_bytes(DOCUMENT)
    comments = ("-t", "obfstats", "-c", f"signature by {public}")
    assert minisign(tmp_path, "-SHm", "document", "-s", "ours.key", *comments).returncode == 0
    assert (tmp_path / "document.minisig").read_bytes() == SigningKey.read(path).sign(DOCUMENT, "obfstats")


@pytest.mark.parametrize("y", [*sorted(SMALL_ORDER), 2**255 - 19, 2**255 - 18])
@pytest.mark.parametrize("sign", [0, 1 << 255])
def test_a_key_that_anyone_can_sign_for_is_refused(y: int, sign: int, tmp_path: Path) -> None:
    """A point of small order, or a number too large; minisign refuses such a key, too."""
    public = PublicKey(bytes(8), (y | sign).to_bytes(32, "little")).write()
    with pytest.raises(SigningError, match="not a public key"):
        parse_public_key(public)
    (tmp_path / "document").write_bytes(DOCUMENT)
    identity = (1).to_bytes(32, "little") + bytes(32)
    forged = Signature(name=bytes(8), signature=identity, trusted_comment=b"", global_signature=identity)
    (tmp_path / "document.minisig").write_bytes(forged.write("forged"))
    assert minisign(tmp_path, "-Vm", "document", "-P", public).returncode == 1


def test_minisign_verifies_a_large_file(key: SigningKey, tmp_path: Path) -> None:
    """An open file is read in blocks, from where it is, and gets the signature of the same bytes."""
    content = b"skipped" + os.urandom(200_000)
    with (tmp_path / "written").open("w+b") as file:
        file.write(content)
        file.seek(7)
        signature = key.sign(file, "file:large")
    assert signature == key.sign(content[7:], "file:large")
    verify(io.BytesIO(content[7:]), signature, key.public)
    (tmp_path / "large").write_bytes(content[7:])
    (tmp_path / "large.minisig").write_bytes(signature)
    assert minisign(tmp_path, "-Vm", "large", "-P", key.public).returncode == 0


def test_a_key_of_an_earlier_version_makes_the_same_signatures(tmp_path: Path) -> None:
    """So a collector that has admitted it sees no change."""
    path = tmp_path / "earlier.key"
    path.write_text(EARLIER_KEY)
    path.chmod(0o600)
    key = SigningKey.read(path)
    assert key.public == EARLIER_PUBLIC
    assert key.sign(DOCUMENT, "obfstats") == EARLIER_SIGNATURE.encode()
    assert verify(DOCUMENT, EARLIER_SIGNATURE.encode(), EARLIER_PUBLIC) == EARLIER_SIGNATURE.encode()


@given(st.binary(min_size=8, max_size=8), st.binary(min_size=32, max_size=32), st.binary(max_size=300), st.data())
def test_what_is_signed_is_verified_with_the_keys_file(
    name: bytes, seed: bytes, document: bytes, data: st.DataObject
) -> None:
    """Each key, document and comment: the file gives the key again, and the public key alone verifies."""
    comment = data.draw(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
    key = SigningKey(name, seed)
    secret = SecretKey(PublicKey.parse(key.public), seed)
    assert SecretKey.parse(secret.write()) == secret
    signature = key.sign(document, comment)
    assert verify(document, signature, key.public) == signature
    parsed = Signature.parse(signature)
    assert (parsed.name, parsed.trusted_comment, parsed.is_prehashed) == (name, comment.encode(), True)
    with pytest.raises(SigningError, match="the signature does not match"):
        verify(document + b"x", signature, key.public)


@given(st.data())
def test_a_changed_key_is_refused_or_the_same(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whatever of a key's file is changed, removed or added, it never becomes another key."""
    content = EARLIER_KEY.encode()
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(start + 4, len(content))))
    path = tmp_path_factory.getbasetemp() / "changed.key"
    path.write_bytes(content[:start] + data.draw(st.binary(max_size=4)) + content[end:])
    path.chmod(0o600)
    with contextlib.suppress(SigningError):
        assert SigningKey.read(path).public == EARLIER_PUBLIC


def test_a_key_whose_halves_do_not_match_is_refused(tmp_path: Path) -> None:
    """It would sign what its public key does not verify; minisign -W writes no checksum that would tell."""
    fields = bytearray(b64decode(EARLIER_KEY.splitlines()[1]))
    fields[62] ^= 1
    fields[126:] = bytes(32)
    path = tmp_path / "damaged.key"
    path.write_bytes(b"untrusted comment: a key\n" + b64encode(fields) + b"\n")
    path.chmod(0o600)
    with pytest.raises(SigningError, match="is damaged: its public half is another key's"):
        SigningKey.read(path)


def test_equal_documents_get_equal_signatures(key: SigningKey) -> None:
    """So a document that is sent again is the same bytes, and names no time."""
    assert key.sign(DOCUMENT, "obfstats") == key.sign(DOCUMENT, "obfstats")


@given(st.binary(max_size=1200))
def test_any_bytes_are_no_signature(key: SigningKey, signature: bytes) -> None:
    """Whatever a sender makes up, the answer is a sentence."""
    with pytest.raises(SigningError):
        verify(DOCUMENT, signature, key.public)


@given(st.data())
def test_a_changed_signature_verifies_only_in_its_untrusted_comment(key: SigningKey, data: st.DataObject) -> None:
    """Whatever of it is changed, removed or added: it is refused, or it is the same signature once it is normalised."""
    signature = key.sign(DOCUMENT, "obfstats")
    start = data.draw(st.integers(0, len(signature)))
    end = data.draw(st.integers(start, min(start + 4, len(signature))))
    changed = signature[:start] + data.draw(st.binary(max_size=4)) + signature[end:]
    try:
        normalised = verify(DOCUMENT, changed, key.public)
    except SigningError:
        assert changed != signature
    else:
        assert normalised == signature


@given(st.binary(min_size=8, max_size=8), st.binary(min_size=32, max_size=32))
def test_a_public_key_is_an_id_and_32_bytes(name: bytes, seed: bytes) -> None:
    """As minisign writes them: base64 of `Ed`, eight bytes that name the key, and the key."""
    key = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    text = b64encode(b"Ed" + name + key).decode()
    assert parse_public_key(text) == text


@given(st.text(max_size=70) | st.from_regex("RW[A-PU-Za-z0-9+/][A-Za-z0-9+/]{53}", fullmatch=True))
def test_other_text_is_no_public_key(text: str) -> None:
    """Nor is a key with a blank or a line end around it: a key has one text."""
    with pytest.raises(SigningError, match="not a public key of 56 characters"):
        parse_public_key(text)


@given(st.binary(max_size=400))
def test_any_bytes_are_no_key(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """A damaged key's file ends in a sentence that says how to make a new one."""
    path = tmp_path_factory.getbasetemp() / "damaged.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SigningError, match="is not a secret key; make one with: obfstats key new"):
        SigningKey.read(path)


def test_a_new_key_is_its_owners_alone(tmp_path: Path) -> None:
    """Standard output is the public key alone; the file and the folder made for it are closed to others."""
    folder = tmp_path / "state"
    made = run([OBFSTATS, "key", "new", "--data-dir", str(folder)])
    assert made.returncode == 0
    public = made.stdout.decode().removesuffix("\n")
    assert parse_public_key(public) == public
    assert f"the secret is {folder / KEY_NAME}\n" in made.stderr.decode()
    assert [path.stat().st_mode & 0o777 for path in (folder, folder / KEY_NAME)] == [0o700, 0o600]
    shown = run([OBFSTATS, "key", "show", "--data-dir", str(folder)])
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, made.stdout, b"")


def test_a_second_key_is_refused(tmp_path: Path) -> None:
    """The first one may have been admitted already."""
    made = run([OBFSTATS, "key", "new", "--data-dir", str(tmp_path)])
    again = run([OBFSTATS, "key", "new", "--data-dir", str(tmp_path)])
    assert (again.returncode, again.stdout) == (2, b"")
    assert (
        again.stderr.decode() == f"obfstats key new: {tmp_path / KEY_NAME} exists; a new key would have to be "
        "admitted anew\n"
    )
    assert run([OBFSTATS, "key", "show", "--data-dir", str(tmp_path)]).stdout == made.stdout


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """It may have been copied."""
    SigningKey.create(tmp_path / KEY_NAME)
    (tmp_path / KEY_NAME).chmod(0o640)
    shown = run([OBFSTATS, "key", "show", "--data-dir", str(tmp_path)])
    assert (shown.returncode, shown.stdout) == (2, b"")
    assert shown.stderr.decode().endswith(
        f"{tmp_path / KEY_NAME} is open to others; run: chmod 600 {tmp_path / KEY_NAME}\n"
    )


def test_no_key_is_a_sentence(tmp_path: Path) -> None:
    """`key show` before `key new`."""
    shown = run([OBFSTATS, "key", "show", "--data-dir", str(tmp_path)])
    assert (shown.returncode, shown.stdout) == (2, b"")
    assert shown.stderr.decode().endswith(f"there is no key {tmp_path / KEY_NAME}; make one with: obfstats key new\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root acts as another user")
def test_root_makes_the_key_of_a_bridges_user() -> None:
    """The user of tor owns pt_state, and the bridge, which runs as that user, must be able to read its key."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        folder = Path(name) / "pt_state"
        folder.mkdir(mode=0o700)
        os.chown(folder, 65534, 65534)
        assert run([OBFSTATS, "key", "new", "--data-dir", str(folder)]).returncode == 0
        status = (folder / KEY_NAME).stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (65534, 65534, 0o600)
        assert run([OBFSTATS, "key", "show", "--data-dir", str(folder)]).returncode == 0
