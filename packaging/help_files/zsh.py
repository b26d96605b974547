"""Completion for zsh: a function for each command, with the help of each option (zshcompsys, `_arguments`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from help_files.programs import Argument, Verb

_SPECIAL = str.maketrans({"\\": r"\\", "[": r"\[", "]": r"\]", ":": r"\:", "'": r"'\''"})

_WITH_VERBS = """\
  local curcontext=$curcontext state line ret=1
  local -A opt_args
  local -a verbs=(
{commands}
  )
  _arguments -C -S \\
{arguments}
    '1:command:->command' \\
    '*::argument:->argument' && ret=0
  case $state in
    command) _describe -t commands command verbs && ret=0 ;;
    argument)
      curcontext=${{curcontext%:*}}-$words[1]:
      (( $+functions[{function}_$words[1]] )) && {function}_$words[1] && ret=0 ;;
  esac
  return ret
"""

_OTHER_PROGRAM = """\
  local -i end=$words[(i)--]
  if (( end < CURRENT )); then
    shift $end words
    (( CURRENT -= end ))
    _normal
    return
  fi
"""


def make_completion(program: Verb) -> str:
    """Make the file of a program for share/zsh/site-functions."""
    functions = "\n".join(_make_function(verb) for verb in program.walk())
    return f'#compdef {program.name}\n\n{functions}\n_{program.name} "$@"\n'


def _make_function(verb: Verb) -> str:
    function = "_" + "_".join(verb.words)
    arguments = [line for argument in verb.arguments for line in _make_specs(argument)]
    if verb.verbs:
        commands = "\n".join(f"    '{other.name}:{_escape(other.purpose)}'" for other in verb.verbs)
        specs = "\n".join(f"    {argument} \\" for argument in arguments)
        body = _WITH_VERBS.format(commands=commands, arguments=specs, function=function)
    else:
        body = _OTHER_PROGRAM if verb.takes_program else ""
        body += "  _arguments -S \\\n" + " \\\n".join(f"    {argument}" for argument in arguments) + "\n"
    return f"{function}() {{\n{body}}}\n"


def _make_specs(argument: Argument) -> Iterator[str]:
    """Write what `_arguments` takes for an argument: one word for each name of an option."""
    action = {
        "flag": "",
        "words": f":value:({' '.join(argument.choices)})",
        "files": f":{_escape(argument.value)}:_files",
        "folders": f":{_escape(argument.value)}:_files -/",
        "text": f":{_escape(argument.value)}: ",
    }[argument.kind]
    if not argument.names:
        yield f"'{'*' if argument.many else ''}{action}'"
    for name in argument.names:
        excluded = "*" if argument.repeatable else "(- *)" if name in {"-h", "--help", "--version"} else ""
        if not excluded and len(argument.names) > 1:
            excluded = f"({' '.join(argument.names)})"
        equals = "=" if argument.kind != "flag" and name.startswith("--") else ""
        yield f"'{excluded}{name}{equals}[{_escape(argument.summary)}]{action}'"


def _escape(text: str) -> str:
    return text.translate(_SPECIAL)
