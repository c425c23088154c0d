"""Gives a command the options of `spikec.Options`, as they are stated there."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, get_type_hints

import typer

from spikec.cli.app import target_names
from spikec.options import Options, about_of

_REPEATED = {
    "set": "PASS.OPTION=VALUE",
    "shape": "NAME=1,3,224,224",
    "metric": "OUTPUT=argmax|relative",
    "frames": "INPUT",
}
"""How options are written that may be given several times."""


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command with one option for each field of `Options` in place of its `**settings`."""
    hints = get_type_hints(command, include_extras=True)
    own = [
        parameter.replace(annotation=hints[name])
        for name, parameter in inspect.signature(command).parameters.items()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    kinds = get_type_hints(Options)
    stated = [_parameter(field, kinds[field.name]) for field in dataclasses.fields(Options)]
    setattr(command, "__signature__", inspect.Signature([*own, *stated]))  # noqa: B010
    return command


def read_options(settings: Mapping[str, Any]) -> Options:
    """The options that were typed; raises UsageError, which names them as they are typed."""
    from spikec.ir import UsageError

    try:
        return Options.of(settings)
    except UsageError as error:
        error.message, error.hint = as_typed(error.message), error.hint and as_typed(error.hint)
        raise


def as_typed(text: str) -> str:
    """A text with options named as on the command line instead of as in Python."""
    for field in dataclasses.fields(Options):
        flag = f"--{field.name.replace('_', '-')}"
        text = re.sub(rf"\b{field.name}=(\w+)", rf"{flag} \1", text)
        text = re.sub(rf"\b{field.name}\b", flag, text) if "_" in field.name else text
    return text


def _parameter(field: dataclasses.Field[Any], kind: Any) -> inspect.Parameter:
    about = about_of(field)
    default = field.default
    shown: dict[str, Any] = {"help": f"{about.text[0].upper()}{about.text[1:]}."}
    shown["rich_help_panel"] = about.group
    if kind in (int, int | None):
        shown.update(min=about.low, max=about.high)
    if field.name in _REPEATED:
        shown["metavar"] = _REPEATED[field.name]
        kind, default = list[str], []
    if field.name == "target":
        shown.update(metavar="NAME{OPTION=VALUE}", autocompletion=target_names)
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, typer.Option(**shown)],
    )
