"""NIR, the Neuromorphic Intermediate Representation: one file that other SNN frameworks read."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from spikec.backends.backend import UNKNOWN, Origin, Target
from spikec.backends.nir.losses import ALWAYS, LOSSES, check, refuse
from spikec.backends.nir.network import build, write
from spikec.ir import BackendError, Graph

FILE = "network.nir"
READER = "sinabs_reader.py"
"""Reads the file into sinabs without losing what NIR cannot say."""


def unavailable() -> str | None:
    """Why NIR files cannot be written here, or None if they can."""
    return None if find_spec("nir") else "pip install spikec[nir]"


def emit(graph: Graph, folder: Path, allow_lossy: Collection[str] = ()) -> None:
    """Write an integer graph as `network.nir`, and beside it its reader for sinabs.

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
    (folder / READER).write_bytes(Path(__file__).with_name(READER).read_bytes())


@dataclass(frozen=True)
class Nir(Target):
    """One NIR file for other SNN frameworks; allow_lossy names what NIR cannot say.

    Attributes:
        allow_lossy: What may be lost, names from `LOSSES`.
    """

    allow_lossy: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for loss in self.allow_lossy:
            if loss not in LOSSES:
                raise BackendError(f"unknown loss '{loss}'", hint=f"one of {', '.join(LOSSES)}")

    def unavailable(self) -> str | None:
        return unavailable()

    def refuse_early(self) -> None:
        if reason := unavailable():
            raise BackendError(f"target 'nir' is not available: {reason}")
        refuse([loss for loss in ALWAYS if loss not in self.allow_lossy], self.allow_lossy)

    def emit(self, graph: Graph, folder: Path, origin: Origin = UNKNOWN) -> None:
        emit(graph, folder, self.allow_lossy)


__all__ = ["LOSSES", "Nir", "build", "emit", "unavailable"]
