"""Folders as registries: a module's name is the name of what it defines.

A folder is listed, not imported: a module loads when what it defines is asked for.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, MutableMapping, Sequence
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from spikec.ir.errors import SpikecError

K = TypeVar("K")


class Registry(MutableMapping[str, type[K]], Generic[K]):
    """The classes of one base by name, each in a module of a package or of an installed plugin.

    A plugin names its module in an entry point: `[project.entry-points."spikec.backends"]`.

    Args:
        package: The package's full name; also the group of the entry points.
        path: The package's `__path__`.
        base: What each module defines exactly one subclass of. Its `name` becomes the module's.
        what: `backend` or the like, for errors.
        aside: Modules of the package that define none.
    """

    def __init__(
        self,
        package: str,
        path: Sequence[str],
        base: type[K],
        what: str,
        aside: Sequence[str] = (),
    ) -> None:
        names = sorted(info.name for info in pkgutil.iter_modules(path))
        self._modules = {n: f"{package}.{n}" for n in names if n not in aside and n[0] != "_"}
        self._package, self._base, self._what = package, base, what
        self._loaded: dict[str, type[K]] = {}
        self._has_plugins = False

    def __getitem__(self, name: str) -> type[K]:
        if name not in self._loaded:
            if name not in self._modules:
                self._add_plugins()
            self._loaded[name] = self._load(name, self._modules[name])
        return self._loaded[name]

    def __setitem__(self, name: str, kind: type[K]) -> None:
        self._loaded[name] = kind

    def __delitem__(self, name: str) -> None:
        del self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        self._add_plugins()
        return iter(sorted({*self._modules, *self._loaded}))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in self._loaded or name in self._modules or name in list(self)

    def _add_plugins(self) -> None:
        if not self._has_plugins:
            self._has_plugins = True
            for entry in entry_points(group=self._package):
                self._modules.setdefault(entry.name, entry.value)

    def _load(self, name: str, module_name: str) -> type[K]:
        """The class that a module defines; whatever is wrong with it names the module."""
        try:
            module = importlib.import_module(module_name)
        except SpikecError:
            raise
        except Exception as error:  # a module of somebody else may raise anything
            raise SpikecError(
                f"{self._what} '{name}' cannot be loaded: {type(error).__name__}: {error}",
                loc=module_name,
            ) from error
        kinds = [
            value
            for value in vars(module).values()
            if isinstance(value, type)
            and issubclass(value, self._base)
            and value.__module__ == module.__name__
        ]
        if len(kinds) != 1:
            raise SpikecError(
                f"{self._what} '{name}' cannot be loaded: its module must define exactly one "
                f"{self._base.__name__}, not {len(kinds)}",
                loc=module_name,
            )
        setattr(kinds[0], "name", name)  # noqa: B010  (a class attribute that mypy cannot see in K)
        return kinds[0]
