"""Folders as registries: a module's name is the name of what it defines.

A folder is listed, not imported: a module loads when what it defines is asked for.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from importlib.metadata import entry_points
from types import ModuleType
from typing import Generic, TypeVar

from spikec.ir.errors import SpikecError

K = TypeVar("K")


class Registry(MutableMapping[str, type[K]], Generic[K]):
    """The classes of one base by name, each in a module of some packages or of installed plugins.

    A plugin names its module in an entry point: `[project.entry-points."spikec.backends"]`.

    Args:
        group: Name of the entry points' group.
        packages: Full names of the packages, and the `__path__` of each.
        base: What each module defines exactly one subclass of, abstract and private ones aside. Its
            `name` becomes the module's.
        what: `backend` or the like, for errors.
        aside: Modules of the packages that define none.
        with_helpers: Whether modules of the packages may define none, as they help the others. The
            names are then known only when all modules are loaded.
    """

    def __init__(
        self,
        group: str,
        packages: Mapping[str, Sequence[str]],
        base: type[K],
        what: str,
        aside: Sequence[str] = (),
        with_helpers: bool = False,
    ) -> None:
        listed = [(p, info.name) for p in packages for info in pkgutil.iter_modules(packages[p])]
        self._modules = {n: f"{p}.{n}" for p, n in listed if n not in aside and n[0] != "_"}
        self._group, self._base, self._what = group, base, what
        self._may_help = set(self._modules.values()) if with_helpers else set()
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
        """The names, in order; those of modules that cannot be loaded are among them."""
        self._add_plugins()
        for name in list(self._modules):
            if self._modules[name] in self._may_help and name not in self._loaded:
                self._sort_out(name)
        return iter(sorted({*self._modules, *self._loaded}))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        if name in self._loaded:
            return True
        module = self._modules.get(str(name))
        return (module is not None and module not in self._may_help) or name in list(self)

    def _add_plugins(self) -> None:
        if not self._has_plugins:
            self._has_plugins = True
            for entry in entry_points(group=self._group):
                self._modules.setdefault(entry.name, entry.value)

    def _sort_out(self, name: str) -> None:
        """Load a module that may be a helper, and forget it if it is one."""
        try:
            module = self._import(name, self._modules[name])
        except SpikecError:
            return  # it stays listed, and says what is wrong when it is asked for
        if not self._kinds(module):
            del self._modules[name]

    def _load(self, name: str, module_name: str) -> type[K]:
        """The class that a module defines; whatever is wrong with it names the module."""
        kinds = self._kinds(self._import(name, module_name))
        if len(kinds) != 1:
            if not kinds and module_name in self._may_help:
                raise KeyError(name)
            raise SpikecError(
                f"{self._what} '{name}' cannot be loaded: its module must define exactly one "
                f"{self._base.__name__}, not {len(kinds)}",
                loc=module_name,
            )
        setattr(kinds[0], "name", name)  # noqa: B010  (a class attribute that mypy cannot see in K)
        return kinds[0]

    def _import(self, name: str, module_name: str) -> ModuleType:
        try:
            return importlib.import_module(module_name)
        except SpikecError:
            raise
        except Exception as error:  # a module of somebody else may raise anything
            raise SpikecError(
                f"{self._what} '{name}' cannot be loaded: {type(error).__name__}: {error}",
                loc=module_name,
            ) from error

    def _kinds(self, module: ModuleType) -> list[type[K]]:
        """The classes that a module defines for this registry."""
        return [
            value
            for name, value in vars(module).items()
            if isinstance(value, type)
            and issubclass(value, self._base)
            and value.__module__ == module.__name__
            and not (name.startswith("_") or inspect.isabstract(value))
        ]
