"""The commands, from the command line's own definitions."""

from collections.abc import Iterator
from typing import Any

import typer

from eventstore.face.cli import app
from tests.docs.reference.markdown import MADE, sentence, table

_EVERYWHERE = ("--json", "--help")


def page() -> str:
    root = typer.main.get_command(app)
    parts = [
        "# Commands\n",
        MADE,
        sentence(root.help or "") + "\n",
        "Every command takes `--json`, to print one machine-readable object, and `--help`. A mistake of the "
        "user ends with exit code 2, an outage and what else fails with 1, Ctrl-C with 130: a line on "
        "standard error.\n",
    ]
    for path, command in sorted(_commands("eventstore", root)):
        arguments = [each for each in command.params if each.param_type_name == "argument"]
        options = [
            each
            for each in command.params
            if each.param_type_name == "option" and not set(each.opts) & set(_EVERYWHERE)
        ]
        parts.append(f"## {path}\n")
        usage = " ".join([path, *map(_argument, arguments), *(["[OPTIONS]"] if options else [])])
        parts.append(f"`{usage}`\n")
        parts += [" ".join(paragraph.split()) + "\n" for paragraph in (command.help or "").split("\n\n")]
        rows = [
            *((f"`{_argument(each)}`", _help(each)) for each in arguments),
            *((f"`{_option(each)}`", _help(each)) for each in options),
        ]
        if rows:
            parts.append(table(("", ""), rows))
    return "\n".join(parts)


def _commands(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    for name, inner in getattr(command, "commands", {}).items():
        yield f"{path} {name}", inner
        yield from _commands(f"{path} {name}", inner)


def _argument(argument: Any) -> str:
    name = str(argument.metavar or argument.name.upper()) + ("…" if argument.nargs == -1 else "")
    return name if argument.required or name.startswith("[") else f"[{name}]"


def _option(option: Any) -> str:
    if option.default is False:
        return ", ".join(option.opts)
    return f"{', '.join(option.opts)} {option.metavar or option.name.rpartition('_')[2].upper()}"


def _help(parameter: Any) -> str:
    default = parameter.default
    without = default is None or default is False or parameter.required
    return (parameter.help or "") + ("" if without else f" Default: `{default}`.")
