"""The command `obfstats submit`: documents into the spool, and the spool to a collector.

- A document that cannot be sent stops the command before anything is sent, and so do more than the spool keeps.
- The documents that the collector has now are listed on standard output, everything else on standard error.
- Root acts as the owner of the bridge's folder from the moment on when the documents are read.
"""

from __future__ import annotations

# Loaded before root becomes the folder's owner, who may not be able to read root's installation.
import encodings.idna  # noqa: F401
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import python_socks.sync  # noqa: F401 - the same

from obfstats.collect.client.keys import read_key
from obfstats.collect.client.outgoing import next_batch, read_outgoing
from obfstats.collect.client.request import RequestError
from obfstats.collect.client.route import choose_proxy, describe_route
from obfstats.collect.client.spool import MAX_FILES, SPOOL_NAME, Spool, SpoolInUseError, list_documents, name_document
from obfstats.collect.client.submitter import Submitter
from obfstats.collect.signing import SigningError
from obfstats.commandline import UsageError, fail, find_state_folder, one_line, open_standard_output, print_error
from obfstats.formats.interval import format_time
from obfstats.lockedfile import acting_as_owner_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from obfstats.collect.client.outgoing import OutgoingDocument
    from obfstats.collect.client.route import CollectorUrl, Proxy
    from obfstats.collect.client.submitter import Delivery, SubmitReport
    from obfstats.collect.signing import SigningKey
    from obfstats.collect.submission import KeyStatus

MAX_FILE_BYTES = 16 * 1024 * 1024
"""Bytes of a file of documents."""

STANDARD_INPUT = "-"
"""The name of standard input on the command line."""


class _BadDocumentError(Exception):
    """A file has no documents that can be sent. Its text is one sentence for the operator."""


class _Outcome(NamedTuple):
    """What a run tells the operator.

    Attributes:
        output: for standard output.
        errors: sentences for standard error.
        status: the exit status.
    """

    output: bytes
    errors: list[str]
    status: int


def run_submit(options: argparse.Namespace) -> int:
    """Run `obfstats submit`; return its exit status."""
    program = options.parser.prog
    if options.status and options.documents:
        raise UsageError("--status sends nothing; give no DOCUMENT with it")
    try:
        proxy = choose_proxy(options.to, options.through, reveal_address=options.reveal_address)
    except ValueError as error:
        raise UsageError(str(error)) from None
    folder = options.data_dir or find_state_folder()
    spool = Spool(folder / SPOOL_NAME)
    try:
        documents = [document for path in options.documents for document in _read_file(path)]
    except _BadDocumentError as error:
        print_error(program, str(error))
        return 1
    except OSError as error:
        return fail(program, f"cannot read {error.filename}: {error.strerror}")
    try:
        with acting_as_owner_of(folder):
            outcome = _run(options, proxy, read_key(folder), spool, documents)
    except (SigningError, SpoolInUseError, RequestError) as error:
        return fail(program, str(error))
    except OSError as error:
        return fail(program, f"cannot use {spool.folder}: {error.strerror}; what is in it will be sent by the next run")
    for sentence in outcome.errors:
        print_error(program, sentence)
    with open_standard_output() as output:
        output.write(outcome.output)
    return outcome.status


def _run(
    options: argparse.Namespace,
    proxy: Proxy | None,
    key: SigningKey,
    spool: Spool,
    documents: Sequence[OutgoingDocument],
) -> _Outcome:
    program, url = options.parser.prog, options.to

    def report_wait(problem: RequestError, seconds: float) -> None:
        print_error(program, f"{problem}; trying again in {seconds:.0f} s")

    submitter = Submitter(url, proxy, key, spool, on_wait=report_wait)
    if options.dry_run:
        requests = (
            [submitter.write_status_request()] if options.status else _write_requests(submitter, spool, documents)
        )
        inside = "inside TLS, " if url.is_https else ""
        sentence = (
            f"nothing was sent; else these bytes would be, {inside}to {url.authority}, {describe_route(url, proxy)}"
        )
        return _Outcome(b"".join(requests), [sentence], 0)
    if options.status:
        return _Outcome(_describe_status(submitter.ask_status(), key, spool, url).encode(), [], 0)
    if len(documents) + len(spool.names()) > MAX_FILES:
        return _Outcome(b"", [f"more than {MAX_FILES} documents to be sent; nothing was sent; name fewer at a time"], 2)
    dropped = [name for document in documents for name in spool.add(*document)]
    outcome = _describe(submitter.submit_all(), spool, url)
    errors = [f"{name} was dropped, because the documents that wait are too long together" for name in dropped]
    return _Outcome(outcome.output, [*errors, *outcome.errors], outcome.status or int(bool(dropped)))


