"""Options in braces: how passes and backends are named with their settings, `name{key=value,...}`.

A thing with options is a dataclass whose fields are the options: what a field is annotated with
(bool, int, float, str, Literal, a tuple of strings, or one of these and None) is what its text is
read and checked as, before anything runs.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
from collections.abc import Iterable, Mapping
from typing import (
    ClassVar,
    Literal,
    Protocol,
    TypeAlias,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from spikec.ir.errors import ParseError

Option: TypeAlias = "bool | int | float | str | tuple[str, ...] | tuple[float, ...] | None"
JOIN = "+"
"""Between the entries of an option that is a list, as a comma is between options."""


class Configurable(Protocol):
    """A dataclass whose fields are options."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Option]]]


T = TypeVar("T", bound=Configurable)


def split_list(text: str) -> list[str]:
    """The parts between commas, those inside braces aside; empty parts are left out."""
    parts, depth, start = [], 0, 0
    for place, char in enumerate(text):
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]


def read_call(text: str, what: str) -> tuple[str, dict[str, str]]:
    """The name and the options, still text, of `name{key=value,...}`; blanks separate as well.

    Args:
        text: What was typed.
        what: `pass` or the like, for errors.

    Raises:
        ParseError: where braces or equal signs are missing.
    """
    name, opened, rest = text.strip().partition("{")
    name = name.strip()
    if opened and not rest.endswith("}"):
        raise ParseError(f"options of {what} '{name}' are not closed with '}}'")
    given = {}
    for item in rest[:-1].replace(",", " ").split():
        key, equals, value = item.partition("=")
        if not equals:
            raise ParseError(f"{what} '{name}': '{item}' is not of the form option=value")
        given[key] = value
    return name, given


def write_call(name: str, given: Mapping[str, str]) -> str:
    """The text that `read_call` reads."""
    options = " ".join(f"{key}={value}" for key, value in given.items())
    return f"{name}{{{options}}}" if given else name


def configure(kind: type[T], name: str, given: Mapping[str, object], what: str) -> T:
    """A thing of some kind with the given options, which are text or values out of JSON.

    Raises:
        ParseError: naming an unknown option or a value that it cannot take, and what it can.
    """
    hints, values = get_type_hints(kind), dict[str, Option]()
    known = [field.name for field in dataclasses.fields(kind)]
    for key, value in given.items():
        if key not in known:
            raise ParseError(
                f"{what} '{name}' has no option '{key}'",
                hint=suggestion(key, known) or f"options: {', '.join(known) or 'none'}",
            )
        try:
            values[key] = convert(value, hints[key])
        except (KeyError, TypeError, ValueError):
            raise ParseError(
                f"option '{key}' of {what} '{name}' must be {choices(hints[key])}, not '{value}'"
            ) from None
    return kind(**values)


def convert(value: object, hint: object) -> Option:
    """A text or a value out of JSON as what an annotation says.

    Raises:
        ValueError, KeyError, TypeError: where it is none.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None or value == "none":
            return None
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return convert(value, inner)
    if origin is Literal:
        return {str(choice): choice for choice in arguments}[str(value)]
    if origin is tuple:
        parts = value.split(JOIN) if isinstance(value, str) else value
        if isinstance(parts, Iterable):
            kept = [part for part in parts if part != ""]
            return tuple(map(float, kept)) if arguments[0] is float else tuple(map(str, kept))
    if hint is bool:
        return {"true": True, "false": False}[str(value).lower()]
    if hint in (int, float, str) and isinstance(value, str | int | float):
        if hint is int and isinstance(value, float) and value != int(value):
            raise ValueError(value)
        return {int: int, float: float, str: str}[hint](value)
    raise TypeError(hint)


def check_choices(configured: Configurable) -> None:
    """Raise ParseError where a field that is a choice holds none of its values."""
    hints = get_type_hints(type(configured))
    for field in dataclasses.fields(configured):
        value, hint = getattr(configured, field.name), hints[field.name]
        if get_origin(hint) is Literal and value not in get_args(hint):
            raise ParseError(f"option '{field.name}' must be {choices(hint)}, not '{value}'")


def choices(hint: object) -> str:
    """What an option with this annotation can be, in words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return f"{choices(inner)} or none"
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin is tuple:
        return f"{'numbers' if arguments[0] is float else 'names'} joined by {JOIN}"
    words = {bool: "true or false", int: "an integer", float: "a number", str: "a text"}
    return words[hint] if isinstance(hint, type) and hint in words else str(hint)


def spell(name: str, configured: Configurable) -> str:
    """The text that names a thing with those of its options that are not the defaults."""
    changed = [
        f"{field.name}={spell_value(getattr(configured, field.name))}"
        for field in dataclasses.fields(configured)
        if getattr(configured, field.name) != field.default
    ]
    return f"{name}{{{' '.join(changed)}}}" if changed else name


def spell_value(value: Option) -> str:
    """The text of one option."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return JOIN.join(map(str, value)) if isinstance(value, tuple) else str(value)


def describe_options(kind: type[Configurable]) -> str:
    """The options of a kind in a line, with their defaults; those with choices show all."""
    hints = get_type_hints(kind)
    parts = []
    for field in dataclasses.fields(kind):
        hint, default = hints[field.name], field.default
        if get_origin(hint) is Literal:
            others = [str(choice) for choice in get_args(hint) if choice != default]
            parts.append("|".join([f"{field.name}={default}", *others]))
        else:
            text = "" if default is dataclasses.MISSING else spell_value(default)
            parts.append(f"{field.name}={text}")
    return ", ".join(parts)


def suggestion(word: str, known: Iterable[str]) -> str | None:
    """`did you mean ...?` for a word that is close to a known one."""
    lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), lower, n=1, cutoff=0.6)
    return f"did you mean {lower[near[0]]}?" if near else None
