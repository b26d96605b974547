"""Completion for bash: one function for each program, which needs no other file.

Where bash-completion is loaded, as it is on most machines, it completes the command line of another program after `--`.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from help_files.programs import Argument, Verb

_TEMPLATE = """\
# bash completion for @PROGRAM@

_@PROGRAM@() {
    local command="" options="" words="" kind=text index
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
    COMPREPLY=()
    # --option=value is three words.
    if [[ $current == = ]]; then
        current=""
    elif [[ $previous == = ]]; then
        previous=${COMP_WORDS[COMP_CWORD-2]}
    fi
    for ((index = 1; index < COMP_CWORD; index++)); do
        case "$command ${COMP_WORDS[index]}" in
@PATHS@
        esac
    done
    case $command in
@COMMANDS@
    esac
    case $kind in
        options) mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current") ;;
        words) mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current") ;;
        files) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
        folders) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
    esac
}

complete -F _@PROGRAM@ @PROGRAM@
"""

_OTHER_PROGRAM = """\
            {pattern})
                if declare -F _comp_command_offset >/dev/null; then
                    _comp_command_offset $((index + 1))
                elif declare -F _command_offset >/dev/null; then
                    _command_offset $((index + 1))
                elif ((COMP_CWORD == index + 1)); then
                    mapfile -t COMPREPLY < <(compgen -c -- "$current")
                else
                    compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$current")
                fi
                return ;;
"""


def make_completion(program: Verb) -> str:
    """Make the file of a program for share/bash-completion/completions."""
    paths = [f"{' '.join(verb.words[1:-1])} {verb.name}" for verb in program.walk() if verb is not program]
    pattern = "|".join(map(shlex.quote, paths))
    lines = f'            {pattern}) command="${{command:+$command }}${{COMP_WORDS[index]}}" ;;'
    for verb in program.walk():
        if verb.takes_program:
            lines = _OTHER_PROGRAM.format(pattern=shlex.quote(f"{verb.path} --")) + lines
    commands = "\n".join(line for verb in program.walk() for line in _complete_verb(verb))
    return _TEMPLATE.replace("@PROGRAM@", program.name).replace("@PATHS@", lines).replace("@COMMANDS@", commands)


def _complete_verb(verb: Verb) -> Iterator[str]:
    options = " ".join(name for option in verb.options for name in option.names)
    yield f"        {shlex.quote(verb.path)})"
    yield f'            options="{options}"'
    yield "            case $previous in"
    for option in verb.options:
        if option.kind != "flag":
            yield f"                {'|'.join(option.names)}) {_assign([option])} ;;"
    assign = _assign(verb.positionals, [other.name for other in verb.verbs])
    yield f"                *) {assign}; [[ $current == -* ]] && kind=options ;;"
    yield "            esac ;;"


def _assign(arguments: Iterable[Argument], more: Iterable[str] = ()) -> str:
    """Write the assignments that choose how a value is completed: the first of several arguments that can be."""
    words = [choice for argument in arguments for choice in argument.choices] + list(more)
    if words:
        return f'kind=words words="{" ".join(words)}"'
    kinds = [argument.kind for argument in arguments if argument.kind != "text"]
    return f"kind={kinds[0] if kinds else 'text'}"
