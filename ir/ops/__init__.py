"""The ops. This folder is the registry: a file's name is its op's name."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from spikec.ir.op import Op


def _op_in(module: ModuleType, name: str) -> Op:
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Op) and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise ImportError(f"{module.__name__} must define exactly one Op, found {len(found)}")
    found[0].name = name
    return found[0]()


OPS: dict[str, Op] = {
    info.name: _op_in(importlib.import_module(f"{__name__}.{info.name}"), info.name)
    for info in sorted(pkgutil.iter_modules(__path__), key=lambda info: info.name)
    if not info.name.startswith("_")
}
"""All ops by name."""
