"""The backends. This folder is the registry: a module's name is its backend's name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from spikec.backends.backend import UNKNOWN, Backend, Engine, Origin, Simulate, Target
from spikec.ir import BackendError
from spikec.ir.errors import SpikecError
from spikec.ir.options import configure, read_call, suggestion
from spikec.ir.registry import Registry

BACKENDS: Registry[Backend] = Registry(
    __name__, {__name__: __path__}, Backend, "backend", aside=("backend", "lowering")
)
"""All backends by name; each is imported when it is asked for."""

B = TypeVar("B", Target, Engine)


def target(text: str) -> Target:
    """The backend that `--target NAME{OPTION=VALUE,...}` means.

    Raises:
        BackendError: if there is none of that name.
        ParseError: for an option or a value that it does not have.
    """
    return make_target(*read_call(text, "target"))


def make_target(name: str, options: Mapping[str, object]) -> Target:
    """A target with options out of a text or a manifest; raises as `target` does."""
    return _configured(name, options, Target, "target")


def engine(text: str) -> Simulate:
    """What runs graphs for `--engine NAME{OPTION=VALUE,...}`; see `available_engine`."""
    return available_engine(text).simulate


def available_engine(text: str) -> Engine:
    """The backend that `--engine NAME{OPTION=VALUE,...}` means.

    Raises:
        BackendError: if there is none of that name, or it is not available here.
        ParseError: for an option or a value that it does not have.
    """
    backend = _configured(*read_call(text, "engine"), Engine, "engine")
    reason = backend.unavailable()
    if reason is not None:
        raise BackendError(f"engine '{backend.name}' is not available: {reason}")
    return backend


def names_of(kind: type[Backend]) -> list[str]:
    """Names of all targets or of all engines; a backend that cannot be loaded is neither."""
    names = []
    for name in BACKENDS:
        try:
            if issubclass(BACKENDS[name], kind):
                names.append(name)
        except SpikecError:
            continue
    return names


def _configured(name: str, options: Mapping[str, object], kind: type[B], what: str) -> B:
    backend = BACKENDS.get(name)
    if backend is None or not issubclass(backend, kind):
        known = names_of(kind)
        near = suggestion(name, known)
        raise BackendError(
            f"unknown {what} '{name}'",
            hint=f"{near + ' ' if near else ''}one of {', '.join(known)}",
        )
    return configure(backend, name, options, what)


__all__ = [
    "BACKENDS",
    "UNKNOWN",
    "Backend",
    "Engine",
    "Origin",
    "Simulate",
    "Target",
    "available_engine",
    "engine",
    "make_target",
    "names_of",
    "target",
]
