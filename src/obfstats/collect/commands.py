"""The commands that send documents to a collector, run one, and copy its archive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from obfstats.commandline import Command, argument_type, listen_address, positive_number

if TYPE_CHECKING:
    import argparse

GROUPS = {
    "collect": "A collector of bridges' documents.",
    "key": "The key that signs what this machine sends to a collector.",
}
"""The first words of commands that have two, and what they have in common."""


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """Add the option for the folder of the key and of what waits to be sent."""
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="the bridge's folder: tor's pt_state, or what the bridge's own --data-dir names (default: "
        "$XDG_STATE_HOME/obfsproxy, or ~/.local/state/obfsproxy)",
    )


def add_submit(parser: argparse.ArgumentParser) -> None:
    """Add the options of `obfstats submit`."""
    parser.add_argument(
        "documents",
        metavar="DOCUMENT",
        type=Path,
        nargs="*",
        help="a file of documents with hashed-fingerprint lines, or - for standard input; without one, what waits in "
        "the spool is sent",
    )
    parser.add_argument(
        "--to",
        required=True,
        type=argument_type("obfstats.collect.client.route:parse_collector_url"),
        metavar="URL",
        help="the collector: https://HOST, or http:// for an .onion address or this machine",
    )
    add_route(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="print every byte that would be sent, and send and keep nothing"
    )
    parser.add_argument("--status", action="store_true", help="send nothing; show what the collector has of this key")
    add_data_dir(parser)


def add_route(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add the options for the way to a collector."""
    parser.add_argument(
        "--through",
        type=argument_type("obfstats.collect.client.route:parse_proxy"),
        metavar="socks5h://HOST:PORT",
        help="the proxy that hides this machine's address, mostly tor's (default: socks5h://127.0.0.1:9050, unless "
        "the collector is on this machine)",
    )
    parser.add_argument(
        "--reveal-address",
        action="store_true",
        help="unsafe for a bridge: connect directly, so that the collector, and all who see the connection, learn this "
        "machine's address",
    )


def add_collector(parser: argparse.ArgumentParser) -> None:
    """Add the options for a collector's folder and its ledger."""
    parser.add_argument("--dir", type=Path, required=True, metavar="DIR", help="the collector's folder")
    parser.add_argument(
        "--database",
        metavar="URL",
        help="the ledger: a file of SQLite, or postgresql://USER@HOST/NAME (default: ledger.sqlite in DIR)",
    )


def add_serve(parser: argparse.ArgumentParser) -> None:
    """Add the options of `obfstats collect serve`."""
    add_collector(parser)
    parser.add_argument(
        "--listen",
        type=listen_address,
        default=("127.0.0.1", 8085),
        metavar="HOST:PORT",
        help="where it listens, by http; a proxy in front of it does https (default: 127.0.0.1:8085)",
    )
    parser.add_argument(
        "--publish-every",
        type=positive_number,
        default=3600,
        metavar="SECONDS",
        help="from one publication to the next (default: 3600, at 9 minutes past the hour)",
    )
    parser.add_argument(
        "--url", default="", metavar="URL", help="where the public archive is, for its index (default: not in it)"
    )
    parser.add_argument(
        "--admit",
        type=argument_type("obfstats.collect.signing:parse_public_key"),
        action="append",
        default=[],
        metavar="KEY",
        help="admit a bridge's public key at each start, also one that was revoked; may be repeated",
    )


def add_admit(parser: argparse.ArgumentParser) -> None:
    """Add the options of `obfstats collect admit`."""
    _add_key(parser)
    parser.add_argument(
        "--bridge",
        action="append",
        default=[],
        metavar="HASHED-FINGERPRINT",
        help="name the key for this bridge: only documents of keys that are named for it are published; may be "
        "repeated (without: the key may publish for one bridge, the first that it sends a document of and that no key "
        "is named for)",
    )
    add_collector(parser)


def add_revoke(parser: argparse.ArgumentParser) -> None:
    """Add the options of `obfstats collect revoke`."""
    _add_key(parser)
    add_collector(parser)


def add_review(parser: argparse.ArgumentParser) -> None:
    """Add the options of `obfstats collect review`."""
    action = parser.add_mutually_exclusive_group()
    action.add_argument(
        "--accept",
        nargs="+",
        metavar="DIGEST",
        help="publish these documents, whatever their key; a published one that they contradict is withdrawn",
    )
    action.add_argument("--drop", nargs="+", metavar="DIGEST", help="delete these documents from the quarantine")
    action.add_argument(
        "--withdraw",
        nargs="+",
        metavar="DIGEST",
        help="withdraw these published documents; mirrors delete them, and no other document is accepted for their "
        "intervals",
    )
    action.add_argument("--show", metavar="DIGEST", help="print this document")
    add_collector(parser)


