"""The command `obfstats mirror`: copies an archive by its index, from our collector or from a CollecTor tree.

Rules:

- Nothing of the source is believed before it is checked. A file gets its name when its digest is the index's.
- Where the archive is signed (ours), the index and each file must have the signature of one key: that of --key, or of
  the first visit. A missing signature is as bad as a wrong one.
- An index that is older than the last one is refused: it is a replay.
- What was good before stays: a file that is refused replaces nothing, and a file that left the index is kept. Only a
  signed archive's `withdrawn` deletes: a file that it names and that the index has no more.
- Where a file is not what the index says, the index may be old by now; both are fetched once more.

The archive's layout is in docs/collecting.md.
"""

from __future__ import annotations

import errno
import re
import shutil
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from obfstats.collect.archive.indexing import MIRRORS_CLOCK_ERROR_SECONDS
from obfstats.collect.archive.published_files import PUBLIC_KEY
from obfstats.collect.archive.recent import SIGNATURES_SUFFIX
from obfstats.collect.archive.withdrawn import WITHDRAWN
from obfstats.collect.client.request import RequestError
from obfstats.collect.client.route import TOR
from obfstats.collect.download import DownloadError, Source
from obfstats.collect.index import MAX_INDEX_LENGTH, ArchiveIndexError, is_path, parse_index, unpack_index
from obfstats.collect.mirror_state import MirrorState, MirrorStateError
from obfstats.collect.signing import (
    MAX_SIGNATURE_LENGTH,
    SIGNATURE_SUFFIX,
    SigningError,
    parse_public_key,
    verify,
)
from obfstats.commandline import UsageError, fail, print_error
from obfstats.formats.interval import TIME_PATTERN, format_time
from obfstats.lockedfile import LockedFileError, replace_file
from obfstats.progress import show_progress

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from obfstats.collect.index import FileEntry, Index

INDEX_PATHS = ("index.json.xz", "index.json", "index/index.json.xz", "index/index.json")
"""Where an index may be: ours, and CollecTor's."""

_COMPANIONS = (SIGNATURE_SUFFIX, SIGNATURES_SUFFIX, SIGNATURES_SUFFIX + SIGNATURE_SUFFIX)
_MAX_KEY_FILE_LENGTH = 1024
_STALE_SECONDS = 2 * 86_400
_TOMBSTONE = re.compile(rf"{TIME_PATTERN} [0-9a-f]{{64}} (?P<path>[^ ]+)")


class RefusedError(Exception):
    """The source is refused as a whole. Its text is one sentence for the operator."""


@dataclass(frozen=True, slots=True)
class _Fetched:
    """An index as it was fetched.

    Attributes:
        path: where it was.
        content: its bytes.
        signature: their signature; None if there is none.
        signer: the key that it is of.
        index: what it says.
    """

    path: str
    content: bytes
    signature: bytes | None
    signer: str | None
    index: Index


class _Signed(NamedTuple):
    """A file and its signature; None where the archive is not signed."""

    file: FileEntry
    signature: FileEntry | None

    @property
    def entries(self) -> Sequence[FileEntry]:
        """Both."""
        return [entry for entry in self if entry is not None]


def run_mirror(options: argparse.Namespace) -> int:
    """Run the command.

    Args:
        options: those of commands.py.

    Returns:
        The exit status: 0; 1 if something was refused; 2 if the source cannot be reached, or the folder not be used.

    Raises:
        UsageError: if --key is no key, or contradicts the one that is remembered.
    """
    program = options.parser.prog
    report = partial(print_error, program)
    try:
        key = None if options.key is None else parse_public_key(options.key)
    except SigningError as error:
        raise UsageError(f"--key is {error}") from None
    # Files are public: they are fetched directly, unless only tor leads there.
    default_proxy = TOR if options.url.is_onion else None
    try:
        with (
            MirrorState(options.folder) as state,
            closing(Source(options.url, options.through or default_proxy, time.sleep)) as source,
        ):
            return mirror(source, state, key=key, prefixes=options.only, now=int(time.time()), report=report)
    except RefusedError as error:
        report(str(error))
        return 1
    except (RequestError, LockedFileError, MirrorStateError) as error:
        return fail(program, str(error))
    except OSError as error:
        return fail(program, f"{error.filename or options.folder}: {error.strerror}; run this again to go on")


