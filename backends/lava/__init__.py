"""Intel's Lava: emits a project of Lava processes and runs it bit for bit.

Nothing of Lava is imported here; only the emitted project does that, in a process of its own.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spikec.backends.backend import UNKNOWN, Engine, MappedPart, Origin, Target
from spikec.backends.lava.emit import emit
from spikec.backends.lava.mapping import UNSEEN, describe, is_quick
from spikec.backends.lava.simulate import LONGEST, simulate
from spikec.ir import Graph
from spikec.runtime.interpreter import Feeds, Simulation

VERSION = "0.10.0"


def unavailable() -> str | None:
    """Why Lava cannot run here, or None if it can."""
    if os.name != "posix":
        return "Lava needs Linux or macOS"
    try:
        installed = importlib.metadata.version("lava-nc")
    except importlib.metadata.PackageNotFoundError:
        return f"lava-nc {VERSION} is not installed (pip install spikec[lava])"
    return None if installed == VERSION else f"lava-nc is {installed}, not {VERSION}"


@dataclass(frozen=True)
class Lava(Target, Engine):
    """A Lava project for Loihi 2, and Lava's fixed-point simulation of it.

    Attributes:
        neuron: `own` neuron processes, or `stock`: Lava's ATRLIF wherever that is proven exact.
        precision: Process models of the simulation: `fixed` point, or `floating` point, which
            holds the same integers in doubles.
        seconds: What a simulation may take by estimate; longer ones are not started.
    """

    neuron: Literal["own", "stock"] = "own"
    precision: Literal["fixed", "floating"] = "fixed"
    seconds: int = int(LONGEST)
    legalise = ("compose",)
    stages = ("int",)

    def unavailable(self) -> str | None:
        return unavailable()

    def emit(self, graph: Graph, folder: Path, origin: Origin = UNKNOWN) -> None:
        emit(graph, folder, self.neuron)

    def describe(self, graph: Graph, quick: bool = False) -> list[MappedPart]:
        return describe(graph, self.neuron) if not quick or is_quick(graph) else [UNSEEN]

    def simulate(
        self, graph: Graph, feeds: Feeds, steps: int | None = None, trace: Collection[str] = ()
    ) -> Simulation:
        tag = {"fixed": "fixed_pt", "floating": "floating_pt"}[self.precision]
        return simulate(graph, feeds, steps, trace, tag, self.neuron, self.seconds)