def _add_key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("key", metavar="KEY", help="56 characters, as `obfstats key show` prints them on the bridge")


def add_import(parser: argparse.ArgumentParser) -> None:
    """Add the options of `obfstats collect import`."""
    parser.add_argument(
        "documents",
        metavar="DOCUMENT",
        type=Path,
        nargs="+",
        help="a file of documents with hashed-fingerprint lines, of intervals that ended more than 30 days ago",
    )
    add_collector(parser)


def add_mirror(parser: argparse.ArgumentParser) -> None:
    """Add the options of `obfstats mirror`."""
    parser.add_argument(
        "url",
        metavar="URL",
        type=argument_type("obfstats.collect.client.route:parse_collector_url"),
        help="the archive: https://HOST, or http:// for an .onion address or this machine",
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="where it is copied to")
    parser.add_argument(
        "--key",
        help="the public key that signs the archive (default: the key of the first visit, which later ones must have)",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="PREFIX",
        help="copy the files whose path begins with this, such as archive/; may be repeated",
    )
    parser.add_argument(
        "--through",
        type=argument_type("obfstats.collect.client.route:parse_proxy"),
        metavar="socks5h://HOST:PORT",
        help="the proxy to connect through (default: none, but tor's socks5h://127.0.0.1:9050 for an .onion address)",
    )


COMMANDS = (
    Command(
        name="key new",
        purpose="make the key that signs documents, and print its public half",
        example="obfstats key new",
        add_options=add_data_dir,
        run="obfstats.collect.client.keys:make_key",
    ),
    Command(
        name="key show",
        purpose="print the public half of the key, for the collector's operators",
        example="obfstats key show",
        add_options=add_data_dir,
        run="obfstats.collect.client.keys:show_key",
    ),
    Command(
        name="submit",
        purpose="send documents to a collector, through tor, and what an earlier run could not send",
        example="obfstats submit --to https://collector.example documents.txt",
        add_options=add_submit,
        run="obfstats.collect.client.submit:run_submit",
        notes="""  obfstats submit --to https://collector.example --dry-run documents.txt
  obfstats submit --to https://collector.example --status

exit status: 0 where the collector has everything that was sent; 1 where it refused a document, or a document cannot be
sent; 2 where the collector was not reached, and documents wait in the spool
""",
    ),
    Command(
        name="collect serve",
        purpose="run a collector: take documents, keep them, publish them",
        example="obfstats collect serve --dir collector",
        add_options=add_serve,
        run="obfstats.collect.server.serve:run_serve",
        notes="  obfstats collect serve --dir collector --listen 127.0.0.1:0 --publish-every 10 --admit RW...\n",
        extra="collect",
    ),
    Command(
        name="collect admit",
        purpose="admit a key: what it signs is published",
        example="obfstats collect admit RWSQonsexnGaiMYpANC2fvl2RljkxmQYYSk52you4FLQBIeV96cJVouC --dir collector",
        add_options=add_admit,
        run="obfstats.collect.store.decisions:run_admit",
    ),
    Command(
        name="collect revoke",
        purpose="admit a key no longer",
        example="obfstats collect revoke RWSQonsexnGaiMYpANC2fvl2RljkxmQYYSk52you4FLQBIeV96cJVouC --dir collector",
        add_options=add_revoke,
        run="obfstats.collect.store.decisions:run_revoke",
    ),
    Command(
        name="collect review",
        purpose="list the documents that wait for a person, and decide",
        example="obfstats collect review --dir collector",
        add_options=add_review,
        run="obfstats.collect.store.decisions:run_review",
    ),
    Command(
        name="collect import",
        purpose="add old documents from local files to a collector's archive, marked as imported",
        example="obfstats collect import --dir collector documents.txt",
        add_options=add_import,
        run="obfstats.collect.archive.importing:run_import",
        notes="""
exit status: 0 where the archive has all documents; 1 where a file has another thing than old documents, and nothing was
imported, or where another document of an interval is published; 2 where a file, the folder or the ledger cannot be used
""",
    ),
    Command(
        name="mirror",
        purpose="copy a public archive and keep the copy up to date, with digests and signatures checked",
        example="obfstats mirror https://collector.example mirrored",
        add_options=add_mirror,
        run="obfstats.collect.mirror:run_mirror",
        notes="""  obfstats mirror https://collector.torproject.org collector --only recent/bridge-descriptors/

exit status: 0; 1 where something was refused, and what was good before stays; 2 where the archive was not reached, and
the next run continues
""",
    ),
)
