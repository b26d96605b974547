"""Fuzz the published document: it parses or raises DocumentError, and what parses writes and reads the same.

Run it with libFuzzer's arguments:

    .venv/bin/python -m fuzz.fuzz_document -max_total_time=60 [corpus folder]

Random bytes alone are never a document. So every input is tried twice: as a file, and as damage to a good file:

    byte 0, 1   offset of the damage in the good file, modulo its length
    byte 2      how many bytes of the good file are removed there
    the rest    what replaces them
"""

from __future__ import annotations

from fuzz.target import run, watched

with watched(__name__, "obfstats.formats"):
    from obfstats.formats.document import Document, DocumentError, read_documents, write_document

GOOD_FILE = b"""\
@type obfsproxy-stats 1.0
hashed-fingerprint 7cb8c8b7a9e2f1d0c3b4a5968778695a4b3c2d1e
obfsproxy-stats-end (86400 s) 2012-02-10 09:22:04
obfsproxy-ips DE=48,EU=48,AU=32
obfsproxy-reqs DE=64,EU=56,AU=32
obfsproxy-ip-versions v4=112,v6=16
obfsproxy-ip-transports obfs2=8,obfs3=120
obfsproxy-ip-country-transports DE/obfs3=48,EU/obfs3=48,AU/obfs2=8,AU/obfs3=24
obfsproxy-geoip tor B08BFE286DC8F11F29AACEAFB6F7EF0F5C771042
obfsproxy-geoip6 iptocc 3.3.170
@type obfsproxy-stats 1.2
obfsproxy-stats-end 2012-02-11 09:22:04 (86400 s)
instance a-1.b_2
obfsproxy-noise discrete-laplace epsilon=0.5
obfsproxy-ips de=45,au=29,??=1,dk=0,eu=-2
"""


def check(data: bytes) -> None:
    """Check the invariant for one input.

    Raises:
        AssertionError: what was read is not what would be written, or the two ways of reading differ.
    """
    _check_file(data)
    if len(data) >= 3:
        start = int.from_bytes(data[:2], "big") % (len(GOOD_FILE) + 1)
        _check_file(GOOD_FILE[:start] + data[3:] + GOOD_FILE[start + data[2] :])


def _check_file(text: bytes) -> None:
    passed_on = _parse(text, keep_unknown=True)
    published = _parse(text, keep_unknown=False)
    if passed_on is None:
        assert published is None, "a publisher accepts what others refuse"
        return
    written = [write_document(document) for document in passed_on]
    for document, again in zip(passed_on, written, strict=True):
        assert read_documents(again, keep_unknown=True) == [document], "one document reads as something else"
        assert write_document(read_documents(again, keep_unknown=True)[0]) == again, "written again it is not the same"
    assert read_documents(b"".join(written), keep_unknown=True) == passed_on, "concatenated they read differently"
    is_known = not any(document.unknown for document in passed_on)
    assert published == (passed_on if is_known else None), "an unknown line was published, or a known one was not"


def _parse(text: bytes, *, keep_unknown: bool) -> list[Document] | None:
    """Read a file; None where it is refused."""
    wrong = 0
    try:
        return read_documents(text, keep_unknown=keep_unknown)
    except DocumentError as error:
        wrong = error.line
    assert 1 <= wrong <= text.count(b"\n") + 1, "the error names a line that does not exist"
    return None


if __name__ == "__main__":
    run(check)
