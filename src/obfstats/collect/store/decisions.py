"""The commands `obfstats collect admit`, `revoke` and `review`: what a person decides. They work while `serve` runs."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from obfstats.collect.signing import SigningError, parse_public_key
from obfstats.collect.store.database import DatabaseError, find_file, ledger_url, open_database
from obfstats.collect.store.ledger import Ledger, LedgerError
from obfstats.commandline import UsageError, fail, one_line, print_error
from obfstats.formats.document import LINES
from obfstats.formats.interval import format_time
from obfstats.lockedfile import acting_as_owner_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from obfstats.collect.store.ledger import ListedDocument

_DIGITS = 16
_COLUMNS = f"{{:{_DIGITS}}}  {{:56}}  {{:40}}  {{:19}}  {{}}"


def run_admit(options: argparse.Namespace) -> int:
    """Admit a key; return the exit status."""
    key, bridges = _read_key(options.key), [_read_bridge(text) for text in options.bridge]
    program = options.parser.prog
    try:
        with _open_ledger(options) as ledger:
            admitted = ledger.admit(key, bridges)
    except DatabaseError as error:
        return fail(program, str(error))
    if bridges:
        print_error(program, f"admitted for {' '.join(bridges)}")
    else:
        print_error(program, "admitted for one bridge: the first that it sends a document of and no key is named for")
    if any(admitted):
        print_error(
            program,
            f"of its documents in quarantine, {admitted.published} will be published, {admitted.conflicting} conflict "
            f"with what is published, {admitted.quarantined} stay in quarantine",
        )
    return 0


def run_revoke(options: argparse.Namespace) -> int:
    """Admit a key no longer; return the exit status."""
    key = _read_key(options.key)
    program = options.parser.prog
    try:
        with _open_ledger(options) as ledger:
            was_admitted = ledger.revoke(key)
    except DatabaseError as error:
        return fail(program, str(error))
    if not was_admitted:
        print_error(program, "this key is not admitted")
        return 1
    print_error(program, "revoked; what it has published stays (to withdraw a document: collect review --withdraw)")
    return 0


def run_review(options: argparse.Namespace) -> int:
    """List what waits for a person, or carry out decisions; return the exit status."""
    program = options.parser.prog
    try:
        with _open_ledger(options) as ledger:
            if options.accept:
                return _decide(program, "will be published", ledger.accept_one, options.accept)
            if options.drop:
                return _decide(program, "dropped", ledger.drop, options.drop)
            if options.withdraw:
                return _decide(program, "will be withdrawn", ledger.withdraw, options.withdraw)
            if options.show:
                return _show(program, ledger, options.show)
            return _list(program, ledger)
    except DatabaseError as error:
        return fail(program, str(error))


def _list(program: str, ledger: Ledger) -> int:
    count = 0
    for document in ledger.review():
        if not count:
            print(_COLUMNS.format("digest", "key", "bridge", "interval's end", "reason"))
        count += 1
        print(_write_line(document))
    if not count:
        print_error(program, "no document waits")
        return 0
    print_error(program, f"{count} documents wait; --show, --accept or --drop DIGEST, or admit the key")
    return 0


def _write_line(document: ListedDocument) -> str:
    end = format_time(datetime.fromtimestamp(document.end, UTC))
    reason = f"{document.status}: {document.reason}"
    if document.instance:
        reason += f" (instance {document.instance})"
    return _COLUMNS.format(document.digest[:_DIGITS], document.key, document.bridge, end, reason)


def _decide(program: str, done: str, decide: Callable[[str], ListedDocument], digests: list[str]) -> int:
    """Carry out one decision after the other."""
    status = 0
    for digest in digests:
        try:
            document = decide(digest.lower())
        except LedgerError as error:
            print_error(program, str(error))
            status = 1
        else:
            end = format_time(datetime.fromtimestamp(document.end, UTC))
            print_error(program, f"{document.digest[:_DIGITS]} of {document.bridge}, {end}: {done}")
    return status


def _show(program: str, ledger: Ledger, digest: str) -> int:
    try:
        text = ledger.read_one(digest.lower())
    except LedgerError as error:
        print_error(program, str(error))
        return 1
    for line in text.decode("ascii", "backslashreplace").splitlines():
        print(one_line(line))
    return 0


def _read_key(text: str) -> str:
    try:
        return parse_public_key(text)
    except SigningError as error:
        raise UsageError(f"KEY: {error}") from None


def _read_bridge(text: str) -> str:
    try:
        return str(LINES["hashed-fingerprint"].read(text))
    except ValueError as error:
        raise UsageError(f"--bridge: {error}") from None


@contextmanager
def _open_ledger(options: argparse.Namespace) -> Iterator[Ledger]:
    """Open the ledger of a collector that has run already: a mistyped folder or file must not become a new one."""
    url = ledger_url(options.dir, options.database)
    path = find_file(url)
    if path is not None and not Path(path).exists():
        where, option = (options.dir, "folder") if options.database is None else (url, "--database")
        raise UsageError(f"{where} has no ledger; name the {option} of `obfstats collect serve`")
    # Root must not leave files that the collector cannot write.
    with acting_as_owner_of(options.dir):
        database = open_database(url)
        try:
            yield Ledger(database)
        finally:
            database.close()
