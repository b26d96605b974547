"""Requests by honest bridges and by attackers, many and cheap; the attackers sign where that gets them further."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from obfstats.collect.signing import SigningKey
from obfstats.collect.submission import CONTENT_TYPE, MAX_REQUEST_LENGTH, TRUSTED_COMMENT, SignedText, write_request
from obfstats.formats.interval import format_time

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

DAY = 86_400

TEXT = """\
@type obfsproxy-stats 1.0
hashed-fingerprint {}
obfsproxy-stats-end ({} s) {}
obfsproxy-ips DE={},EU=48,AU=32
obfsproxy-reqs DE={},EU=56,AU=32
obfsproxy-ip-versions v4=112,v6=16
obfsproxy-ip-transports obfs2=8,obfs3=120
"""

BAD_LINES = [
    "obfsproxy-ips DE=49,EU=x,AU=32", "obfsproxy-ips DEE=8", "obfsproxy-reqs DE=-8", "obfsproxy-ips DE=8,DE=16",
    "obfsproxy-later 1", "hashed-fingerprint 12", "@type obfsproxy-stats 2.0", "obfsproxy-ips DE=8\r", "",
    "obfsproxy-ips DE=99999999999999999999", "obfsproxy-stats-end (86400 s) 2026-02-30 00:00:00", "../../etc/passwd",
    "obfsproxy-ips D\0=8", "obfsproxy-ips \ud800=8", "instance ../../x", "obfsproxy-ips \N{MIDDLE DOT}=8",
]  # fmt: skip

BAD_BODIES = [
    b"", b"{", b"null", b"[]", b"{}", b'"RW"', b"1" * 200_000, b"[" * 200_000, b'{"key":' * 100_000, b"\xff\xfe\0",
    b'{"key":null,"documents":[]}', b'{"key":"","documents":1e999999}', b'{"key":"RW","documents":{"document":1}}',
    b'{"key":' + b"9" * 5_000 + b',"documents":[]}', b'{"key":NaN,"documents":[-Infinity]}', b"\0" * 100_000,
    b'{"key":"' + b"\\ud800" * 56 + b'","documents":[{"document":"","signature":""}]}',
    b" " * (MAX_REQUEST_LENGTH + 1), b"[" + b"[]," * 300_000 + b"[]]",
]  # fmt: skip


ANSWERS = {
    "honest": {201},
    "unknown": {202, 207, 429},
    "squatting": {202, 429},
    "contradicting": {409},
    "replayed": {401},
    # A document that is published is known, whoever sends it.
    "signed again": {200},
    "repeated": {200},
    # The untrusted comment of a signature may be anything.
    "flipped": {200, 400, 401, 413, 422},
    "cut": {400},
    "malformed": {422},
    "misdated": {422},
    "no request": {400, 413, 422},
    "mistyped": {415},
}
"""The statuses that a request may be answered with, by its kind."""


class Post(NamedTuple):
    """A request.

    Attributes:
        kind: whose it is: `honest`, or the attack.
        body: what is posted.
        content_type: and as what.
    """

    kind: str
    body: bytes
    content_type: str = CONTENT_TYPE


class Bridge(NamedTuple):
    """A bridge, or who claims to be one.

    Attributes:
        fingerprint: its hashed fingerprint.
        key: what it signs with.
    """

    fingerprint: str
    key: SigningKey


class Accepted(NamedTuple):
    """What an honest bridge has sent.

    Attributes:
        bridge: the bridge.
        signed: the document and its signature.
        body: the request.
    """

    bridge: Bridge
    signed: SignedText
    body: bytes


def make_key() -> SigningKey:
    """A key that is in no file."""
    return SigningKey.generate()


class Flood:
    """The bridges, the attackers, and what each of them sends.

    Attributes:
        honest: bridges whose keys are admitted for them.
        squatter: an admitted key that has its own bridge and claims all others.
        now: epoch seconds.
        accepted: what honest bridges have sent.
    """

    def __init__(self, random: Random, now: int, bridges: int = 50, strangers: int = 500, public: int = 2000) -> None:
        """Make them.

        Args:
            random: draws everything but the keys.
            now: epoch seconds.
            bridges: honest ones.
            strangers: unknown keys.
            public: fingerprints that anyone can read in the public archive, the honest bridges' among them.
        """
        self._random, self.now = random, now
        self.public = [random.randbytes(20).hex() for _ in range(public)]
        self.honest = [Bridge(fingerprint, make_key()) for fingerprint in self.public[:bridges]]
        self.squatter = Bridge(random.randbytes(20).hex(), make_key())
        self.accepted: list[Accepted] = []
        self._strangers = [make_key() for _ in range(strangers)]
        self._numbers = itertools.count()
        self._attacks = [
            self.unknown_post, self._squat, self._contradict, self._replay, self._sign_again, self._repeat, self._flip,
            self._cut, self._break_line, self._misdate, self._break_body, self._mistype,
        ]  # fmt: skip

    def honest_post(self) -> Post:
        """The next document of an honest bridge; one of the squatter's own bridge now and then."""
        number = next(self._numbers)
        bridge = (*self.honest, self.squatter)[number % (len(self.honest) + 1)]
        text = self._text(bridge.fingerprint, number)
        signed = SignedText(text, bridge.key.sign(text, TRUSTED_COMMENT))
        body = write_request(bridge.key.public, [signed])
        self.accepted.append(Accepted(bridge, signed, body))
        return Post("honest", body)

    def attacks(self) -> Iterator[Post]:
        """Attacks of all kinds in random order, without end. Honest documents must have been sent before."""
        while True:
            self._random.shuffle(self._attacks)
            for attack in self._attacks:
                yield attack()

    def _text(self, fingerprint: str, number: int, *, seconds: int = DAY, end: int | None = None) -> bytes:
        """A document; different numbers have different intervals."""
        if end is None:
            end = self.now - 3600 - number % (20 * DAY)
        written = format_time(datetime.fromtimestamp(end, UTC))
        size = 8 * self._random.randrange(1, 1000)
        return TEXT.format(fingerprint, seconds, written, size, 2 * size).encode()

    def _request(self, key: SigningKey, *texts: bytes) -> bytes:
        return write_request(key.public, [SignedText(text, key.sign(text, TRUSTED_COMMENT)) for text in texts])

    def _some_accepted(self) -> Accepted:
        return self._random.choice(self.accepted)

    def unknown_post(self) -> Post:
        """An unknown key claims public fingerprints, two at a time."""
        texts = [self._text(self._random.choice(self.public), self._random.randrange(DAY)) for _ in range(2)]
        return Post("unknown", self._request(self._random.choice(self._strangers), *texts))

    def _squat(self) -> Post:
        """An admitted key, which has a bridge, claims any other."""
        fingerprint = self._random.choice(self.public)
        return Post("squatting", self._request(self.squatter.key, self._text(fingerprint, self._random.randrange(DAY))))

    def _contradict(self) -> Post:
        """A bridge's own key says something else of an interval."""
        accepted = self._some_accepted()
        other = accepted.signed.text.replace(b",EU=48,", b",EU=%d," % (8 * self._random.randrange(10, 1000)))
        return Post("contradicting", self._request(accepted.bridge.key, other))

    def _replay(self) -> Post:
        """A document with its signature, and another key beside it."""
        other = self._random.choice([*self._strangers, self.squatter.key])
        return Post("replayed", write_request(other.public, [self._some_accepted().signed]))

    def _sign_again(self) -> Post:
        """An accepted document, signed by another key."""
        other = self._random.choice([*self._strangers, self.squatter.key])
        return Post("signed again", self._request(other, self._some_accepted().signed.text))

    def _repeat(self) -> Post:
        """The same bytes again."""
        return Post("repeated", self._some_accepted().body)

    def _flip(self) -> Post:
        """One bit of a request is another."""
        body = bytearray(self._some_accepted().body)
        body[self._random.randrange(len(body))] ^= 1 << self._random.randrange(8)
        return Post("flipped", bytes(body))

    def _cut(self) -> Post:
        """A request without its end."""
        body = self._some_accepted().body
        return Post("cut", body[: self._random.randrange(len(body))])

    def _break_line(self) -> Post:
        """A text that is no document, rightly signed."""
        bridge = self._random.choice(self.honest)
        lines = self._text(bridge.fingerprint, self._random.randrange(DAY)).decode().split("\n")
        # Not the last: it is what follows the last line feed.
        place = self._random.randrange(len(lines) - 1)
        lines[place : place + self._random.randrange(2)] = [self._random.choice(BAD_LINES)]
        text = "\n".join(lines).encode("utf-8", "surrogatepass")
        item = {"document": "\n".join(lines), "signature": bridge.key.sign(text, TRUSTED_COMMENT).decode()}
        return Post("malformed", json.dumps({"key": bridge.key.public, "documents": [item]}).encode())

    def _misdate(self) -> Post:
        """A document of no interval of the last 30 days, rightly signed."""
        bridge = self._random.choice(self.honest)
        end = self.now + self._random.choice([2 * DAY, -31 * DAY, -4000 * DAY, 900_000 * DAY])
        text = self._text(bridge.fingerprint, 0, end=end, seconds=self._random.choice([1, DAY, 999_999_999]))
        return Post("misdated", self._request(bridge.key, text))

    def _break_body(self) -> Post:
        """No request."""
        return Post("no request", self._random.choice(BAD_BODIES))

    def _mistype(self) -> Post:
        """A request that is JSON, but does not say so."""
        types = ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "\xff" * 100]
        return Post("mistyped", self._some_accepted().body, self._random.choice(types))
