"""What a backend is: something that emits a compiled network, runs it, or both."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from spikec.ir import Graph
from spikec.ir.hardware import LOIHI2, HardwareSpec
from spikec.runtime.interpreter import Feeds, Simulation


class Simulate(Protocol):
    """Runs a spiking graph, as `spikec.runtime.interpreter.simulate` does."""

    def __call__(
        self, graph: Graph, feeds: Feeds, steps: int | None = None, trace: Collection[str] = ()
    ) -> Simulation:
        """Run `graph` on coded inputs; see `spikec.runtime.interpreter.simulate`."""
        ...


def _always() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Backend:
    """One backend; its module defines it as `BACKEND` and the module's name is its name.

    Attributes:
        doc: One line for `spikec targets`.
        spec: The widths that it holds.
        emit: Writes the integer graph into a directory, for `compile --target`.
        entries: Entries of the artifact's manifest that `emit` takes as keywords.
        simulate: Runs a graph, for `--engine`.
        describe: Says how `emit` maps a graph: rows of layer, what, how, and whether a chip can.
        legalise: Passes of stage int that its networks need, run before `range`.
        stages: Stages that `simulate` can run.
        unavailable: Why it cannot run here, or None if it can.
    """

    doc: str
    spec: HardwareSpec = field(default=LOIHI2)
    emit: Callable[[Graph, Path], None] | None = None
    entries: tuple[str, ...] = ()
    simulate: Simulate | None = None
    describe: Callable[[Graph], list[dict[str, Any]]] | None = None
    legalise: tuple[str, ...] = ()
    stages: tuple[str, ...] = ("snn", "int")
    unavailable: Callable[[], str | None] = _always
