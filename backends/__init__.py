"""The backends. This folder is the registry: a module's name is its backend's name."""

from __future__ import annotations

import importlib
import pkgutil

from spikec.backends.backend import Backend, Simulate
from spikec.ir import BackendError

BACKENDS: dict[str, Backend] = {
    info.name: importlib.import_module(f"{__name__}.{info.name}").BACKEND
    for info in sorted(pkgutil.iter_modules(__path__), key=lambda info: info.name)
    if info.name != "backend"
}
"""All backends by name."""


def target(name: str) -> Backend:
    """The backend that `--target NAME` means; raises BackendError."""
    return _find(name, {n: b for n, b in BACKENDS.items() if b.emit is not None}, "target")


def engine(name: str) -> Simulate:
    """The engine that `--engine NAME` means; raises BackendError if unknown or not available."""
    backend = _find(name, {n: b for n, b in BACKENDS.items() if b.simulate is not None}, "engine")
    reason = backend.unavailable()
    if reason is not None:
        raise BackendError(f"engine '{name}' is not available: {reason}")
    assert backend.simulate is not None
    return backend.simulate


def _find(name: str, found: dict[str, Backend], kind: str) -> Backend:
    if name not in found:
        raise BackendError(f"unknown {kind} '{name}'", hint=f"one of {', '.join(found)}")
    return found[name]


__all__ = ["BACKENDS", "Backend", "Simulate", "engine", "target"]
