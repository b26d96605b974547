"""Man pages: one for each program, group and command. The format is man(7), as groff and mandoc read it."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from help_files.programs import Argument, Verb

_ESCAPES = str.maketrans(
    {"\\": r"\e", "-": r"\-", "'": r"\(aq", '"': r"\(dq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"}
)
_CODE_OR_OPTION = re.compile(r"(`[^`]+`|(?<![\w-])--?[a-z][a-z0-9-]*)")

_EXIT_STATUS = {
    "obfsproxy": "0 after SIGTERM or SIGINT, or at the end of standard input if tor asks for that; 2 with one line on "
    "standard error where the program could not start; 1 where tor's environment was wrong.",
    "obfstats": "0: success. 1: bad data. 2: wrong usage, or a file cannot be read or written. 130: an interrupt. "
    "141: the reader of standard output went away.",
    "obfstats-wrap": "that of PROGRAM, or 128 and the number of the signal that ended it; 2 with one line on standard "
    "error where the wrap could not start.",
}
_SEE_ALSO = {
    "obfsproxy": ("obfstats", "obfstats-wrap", "tor"),
    "obfstats": ("obfsproxy",),
    "obfstats-wrap": ("obfsproxy", "tor"),
}


def make_pages(programs: Iterable[Verb], *, version: str, date: str) -> dict[str, str]:
    """Make the pages of programs.

    Args:
        programs: the programs. The transports of obfsproxy are on its own page.
        version: of the package.
        date: when it was released, or empty.

    Returns:
        Pages by name, without the section's number.
    """
    pages = {}
    for program in programs:
        for verb in [program] if program.name == "obfsproxy" else program.walk():
            name = "-".join(verb.words)
            header = f'.TH {_escape(name.upper())} 1 "{_escape(date)}" "obfstats {version}" "obfstats"'
            pages[name] = "\n".join([header, *_make_sections(verb, name, program)]) + "\n"
    return pages


def _make_sections(verb: Verb, name: str, program: Verb) -> Iterator[str]:
    notes, examples, exit_status = _split_epilog(verb.epilog)
    purpose = verb.purpose or verb.description.partition(". ")[0].rstrip(".")
    yield from (".SH NAME", rf"{_escape(name)} \- {_escape(purpose[0].lower() + purpose[1:])}")
    yield from (".SH SYNOPSIS", _make_synopsis(verb))
    yield from (".SH DESCRIPTION", _prose(verb.description))
    if verb.extra:
        yield from (
            ".PP",
            _prose(f"It needs the libraries of `obfstats[{verb.extra}]`, and names the package where one is missing."),
        )
    yield from _make_notes(notes)
    if verb.verbs and program.name != "obfsproxy":
        yield ".SH COMMANDS"
        for other in verb.verbs:
            yield from (".TP", rf".BR \%{_escape('-'.join(other.words))} (1)", _prose(other.purpose))
    yield from (".SH OPTIONS", *_list_arguments(verb.arguments))
    if program.name == "obfsproxy":
        transports = [other for other in verb.verbs if other.positionals]
        for arguments, verbs in groupby(transports, key=lambda other: other.arguments):
            yield rf".SS After \fB{'|'.join(other.name for other in verbs)}"
            yield from _list_arguments(arguments)
    yield from (".SH EXIT STATUS", _prose(exit_status or _EXIT_STATUS.get(name) or _EXIT_STATUS[program.name]))
    yield from (".SH EXAMPLES", *_list_examples(examples)) if examples else ()
    yield ".SH SEE ALSO"
    yield ",\n".join(rf".BR \%{_escape(other)} (1)" for other in _find_related(verb, name, program))


def _find_related(verb: Verb, name: str, program: Verb) -> list[str]:
    """Give the names of other pages: the group and the program of a command, the commands of a group."""
    above = ["-".join(verb.words[:length]) for length in range(1, len(verb.words))]
    below = ["-".join(other.words) for other in verb.verbs] if program.name != "obfsproxy" else []
    return sorted({*above, *below, *_SEE_ALSO.get(name, ())})


def _split_epilog(epilog: str) -> tuple[list[str], list[str], str]:
    """Split the text after the options into lines of notes, lines of examples, and the exit status."""
    notes: list[str] = []
    examples: list[str] = []
    exit_status = ""
    for block in filter(None, epilog.strip("\n").split("\n\n")):
        lines = block.split("\n")
        if lines[0] in {"example:", "examples:"}:
            examples = lines[1:]
        elif block.startswith("exit status: "):
            exit_status = f"{' '.join(lines).removeprefix('exit status: ')}."
        else:
            notes += lines
    return notes, examples, exit_status


def _make_notes(lines: Sequence[str]) -> Iterator[str]:
    """Make paragraphs of lines, and verbatim text of those that are indented."""
    for indented, part in groupby(lines, key=lambda line: line.startswith(" ")):
        yield ".PP"
        if indented:
            yield from (".RS 4", ".nf", *(_verbatim(line.strip()) for line in part), ".fi", ".RE")
        else:
            yield _prose(" ".join(part))


def _list_examples(lines: Sequence[str]) -> Iterator[str]:
    """Make a list of command lines; a line that is indented further explains the one before it."""
    for index, line in enumerate(lines):
        if line.startswith("      "):
            yield from (".RS 4", _prose(line.strip()), ".RE")
        else:
            yield from [".PP"] if index else []
            yield from (".nf", rf"\fB{_escape(line.strip())}\fR", ".fi")


def _make_synopsis(verb: Verb) -> str:
    start = rf"\fB{_escape(' '.join(verb.words))}\fR"
    if verb.takes_program:
        return rf"{start} [\fIoptions\fR] \fB\-\-\fR \fIPROGRAM\fR [\fIARGUMENT\fR ...]"
    if verb.name == "obfsproxy":
        return "\n.br\n".join(
            rf"{start} [\fIoptions\fR] \fB{'|'.join(other.name for other in verbs)}\fR"
            rf"{_invoke_all(argument for argument in arguments if not argument.names)}"
            for arguments, verbs in groupby(verb.verbs, key=lambda other: other.arguments)
        )
    if verb.verbs:
        return rf"{start} \fICOMMAND\fR [\fIoptions\fR]"
    required = [option for option in verb.options if option.required]
    return rf"{start} [\fIoptions\fR]{_invoke_all([*required, *verb.positionals])}"


def _invoke_all(arguments: Iterable[Argument]) -> str:
    return "".join(
        f" {_invoke(argument)}" if argument.required or argument.names else f" [{_invoke(argument)}]"
        for argument in arguments
    )


def _invoke(argument: Argument) -> str:
    """Write an argument as on a command line: an option with its value, or a value."""
    value = rf"\fB{_escape('|'.join(argument.choices))}\fR" if argument.choices else rf"\fI{_escape(argument.value)}\fR"
    value += " ..." if argument.many else ""
    names = ", ".join(rf"\fB{_escape(name)}\fR" for name in argument.names)
    return names if argument.kind == "flag" else f"{names} {value}".strip()


def _list_arguments(arguments: Iterable[Argument]) -> Iterator[str]:
    for heading, group in groupby(arguments, key=lambda argument: argument.group):
        yield from [f".SS {_escape(heading.capitalize())}"] if heading else []
        for argument in group:
            yield from (".TP", _invoke(argument), _prose(argument.purpose))


def _prose(text: str) -> str:
    r"""Escape text that is filled; what is between \`\`, and options, are bold."""
    parts = _CODE_OR_OPTION.split(" ".join(text.split()))
    marked = [rf"\fB{_escape(part.strip('`'))}\fR" if index % 2 else _escape(part) for index, part in enumerate(parts)]
    # An option, address or path that is hyphenated cannot be found or copied.
    words = [rf"\%{word}" if re.search(r"\\-|[/:_][\w/]", word) else word for word in "".join(marked).split(" ")]
    return _verbatim_start(" ".join(words))


def _verbatim(text: str) -> str:
    return _verbatim_start(_escape(text))


def _verbatim_start(line: str) -> str:
    """Keep groff from reading a line of text as a request."""
    return rf"\&{line}" if line.startswith(".") else line


def _escape(text: str) -> str:
    return "".join(char if char.isascii() else rf"\[u{ord(char):04X}]" for char in text.translate(_ESCAPES))
