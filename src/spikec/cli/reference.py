"""The command line as a page of the documentation: `python -m spikec.cli.reference > docs/cli.md`.

Everything stands in the commands' own signatures; a test compares the page with them.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo

from spikec.cli import app
from spikec.options import Options

_HEAD = """\
# Command line

    spikec COMMAND ... [OPTIONS]

Every command has `--help` with examples. Tables go to stdout, progress and notes to stderr;
`--json` prints [one object](json.md) and `--quiet` the one result. Exit codes: 0 fine, 1 a check
found a difference or a model is not supported, 2 bad usage or bad input, with one clear error.
`spikec --version` shows the version, and `spikec --install-completion` completes commands, options
and values in your shell.

Options of [`compile`](#compile) have the same names in Python, with `_` for `-`:
`--weight-bits 6` is `weight_bits=6`. [Choosing options](options.md) says when to take which. This
page is made from the program by `python -m spikec.cli.reference`.
"""
_SHARED = ("json", "quiet", "debug")
"""Options of every command, which the head of the page describes."""
_REQUIRED = "required"
_OF_COMPILE = "Takes the options of [`compile`](#compile) as well, from `--timesteps` on.\n"
_KINDS = {int: "N", float: "X", str: "TEXT", Path: "PATH"}


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One option of a command.

    Attributes:
        typed: Its names, with what it takes.
        default: What it is without it; empty for none.
        text: What it does.
        group: The heading under which `--help` shows it.
    """

    typed: tuple[str, ...]
    default: str
    text: str
    group: str


def reference() -> str:
    """The page."""
    return "\n".join([_HEAD, *(_section(command) for command in app.registered_commands)])


def _section(command: typer.models.CommandInfo) -> str:
    assert command.callback is not None
    name, about = command.callback.__name__, inspect.getdoc(command.callback) or ""
    stated = {field.name for field in dataclasses.fields(Options)}
    arguments, rows, as_compile = [], [], False
    for parameter, kind, info in _parameters(command.callback):
        if isinstance(info, ArgumentInfo):
            arguments.append(info.metavar or parameter.name.upper())
        elif name != "compile" and info.rich_help_panel and parameter.name in stated:
            as_compile = True
        elif parameter.name not in _SHARED:
            rows.append(_row(parameter, kind, info))
    needed = [row.typed[0] for row in rows if row.default == _REQUIRED]
    usage = " ".join([name, *arguments, *needed])
    lines = [f"## {name}", "", f"    spikec {usage}", "", about, ""]
    if rows:
        lines += ["| option | default | what it does |", "|---|---|---|"]
    for group in dict.fromkeys(row.group for row in rows):
        own = [row for row in rows if row.group == group]
        lines += [f"| **{group}** | | |"] if group else []
        lines += [
            f"| {', '.join(map(_code, row.typed))} | {row.default} | {row.text} |" for row in own
        ]
    lines += [""] if rows else []
    lines += [_OF_COMPILE] if as_compile else []
    if examples := re.findall(r"\$\[/\] (.+)", command.epilog or ""):
        lines += ["```bash", *examples, "```", ""]
    return "\n".join(lines)


def _parameters(
    command: Callable[..., Any],
) -> Iterator[tuple[inspect.Parameter, Any, ArgumentInfo | OptionInfo]]:
    """Each parameter with its type and what is said of it."""
    hints = get_type_hints(command, include_extras=True)
    for parameter in inspect.signature(command).parameters.values():
        annotation = hints.get(parameter.name, parameter.annotation)
        kind, *notes = get_args(annotation) or (annotation,)
        for info in notes:
            if isinstance(info, ArgumentInfo | OptionInfo):
                yield parameter, kind, info


def _row(parameter: inspect.Parameter, kind: Any, info: OptionInfo) -> Row:
    stated = (info.default, *(info.param_decls or ()))
    names = [name for name in stated if isinstance(name, str) and name.startswith("-")]
    flag = parameter.name.replace("_", "-")
    default, value = str(parameter.default), f" {_value(kind, info)}"
    if parameter.default is inspect.Parameter.empty:
        default = _REQUIRED
    elif kind is bool:
        names = names or [f"--{flag}", f"--no-{flag}"][: 1 + parameter.default]
        default, value = "`on`" if parameter.default else "", ""
    else:
        default = f"`{default}`" if parameter.default not in (None, [], "") else ""
    return Row(
        tuple(f"{name}{value}" for name in names or [f"--{flag}"]),
        default,
        info.help or "",
        info.rich_help_panel if isinstance(info.rich_help_panel, str) else "",
    )


def _code(text: str) -> str:
    """Code in a table: a bar would end the cell in some readers of Markdown."""
    return f"<code>{text.replace('|', '&#124;')}</code>" if "|" in text else f"`{text}`"


def _value(kind: Any, info: OptionInfo) -> str:
    """What is typed behind an option."""
    if info.metavar:
        return info.metavar
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(part for part in get_args(kind) if part is not type(None))
    if get_origin(kind) is Literal:
        return "|".join(get_args(kind))
    return _KINDS.get(kind, "TEXT")


if __name__ == "__main__":
    print(reference(), end="")
