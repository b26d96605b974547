"""Completion for fish: a line for each command and option, with its help."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from help_files.programs import Argument, Verb

_TEMPLATE = """\
# fish completion for @PROGRAM@

function __@PROGRAM@_at --description 'Tell whether the words before the cursor name this command'
    set -l command
    for word in (commandline -opc)[2..-1]
        if contains -- "$command $word" @PATHS@
            set command (string trim -- "$command $word")
        end
    end
    test "$command" = "$argv"
end

@OTHER@complete -c @PROGRAM@ -f
"""

_OTHER_PROGRAM = """\
function __@PROGRAM@_program --description 'Complete the command line of the program after --'
    set -l words (commandline -opc) (commandline -ct)
    set -l first (math (contains -i -- -- $words) + 1)
    complete -C (string join -- ' ' (string escape -- $words[$first..-2]) $words[-1])
end

"""


def make_completion(program: Verb) -> str:
    """Make the file of a program for share/fish/vendor_completions.d."""
    paths = [f"{' '.join(verb.words[1:-1])} {verb.name}" for verb in program.walk() if verb is not program]
    wrapping = [verb for verb in program.walk() if verb.takes_program]
    start = (
        _TEMPLATE.replace("@OTHER@", _OTHER_PROGRAM if wrapping else "")
        .replace("@PROGRAM@", program.name)
        .replace("@PATHS@", " ".join(map(_quote, paths)))
    )
    return start + "".join(f"{line}\n" for verb in program.walk() for line in _complete_verb(program.name, verb))


def _complete_verb(program: str, verb: Verb) -> Iterator[str]:
    condition = f"__{program}_at {verb.path}".strip()
    if verb.takes_program:
        follows = "contains -- -- (commandline -opc)"
        yield f"complete -c {program} -n '{condition}; and {follows}' -x -a '(__{program}_program)'"
        condition += f"; and not {follows}"
    start = f"complete -c {program} -n '{condition}'"
    for other in verb.verbs:
        yield f"{start} -a {other.name} -d {_quote(other.purpose)}"
    for option in verb.options:
        names = " ".join(f"-l {name[2:]}" if name[:2] == "--" else f"-s {name[1:]}" for name in option.names)
        yield f"{start} {names}{_complete_value(option)} -d {_quote(option.summary)}"
    for argument in verb.positionals:
        if argument.kind != "text":
            yield f"{start}{_complete_value(argument).replace(' -r', '')}"


def _complete_value(argument: Argument) -> str:
    return {
        "flag": "",
        "words": f" -x -a '{' '.join(argument.choices)}'",
        "files": " -r -F",
        "folders": " -x -a '(__fish_complete_directories (commandline -ct))'",
        "text": " -x",
    }[argument.kind]


def _quote(text: str) -> str:
    return "'" + text.replace("\\", r"\\").replace("'", r"\'") + "'"
