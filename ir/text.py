"""The textual form of a graph: `parse(to_text(g)) == g` always holds."""

from __future__ import annotations

import math
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedInput, VisitError

from spikec.ir.errors import InvalidGraph, ParseError, SpikecError
from spikec.ir.graph import Graph, Node
from spikec.ir.op import Attrs, AttrValue, Op
from spikec.ir.ops import OPS
from spikec.ir.reading import check_depth, read_text
from spikec.ir.types import DType, Param, TensorType
from spikec.ir.verify import verify

_DIGITS = 1000
"""Longest integer that is read."""
TEXT = 1 << 24
"""Longest text that is read, in characters."""


def to_text(graph: Graph, *, values: bool = False) -> str:
    """Print a graph; with `values`, params are followed by their arrays."""
    return graph.to_text(values=values)


@cache
def _parser() -> Lark:
    grammar = resources.files("spikec.ir").joinpath("grammar.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", propagate_positions=True, maybe_placeholders=True)


def parse(text: str, *, file: str = "<text>") -> Graph:
    """Read and verify a graph.

    Raises:
        ParseError: with line, column and a caret under the place; for a text that is too long, or
            whose brackets are nested too deeply.
        InvalidGraph: when the graph breaks an invariant.
    """
    if len(text) > TEXT:
        raise ParseError(
            f"the text is longer than {TEXT:,} characters", loc=file, hint="leave values out of it"
        )
    problem = check_depth(text.encode(errors="replace"))
    if problem is not None:
        raise ParseError(problem, loc=file)
    try:
        graph = _Builder().transform(_parser().parse(text))
    except UnexpectedInput as error:
        raise _at(text, file, error.line, error.column, _expected(error)) from None
    except VisitError as error:
        if not isinstance(error.orig_exc, SpikecError):
            raise
        meta = getattr(error.obj, "meta", None)
        line, column = getattr(meta, "line", 1), getattr(meta, "column", 1)
        raise _at(text, file, line, column, error.orig_exc.message, error.orig_exc.hint) from None
    assert isinstance(graph, Graph)
    return verify(graph)


def read_spk(path: Path) -> Graph:
    """Read and verify a graph's file; raises what `parse` does, naming the file."""
    text = read_text(path, TEXT, error=ParseError)
    try:
        return parse(text, file=path.name)
    except InvalidGraph as error:
        error.loc = path.name if error.loc is None else f"{path.name}: {error.loc}"
        raise


def _expected(error: UnexpectedInput) -> str:
    names = sorted(getattr(error, "accepts", None) or getattr(error, "allowed", None) or ())
    spelled = {"NAME": "a name", "NUMBER": "a number", "STRING": "a string", "$END": "the end"}
    shown = [spelled.get(name, _spelling(name)) for name in names]
    token = getattr(error, "token", None)
    if token is not None and token.type == "$END":
        return f"the text ends too early; expected {' or '.join(shown)}"
    return f"expected {' or '.join(shown)}" if shown else "unexpected character"


def _spelling(terminal: str) -> str:
    for definition in _parser().terminals:
        if definition.name == terminal:
            return f"'{definition.pattern.value}'"
    return terminal.lower()


def _at(
    text: str, file: str, line: int, column: int, message: str, hint: str | None = None
) -> ParseError:
    lines = text.splitlines() or [""]
    if line < 1:
        line, column = len(lines), len(lines[-1]) + 1
    shown = lines[line - 1].replace("\t", " ") if line <= len(lines) else ""
    start = max(0, column - 60)
    caret = " " * (column - 1 - start) + "^"
    return ParseError(
        f"{message}\n  {shown[start : start + 100]}\n  {caret}",
        loc=f"{file}:{line}:{column}",
        hint=hint,
    )


def _number(token: Token) -> int | float:
    if any(c in token for c in ".eEin"):
        return float(token)
    if len(token) > _DIGITS:
        raise ParseError(f"a number of {len(token)} digits is too long")
    return int(token)


def _operation(op: str, attributes: Attrs, node: str) -> Op:
    if op not in OPS:
        raise ParseError(f"unknown op '{op}' in %{node}")
    try:
        return OPS[op].of(attributes)
    except InvalidGraph as error:
        raise ParseError(f"%{node} = {op}: {error.message}", hint=error.hint) from None