def _read_file(path: Path) -> list[OutgoingDocument]:
    """Read the documents of a file, or of standard input."""
    is_input = str(path) == STANDARD_INPUT
    with open(0, "rb", closefd=False) if is_input else path.open("rb") as file:
        text = file.read(MAX_FILE_BYTES + 1)
    if len(text) > MAX_FILE_BYTES:
        raise _BadDocumentError(f"{path} exceeds {MAX_FILE_BYTES} bytes; name documents, not a log")
    try:
        return read_outgoing(text)
    except ValueError as error:
        raise _BadDocumentError(f"{path}: {error}; nothing was sent") from None


def _write_requests(submitter: Submitter, spool: Spool, documents: Iterable[OutgoingDocument]) -> Iterator[bytes]:
    """Write the requests that would send what waits, and these documents."""
    waiting = dict(spool.documents())
    waiting.update((name_document(*document), document.text) for document in documents)
    rest = sorted(waiting.items())
    while rest:
        batch = next_batch(rest)
        yield submitter.write_documents_request(batch)
        rest = rest[len(batch) :]


def _describe_status(status: KeyStatus, key: SigningKey, spool: Spool, url: CollectorUrl) -> str:
    """Tell what the collector has of a key, and what is here."""
    last = "" if status.last_end is None else format_time(datetime.fromtimestamp(status.last_end, UTC))
    ended = f"; the last interval ended {last} UTC" if last else ""
    return f"""\
collector      {url}
key            {key.public}
admitted       {"yes" if status.admitted else "no; send the key to the collector's operators"}
published      {_count(status.published)}{ended}
in quarantine  {_count(status.quarantined)}; the collector's operators decide
conflicting    {_count(status.conflicting)}; others of the same bridge and interval are there
waiting here   {_count(len(spool.names()))} in {one_line(str(spool.folder))}
refused        {_count(len(list_documents(spool.refused)))} in {one_line(str(spool.refused))}
"""


def _describe(report: SubmitReport, spool: Spool, url: CollectorUrl) -> _Outcome:
    """Tell what became of the documents."""
    delivered = [
        f"{_name_intervals(group)}: {_describe_delivery(group[0], url)}\n" for group in _group(report.delivered)
    ]
    errors = [
        f"{_name_intervals(group)}: refused: {group[0].result.detail}; set aside in {spool.refused}"
        for group in _group(report.refused)
    ]
    if not report.delivered and not report.refused and report.problem is None:
        delivered = ["nothing waits to be sent\n"]
    status = 1 if report.refused else 0
    if report.problem is not None:
        waiting = _count(len(spool.names()))
        errors.append(f"{report.problem}; {waiting} in {spool.folder} will be sent by the next run")
        status = 2
    return _Outcome("".join(delivered).encode(), errors, status)


def _describe_delivery(delivery: Delivery, url: CollectorUrl) -> str:
    result = delivery.result
    if result.status == 202:
        return f"not published yet: {result.detail}"
    if result.status == 200:
        return "the collector had it already"
    if result.published_by is None:
        return "accepted"
    day, moment = result.published_by.split(" ")
    today = format_time(datetime.now(UTC)).split(" ")[0]
    by = moment[:5] if day == today else f"{day} {moment[:5]}"
    name = f"{day}-{moment.replace(':', '-')}-obfsproxy-stats"
    return f"accepted; in the public archive by {by} UTC at {url}/recent/obfsproxy-stats/{name}"


def _group(deliveries: Sequence[Delivery]) -> list[list[Delivery]]:
    """Put documents together that got the same answer."""
    groups: dict[object, list[Delivery]] = {}
    for delivery in deliveries:
        groups.setdefault(delivery.result, []).append(delivery)
    return list(groups.values())


def _name_intervals(group: Sequence[Delivery]) -> str:
    """Name documents by the ends of their intervals."""
    ends = [f"{name[:10]} {name[11:19].replace('-', ':')}" for name, _ in group]
    if len(ends) == 1:
        return f"interval that ended {ends[0]}"
    return f"{len(ends)} intervals that ended {ends[0]} to {ends[-1]}"


def _count(number: int) -> str:
    return f"{number} document{'' if number == 1 else 's'}"
