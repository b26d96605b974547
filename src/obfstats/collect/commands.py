"""The commands that send documents to a collector, and that run one: `key new`, `key show`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from obfstats.commandline import Command

if TYPE_CHECKING:
    import argparse

GROUPS = {"key": "The key that signs what this machine sends to a collector."}
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


COMMANDS = (
    Command(
        name="key new",
        purpose="make the key that signs documents, and print its public half",
        example="obfstats key new",
        add_options=add_data_dir,
        run="obfstats.collect.client.keys:make_key",
        extra="submit",
    ),
    Command(
        name="key show",
        purpose="print the public half of the key, for the collector's people",
        example="obfstats key show",
        add_options=add_data_dir,
        run="obfstats.collect.client.keys:show_key",
        extra="submit",
    ),
)
