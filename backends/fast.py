"""The fast engine: bit for bit the reference, chosen by default."""

from collections.abc import Collection
from dataclasses import dataclass

from spikec.backends.backend import Engine
from spikec.ir import Graph
from spikec.runtime.fast import simulate
from spikec.runtime.interpreter import Feeds, Simulation


@dataclass(frozen=True)
class Fast(Engine):
    """Compiled engine on all cores, bit for bit the reference."""

    def simulate(
        self, graph: Graph, feeds: Feeds, steps: int | None = None, trace: Collection[str] = ()
    ) -> Simulation:
        return simulate(graph, feeds, steps, trace)
