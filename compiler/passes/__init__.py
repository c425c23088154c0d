"""The passes. This folder is the registry: a file's name is its pass's name."""

from __future__ import annotations

import importlib
import pkgutil

from spikec.compiler.pipeline import Pass


def _pass_in(name: str) -> type[Pass]:
    module = importlib.import_module(f"{__name__}.{name}")
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Pass)
        and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise ImportError(f"{module.__name__} must define exactly one Pass, found {len(found)}")
    found[0].name = name
    return found[0]


PASSES: dict[str, type[Pass]] = {
    info.name: _pass_in(info.name)
    for info in sorted(pkgutil.iter_modules(__path__), key=lambda info: info.name)
    if not info.name.startswith("_")
}
"""All passes by name."""