def mirror(
    source: Source,
    state: MirrorState,
    *,
    key: str | None,
    prefixes: Sequence[str],
    now: int,
    report: Callable[[str], object],
) -> int:
    """Copy what has changed.

    Args:
        source: the archive.
        state: the mirror's folder.
        key: the key that must have signed the archive, if it is known.
        prefixes: what the paths of wanted files begin with; none for all.
        now: the time in epoch seconds.
        report: tells the operator a sentence.

    Returns:
        The exit status: 0, or 1 if a file was refused.

    Raises:
        RefusedError: if the index is refused; nothing was changed.
        RequestError: if the source cannot be reached.
        UsageError: if the key contradicts the key that is remembered.
        OSError: if a file cannot be written.
    """
    if key is not None and state.key not in {None, key}:
        raise UsageError(
            f"--key is not the key that {state.folder} follows; if the archive's operators say that they changed their "
            f"key, delete {state.key_path} first"
        )
    run = _Run(source, state, report)
    fetched = run.fetch_index(key, now)
    failures = run.copy(fetched.index, prefixes)
    if failures:
        again = run.fetch_index(key, now)
        if again.content != fetched.content:
            fetched = again
            failures = run.copy(fetched.index, prefixes)
    failures |= run.follow_withdrawals(fetched.index)
    for path, problem in failures.items():
        report(f"refused: {path} {problem}")
    if failures:
        return 1
    index = state.folder / fetched.path
    index.parent.mkdir(exist_ok=True)
    replace_file(index, fetched.content)
    if fetched.signature is not None:
        replace_file(index.with_name(index.name + SIGNATURE_SUFFIX), fetched.signature)
    state.clear_partials()
    signer = f"signed by {state.key}" if state.key else "not signed"
    created = _format(fetched.index.created)
    report(f"{run.copied} files copied, {run.kept} unchanged; the index is of {created} UTC, {signer}")
    if now - fetched.index.created > _STALE_SECONDS:
        report(
            "the index is older than two days: the archive has stopped, or an old copy of it is shown to this mirror"
        )
    return 0


