"""The NumPy reference: exact int64 integers, slow, every value checked."""

from collections.abc import Collection
from dataclasses import dataclass

from spikec.backends.backend import Engine
from spikec.ir import Graph
from spikec.runtime.interpreter import Feeds, Simulation, simulate


@dataclass(frozen=True)
class Reference(Engine):
    """NumPy reference, exact integers, every width checked."""

    def simulate(
        self, graph: Graph, feeds: Feeds, steps: int | None = None, trace: Collection[str] = ()
    ) -> Simulation:
        return simulate(graph, feeds, steps, trace)
