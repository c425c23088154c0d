"""NIR, the Neuromorphic Intermediate Representation: one file that other SNN frameworks read."""

from __future__ import annotations

from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path

from spikec.backends.backend import Backend
from spikec.backends.nir.losses import LOSSES, check
from spikec.backends.nir.network import build, write
from spikec.ir import BackendError, Graph

FILE = "network.nir"


def unavailable() -> str | None:
    """Why NIR files cannot be written here, or None if they can."""
    return None if find_spec("nir") else "pip install spikec[nir]"


def emit(graph: Graph, folder: Path, allow_lossy: Collection[str] = ()) -> None:
    """Write an integer graph as `network.nir`.

    Args:
        graph: Of stage int.
        folder: Where to.
        allow_lossy: What may be lost, names from `LOSSES`. It stays in the metadata of the nodes.

    Raises:
        BackendError: naming what NIR cannot say, the nodes, and what would accept it.
    """
    reason = unavailable()
    if reason is not None:
        raise BackendError(f"target 'nir' is not available: {reason}")
    check(graph, allow_lossy)
    write(folder / FILE, build(graph))


BACKEND = Backend(
    doc="one NIR file for other SNN frameworks; --allow-lossy names what NIR cannot say",
    emit=emit,
    entries=("allow_lossy",),
    stages=("int",),
    unavailable=unavailable,
)

__all__ = ["BACKEND", "LOSSES", "build", "emit", "unavailable"]
