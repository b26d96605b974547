"""The common parts of the command lines of `obfsproxy` and `obfstats`. Cheap to import, so that `--help` is instant.

Rules:

- A mistake ends the program with status 2 and one line on standard error: what is wrong, and where the help is.
- Where tor has started the program, tor gets that line too, as ENV-ERROR (pt-spec). tor's log shows nothing of the
  standard error of a program that ends at once, and no ENV-ERROR that follows VERSION.
- The values of options that do not exist are not repeated: one may be a secret in the wrong place.
- Each station lists its commands in its own commands.py. Those modules import this one, each other, and small modules
  with constants or one parser (proxy/limits.py, wire/endpoint.py, wire/transport_names.py). What a command needs is
  loaded when it runs (`Command.run`), what an option's value needs when the option is given (`argument_type`).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

_CHOICES = re.compile(r": invalid choice: .* \(choose from (?P<choices>.*)\)$", re.DOTALL)
_MAX_COUNT = 10_000_000
_MAX_PORT = 65535
_STDOUT = 1
# All of their libraries are packages of Debian; so are those that need no extra.
_EXTRAS_IN_DEBIAN = ("", "metrics", "show")
_SET_BY_TOR = "TOR_PT_MANAGED_TRANSPORT_VER"


class UsageError(Exception):
    """Options that do not go together. Its text says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command of `obfstats`.

    Attributes:
        name: the word on the command line, or two with a blank: the first names a group, such as "key new".
        purpose: what it does, for the list of commands.
        example: a command line that can be run as it is.
        add_options: adds its options to a parser.
        run: `module:function`. The function gets the options as an `argparse.Namespace`, returns the exit status and
            may raise UsageError.
        takes_program: whether the command line of another program follows after `--`; the options have it as `program`.
        notes: further text for its help.
        extra: the extra of the package whose libraries it needs, where it needs one.
    """

    name: str
    purpose: str
    example: str
    add_options: Callable[[argparse.ArgumentParser], None]
    run: str
    takes_program: bool = False
    notes: str = ""
    extra: str = ""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line.

    Attributes:
        unlisted: choices that are accepted, but not offered.
    """

    unlisted: Collection[str] = ()

    def __init__(self, **arguments: Any) -> None:
        """Take argparse's own arguments."""
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **arguments)

    def error(self, message: str) -> NoReturn:
        """End the program with status 2. A wrong choice is not repeated; argparse words this differently by version."""
        if (wrong := _CHOICES.search(message)) is not None:
            choices = [choice.strip("'") for choice in wrong["choices"].split(", ")]
            offered = ", ".join(repr(choice) for choice in choices if choice not in self.unlisted)
            message = f"{message[: wrong.start()]}: choose from {offered}"
        self.exit(fail(self.prog, f"{message}; see {self.prog} --help"))

    def refuse_unknown_options(self, words: Iterable[str]) -> None:
        """End the program if there is an option that does not exist; argparse would complain of its value first."""
        names = [word.partition("=")[0] for word in words]
        self.refuse_unknown([name for name in names if name[:2] == "--" and name not in self._option_string_actions])

    def refuse_unknown(self, unknown: Sequence[str], *, words: str = "", advice: str = "") -> None:
        """End the program if there are arguments that the parser does not know.

        Args:
            unknown: those arguments. Only the names of options among them are repeated.
            words: what to write where no option is among them; the arguments themselves if empty.
            advice: what to do.
        """
        if unknown:
            options = [word.partition("=")[0] for word in unknown if word.startswith("-")]
            self.error(f"unrecognized arguments: {' '.join(options) or words or ' '.join(unknown)}{advice}")


def join_negative_values(words: Sequence[str]) -> list[str]:
    """Join a value such as -05:30 to the option before it; argparse would take it for an option."""
    joined: list[str] = []
    for word in words:
        if joined and re.match("-[0-9]", word) and re.fullmatch("--[^=]+", joined[-1]):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def argument_type(parse: str | Callable[[str], object]) -> Callable[[str], object]:
    """Make a type for an option: the ValueError of a parser becomes the error of the command line.

    Args:
        parse: a function that takes text, or `module:function`, which is loaded when the option is given.
    """

    def convert(text: str) -> object:
        try:
            return (load(parse) if isinstance(parse, str) else parse)(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error).rstrip(".")) from None

    return convert


def load(name: str) -> Callable[..., Any]:
    """Import what `module:function` names."""
    module, _, function = name.partition(":")
    loaded: Callable[..., Any] = getattr(import_module(module), function)
    return loaded


def describe_missing_library(error: ModuleNotFoundError, extra: str) -> str:
    """Say what to install.

    Args:
        error: names the module that could not be imported.
        extra: the extra of the package that has it; empty if it needs none.
    """
    library = str(error.name).partition(".")[0]
    package = f"obfstats[{extra}]" if extra else "obfstats"
    debian = f", or Debian's python3-{library.replace('_', '-')}" if extra in _EXTRAS_IN_DEBIAN else ""
    return f"the library {library} is not installed; install {package}{debian}"


@argument_type
def positive_number(text: str) -> int:
    """Read a number from 1 to 10,000,000."""
    if not re.fullmatch("[0-9]{1,8}", text) or not 1 <= int(text) <= _MAX_COUNT:
        raise ValueError(f"{text[:20]!r} is not a number from 1 to {_MAX_COUNT}")
    return int(text)


def find_state_folder() -> Path:
    """Return the default of --data-dir, the folder for what must survive a restart (XDG base directory specification).

    Raises:
        UsageError: if there is no home directory.
    """
    state = os.environ.get("XDG_STATE_HOME", "")
    try:
        return (Path(state) if state.startswith("/") else Path.home() / ".local" / "state") / "obfsproxy"
    except RuntimeError:
        raise UsageError("there is no home directory to keep files in; name a folder with --data-dir") from None


@argument_type
def listen_address(text: str) -> tuple[str, int]:
    """Read HOST:PORT, where a service of ours listens; an IPv6 address is in brackets."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:\[\]/]+)):([0-9]{1,5})", text)
    if match is None or int(match[3]) > _MAX_PORT:
        raise ValueError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:8085 or [::1]:8085")
    return match[1] or match[2], int(match[3])


def print_error(program: str, sentence: str) -> None:
    """Write a line to standard error; if that is closed, nowhere: never to standard output."""
    if sys.stderr is not None:
        print(f"{program}: {one_line(sentence)}", file=sys.stderr)


def fail(program: str, sentence: str) -> int:
    """Write a line to standard error, and to tor if tor waits for one; return the exit status 2."""
    print_error(program, sentence)
    if _SET_BY_TOR in os.environ and sys.stdout is not None:
        line = f"ENV-ERROR {program}: {one_line(sentence)}\n"
        with contextlib.suppress(OSError):
            os.write(_STDOUT, line.encode("ascii", "backslashreplace"))
    return 2


def open_standard_output() -> BinaryIO:
    """Open standard output for bytes: under PYTHONUNBUFFERED `sys.stdout.buffer` is unbuffered and may write a part."""
    return open(sys.stdout.fileno(), "wb", closefd=False)


def one_line(text: str) -> str:
    """Escape what a terminal cannot show, line ends included: a file's name or a program's line may hold anything."""
    return text if text.isprintable() else "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