class _Run:
    """One visit to an archive.

    Attributes:
        copied: files that were fetched, signatures included.
        kept: files that were there already.
    """

    def __init__(self, source: Source, state: MirrorState, report: Callable[[str], object]) -> None:
        self._source = source
        self._state = state
        self._report = report
        self.copied = 0
        self.kept = 0

    def fetch_index(self, key: str | None, now: int) -> _Fetched:
        """Fetch the index, check it, and remember the archive's key and the index's time.

        Raises:
            RefusedError: if it cannot be trusted.
        """
        url, state = self._source.url, self._state
        try:
            fetched = self._fetch_signed_index(key)
        except DownloadError as error:
            raise RefusedError(f"the index of {url} {error}") from None
        except ArchiveIndexError as error:
            raise RefusedError(f"{url}: {error}; nothing was changed") from None
        created = fetched.index.created
        if created < state.created:
            raise RefusedError(
                f"the index of {url} is of {_format(created)} UTC, older than that of the last visit, "
                f"{_format(state.created)} UTC: it may be a replay; nothing was changed"
            )
        if created > now + MIRRORS_CLOCK_ERROR_SECONDS:
            raise RefusedError(
                f"the index of {url} is of {_format(created)} UTC, in the future; check this machine's clock"
            )
        state.created = created
        if fetched.signer is not None:
            if key is None and state.key is None:
                self._report(
                    f"{url} is signed by {fetched.signer}, which is remembered from now on; compare it with what the "
                    "archive's operators say"
                )
            state.remember_key(fetched.signer)
        return fetched

    def copy(self, index: Index, prefixes: Sequence[str]) -> dict[str, str]:
        """Copy the files that are wanted and have changed.

        Returns:
            For each file that was refused, why: a sentence without its subject.

        Raises:
            OSError: if the disk does not have the space.
        """
        failures: dict[str, str] = {}
        wanted = self._pair(index, prefixes, failures)
        changed = [each for each in wanted if not all(map(self._state.has, each.entries))]
        missing = [entry for each in changed for entry in each.entries if not self._state.has(entry)]
        size = sum(entry.size for entry in missing)
        free = shutil.disk_usage(self._state.folder).free
        if size > free:
            raise OSError(errno.ENOSPC, f"{size:,} bytes are to be fetched, and {free:,} are free on the disk")
        with show_progress(size) as advance:
            for each in changed:
                try:
                    self._copy(each, advance)
                except DownloadError as error:
                    failures[each.file.path] = str(error)
        self.kept = sum(len(each.entries) for each in wanted) - self.copied
        return failures

    def follow_withdrawals(self, index: Index) -> dict[str, str]:
        """Delete the files that held withdrawn documents and that the index has no more.

        Returns:
            For a list that cannot be read, why.
        """
        paths = {entry.path: entry for entry in index.files}
        if self._state.key is None or WITHDRAWN not in paths or not self._state.has(paths[WITHDRAWN]):
            return {}
        with (self._state.folder / WITHDRAWN).open(encoding="ascii", errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                found = _TOMBSTONE.fullmatch(line.rstrip("\n"))
                if found is None or not is_path(found["path"]):
                    return {WITHDRAWN: f"has no withdrawal in line {number}"}
                path = found["path"]
                if path not in paths and self._state.delete(path):
                    for suffix in _COMPANIONS:
                        self._state.delete(path + suffix)
                    self._report(f"{path} is deleted: it held a document that was withdrawn")
        return {}

    def _fetch_signed_index(self, key: str | None) -> _Fetched:
        """Fetch the index with its signature: twice if it was published anew between the two."""
        state, url = self._state, self._source.url
        expected = key or state.key
        signer = None
        for is_last in (False, True):
            path, content, signature = self._read_index()
            if signature is None:
                if expected is None:
                    break
                raise RefusedError(f"the index of {url} has no signature of {expected}; nothing was changed")
            signer = expected or self._read_key()
            try:
                verify(content, signature, signer)
            except SigningError:
                if is_last:
                    raise RefusedError(
                        f"the index of {url} is not signed by {signer}; nothing was changed; if the archive's "
                        "operators say that they changed their key, delete "
                        f"{state.key_path} and give the new one with --key"
                    ) from None
            else:
                break
        text = unpack_index(content) if path.endswith(".xz") else content
        return _Fetched(path, content, signature, signer, parse_index(text))

    def _read_index(self) -> tuple[str, bytes, bytes | None]:
        for path in INDEX_PATHS:
            content = self._source.read(path, MAX_INDEX_LENGTH)
            if content is not None:
                return path, content, self._source.read(path + SIGNATURE_SUFFIX, MAX_SIGNATURE_LENGTH)
        raise RefusedError(f"{self._source.url} has no index: it is not an archive")

    def _read_key(self) -> str:
        """Read the key that an archive says is its own.

        Raises:
            RefusedError: if it has none.
        """
        text = self._source.read(PUBLIC_KEY, _MAX_KEY_FILE_LENGTH) or b""
        try:
            return parse_public_key(text.decode("ascii", "replace").strip().rpartition("\n")[2])
        except SigningError:
            raise RefusedError(
                f"{self._source.url} is signed, but its {PUBLIC_KEY} has no key; give it with --key"
            ) from None

    def _pair(self, index: Index, prefixes: Sequence[str], failures: dict[str, str]) -> list[_Signed]:
        """Bring the wanted files and their signatures together; where nothing is signed each file is by itself."""
        is_signed = self._state.key is not None
        entries = {entry.path: entry for entry in index.files}
        pairs = []
        for entry in index.files:
            if (is_signed and entry.path.endswith(SIGNATURE_SUFFIX)) or not _is_wanted(entry.path, prefixes):
                continue
            signature = entries.get(entry.path + SIGNATURE_SUFFIX) if is_signed else None
            if is_signed and (signature is None or signature.size > MAX_SIGNATURE_LENGTH):
                failures[entry.path] = "has no signature in the index"
            else:
                pairs.append(_Signed(entry, signature))
        return pairs

    def _copy(self, pair: _Signed, advance: Callable[[int], object]) -> None:
        """Copy a file and its signature.

        Raises:
            DownloadError: if one of them is not what it should be.
        """
        places: dict[FileEntry, Path] = {}
        for entry in reversed(pair.entries):
            if self._state.has(entry):
                places[entry] = self._state.folder / entry.path
            else:
                places[entry] = self._fetch(entry, advance)
        if pair.signature is not None and self._state.key is not None:
            with places[pair.file].open("rb") as file:
                try:
                    verify(file, places[pair.signature].read_bytes(), self._state.key)
                except SigningError:
                    raise DownloadError(f"is not signed by {self._state.key}") from None
        for entry in pair.entries:
            if not self._state.has(entry):
                self._state.install(entry)
                self.copied += 1

    def _fetch(self, entry: FileEntry, advance: Callable[[int], object]) -> Path:
        """Fetch a file; give where it is. A beginning that turns out to be of another file is fetched again.

        Raises:
            DownloadError: if the source has another file under this name.
        """
        path = self._state.partial(entry)
        while True:
            is_continued = path.exists()
            problem = "does not have the digest that the index says"
            try:
                if self._source.fetch(entry.path, path, entry.size, advance) == entry.sha256:
                    return path
            except DownloadError as error:
                problem = str(error)
            path.unlink()
            if not is_continued:
                raise DownloadError(problem)


def _is_wanted(path: str, prefixes: Sequence[str]) -> bool:
    return not prefixes or path == WITHDRAWN or path.startswith(tuple(prefixes))


def _format(seconds: int) -> str:
    return format_time(datetime.fromtimestamp(seconds, UTC))[: -len(":00")]
