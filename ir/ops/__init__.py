"""The ops. This folder is the registry: a file's name is its op's name.

A file is listed, not imported: its module loads when its op is asked for.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache

from spikec.ir.op import Op

ROOMS = ("", "synapses", "routing", "neurons", "activations")
"""The folders that hold ops, this one first."""


class Registry(Mapping[str, type[Op]]):
    """The classes of all ops by name."""

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(name for room in ROOMS for name in self.room(room)))

    def __len__(self) -> int:
        return sum(len(self.room(room)) for room in ROOMS)

    def __contains__(self, name: object) -> bool:
        return any(name in self.room(room) for room in ROOMS)

    def __getitem__(self, name: str) -> type[Op]:
        """The op called `name`; raises KeyError, and ImportError naming a broken module."""
        for room in ROOMS:
            if name in self.room(room):
                return _op_in(_package(room), name)
        raise KeyError(name)

    def room(self, room: str) -> tuple[str, ...]:
        """The names of the ops in one of the folders."""
        folders = importlib.import_module(_package(room)).__path__
        return _listed(tuple(folders))


OPS = Registry()
"""All ops by name."""


def _package(room: str) -> str:
    return f"{__name__}.{room}" if room else __name__


@cache
def _listed(folders: tuple[str, ...]) -> tuple[str, ...]:
    modules = (info for info in pkgutil.iter_modules(folders) if not info.ispkg)
    return tuple(sorted(info.name for info in modules if not info.name.startswith("_")))


@cache
def _op_in(package: str, name: str) -> type[Op]:
    """The op that a module defines."""
    try:
        module = importlib.import_module(f"{package}.{name}")
    except Exception as error:
        raise ImportError(f"op '{name}' ({package}.{name}) does not load: {error}") from error
    ops = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Op) and value.__module__ == module.__name__
    ]
    if len(ops) != 1:
        raise ImportError(f"{module.__name__} must define exactly one op, not {len(ops)}")
    return ops[0]
