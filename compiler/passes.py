"""The passes. The rooms' folders are the registry: a file's name is its pass's name."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from spikec.compiler.pipeline import Pass

ROOMS = ("rewrites", "calibration", "quantisation", "placement")
"""Folders of passes, in the order in which a network goes through them."""


def _passes_in(module: str) -> list[type[Pass]]:
    return [
        value
        for value in vars(importlib.import_module(module)).values()
        if isinstance(value, type) and issubclass(value, Pass) and value.__module__ == module
    ]


def _all_passes() -> dict[str, type[Pass]]:
    """One pass for each file that defines one under the file's own name; other files help them."""
    passes: dict[str, type[Pass]] = {}
    folder = Path(__file__).parent
    for room in ROOMS:
        for info in pkgutil.iter_modules([str(folder / room)]):
            module = f"spikec.compiler.{room}.{info.name}"
            for found in _passes_in(module):
                if found.__name__.lower() == info.name.replace("_", ""):
                    found.name = info.name
                    passes[info.name] = found
    return dict(sorted(passes.items()))


PASSES = _all_passes()
"""All passes by name."""
