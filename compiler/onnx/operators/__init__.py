"""The ONNX operators that are imported. This folder is the registry: one module per family.

The modules are loaded when an operator is first asked for. A plugin names its module in an entry
point: `[project.entry-points."spikec.onnx_operators"]`.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Literal, TypeVar

from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.values import Constant, Value

Lowering = Callable[[OnnxNode], Value | Sequence[Value]]
Folding = Callable[[OnnxNode], Constant]
L = TypeVar("L", bound=Lowering)
Key = tuple[str, str]
"""Domain and operator."""
Integers = Literal["refused", "kept", "read"]
Layouts = Literal["first", "kept", "read"]


@dataclass(frozen=True, slots=True)
class Rule:
    """How an operator is lowered.

    Attributes:
        lower: The function.
        integers: What it does with integers that stand for reals: `refused`, `kept` (the result
            stands on the same grid) or `read` (the function handles them).
        layouts: What it does with the batch axis of its inputs: it must stand `first`; it may stand
            anywhere and is `kept` there (element-wise operators); or the function `read`s it.
        tail: Whether it may also follow a cut-off operator, and is then cut off itself.
    """

    lower: Lowering
    integers: Integers = "refused"
    layouts: Layouts = "first"
    tail: bool = False


_RULES: dict[Key, Rule] = {}
_FOLDINGS: dict[Key, Folding] = {}


def lowers(
    *op_types: str,
    domain: str = "",
    integers: Integers = "refused",
    layouts: Layouts = "first",
    tail: bool = False,
) -> Callable[[L], L]:
    """Register a function as the lowering of ONNX operators; see `Rule`."""

    def register(function: L) -> L:
        for op_type in op_types:
            if (domain, op_type) in _RULES:
                raise ImportError(f"ONNX operator {op_type} is lowered twice")
            _RULES[domain, op_type] = Rule(function, integers, layouts, tail)
        return function

    return register


def folds(*op_types: str, domain: str = "") -> Callable[[Folding], Folding]:
    """Register how operators are computed for constants, where ONNX itself does not say."""

    def register(function: Folding) -> Folding:
        for op_type in op_types:
            _FOLDINGS[domain, op_type] = function
        return function

    return register


def rules() -> Mapping[Key, Rule]:
    """How each operator is lowered."""
    broken_modules()
    return _RULES


def foldings() -> Mapping[Key, Folding]:
    """How operators are computed for constants, where ONNX itself does not say."""
    broken_modules()
    return _FOLDINGS


@functools.cache
def broken_modules() -> Mapping[str, str]:
    """Load the folder's modules and plugins; those that do not load, with the reason."""
    modules = {info.name: f"{__name__}.{info.name}" for info in pkgutil.iter_modules(__path__)}
    modules |= {entry.name: entry.value for entry in entry_points(group="spikec.onnx_operators")}
    broken = {}
    for name, module in modules.items():
        try:
            importlib.import_module(module)
        except Exception as error:  # a module that someone adds may raise anything
            broken[name] = f"{type(error).__name__}: {error}"
    return broken
