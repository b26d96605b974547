"""The commands `obfstats key new` and `obfstats key show`: the key that signs a bridge's documents.

It is the file submit.key in the bridge's folder (`--data-dir`). Root makes and reads it as the owner of that folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from obfstats.collect.signing import SigningError, SigningKey
from obfstats.commandline import fail, find_state_folder, print_error
from obfstats.lockedfile import acting_as_owner_of

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

KEY_NAME = "submit.key"


def read_key(folder: Path, *, make: bool = False) -> SigningKey:
    """Read the key of a bridge.

    Args:
        folder: the bridge's folder.
        make: whether a key is made where there is none.

    Raises:
        SigningError: if there is none, or if it cannot be used.
    """
    path = folder / KEY_NAME
    if make:
        return SigningKey.open(path)
    if not path.exists():
        raise SigningError(f"there is no key {path}; make one with: obfstats key new")
    return SigningKey.read(path)


def make_key(options: argparse.Namespace) -> int:
    """Make a key and print its public half; return the exit status."""
    folder = options.data_dir or find_state_folder()
    program = options.parser.prog
    try:
        with acting_as_owner_of(folder):
            key = SigningKey.create(folder / KEY_NAME)
    except SigningError as error:
        return fail(program, str(error))
    print(key.public)
    path = folder / KEY_NAME
    print_error(program, f"send this line to the collector's operators, who admit it; the secret is {path}")
    return 0


def show_key(options: argparse.Namespace) -> int:
    """Print the public half of the key; return the exit status."""
    folder = options.data_dir or find_state_folder()
    try:
        with acting_as_owner_of(folder):
            key = read_key(folder)
    except SigningError as error:
        return fail(options.parser.prog, str(error))
    print(key.public)
    return 0