@v_args(inline=True)
class _Builder(Transformer[Token, Any]):
    """Builds the graph from the parse tree, bottom up."""

    def number(self, token: Any) -> Any:
        return _number(token) if isinstance(token, Token) else token

    def string(self, token: Token) -> str:
        try:
            return str(msgspec.json.decode(token.encode(errors="replace"), type=str))
        except msgspec.DecodeError as error:
            raise ParseError(f"bad string: {error}") from None

    def word(self, token: Token) -> bool | str:
        return {"true": True, "false": False}.get(token, str(token))

    def list(self, *items: Any) -> tuple[Any, ...]:
        return tuple(item for item in items if item is not None)

    def array(self, *items: Any) -> Any:
        return [item for item in items if item is not None]

    def type(self, name: Token, *sizes: Token | None) -> TensorType:
        shape = [_number(size) for size in sizes if size is not None]
        if not all(isinstance(size, int) and size > 0 for size in shape):
            raise ParseError("a shape holds positive integers")
        return TensorType(DType.parse(str(name)), tuple(int(size) for size in shape))

    def header(self, key: Token, value: AttrValue) -> tuple[str, AttrValue]:
        return str(key), value

    def param(self, name: Token, type_: TensorType, literal: Any) -> tuple[str, Param]:
        if literal is None:
            return str(name), Param(type_)
        try:
            array = np.array(literal, dtype=object if type_.dtype.is_integer else np.float64)
        except (ValueError, OverflowError):
            raise ParseError(f"the values of @{name} do not form an array of {type_}") from None
        if array.dtype == object and not all(isinstance(value, int) for value in array.flat):
            raise ParseError(f"the values of @{name} do not form an array of {type_}")
        if array.size == 0 or array.shape != type_.shape:
            raise ParseError(f"the values of @{name} have shape {list(array.shape)}, not {type_}")
        low, high = type_.dtype.bounds if type_.dtype.is_integer else (-math.inf, math.inf)
        if array.min() < low or array.max() > high:
            raise ParseError(f"the values of @{name} leave the range of {type_.dtype}")
        return str(name), Param.of(array, type_.dtype)

    def attr(self, key: Token, value: AttrValue) -> tuple[str, AttrValue]:
        return str(key), value

    def role(self, key: Token, name: Token) -> tuple[str, Token]:
        return str(key), name

    def ref(self, name: Token) -> str:
        return str(name)

    def refs(self, *names: str) -> tuple[str, ...]:
        return names

    def ret(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return names

    def node(
        self, name: Token, type_: TensorType, op: Token, inputs: tuple[str, ...] | None, *rest: Any
    ) -> Node:
        *settings, loc = rest
        given_settings = [setting for setting in settings if setting is not None]
        if len({key for key, _ in given_settings}) != len(given_settings):
            raise ParseError(f"%{name} sets an attribute twice")
        given = [(key, value) for key, value in given_settings if not isinstance(value, Token)]
        return Node(
            name=str(name),
            operation=_operation(str(op), dict(given), str(name)),
            inputs=inputs or (),
            type=type_,
            params={key: str(value) for key, value in given_settings if isinstance(value, Token)},
            loc=self.string(loc) if loc is not None else None,
        )

    def start(self, name: Token, *items: Any) -> Graph:
        *items_, outputs = items
        params = [item for item in items_ if isinstance(item, tuple) and isinstance(item[1], Param)]
        headers = [i for i in items_ if isinstance(i, tuple) and not isinstance(i[1], Param)]
        if len({key for key, _ in params}) != len(params):
            raise ParseError("a param is declared twice")
        header: dict[str, Any] = dict(headers)
        unknown = set(header) - {"stage", "steps", "source"}
        if unknown or not {"stage", "steps"} <= set(header) or len(header) != len(headers):
            raise ParseError("the header must set stage and steps, and may set source, each once")
        if type(header["steps"]) is not int or not isinstance(header["stage"], str):
            raise ParseError("stage is a word and steps an integer")
        source = header.get("source")
        return Graph(
            name=str(name),
            stage=header["stage"],
            steps=header["steps"],
            nodes=tuple(item for item in items_ if isinstance(item, Node)),
            outputs=outputs,
            params=dict(params),
            source=None if source is None else str(source),
        )
