"""A spiking graph run node by node, in memory that does not grow with its depth."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from spikec.ir import Graph, Node
from spikec.ir.types import Array
from spikec.runtime.estimate import block_samples
from spikec.runtime.fast.simple import run_node
from spikec.runtime.interpreter import Feeds, last_use
from spikec.runtime.metrics import dense_operations

OPERATIONS = 2e11
"""Multiply-accumulates beyond which fewer samples are run: about a minute on one core."""
FEW = 16
"""Samples that are run whatever they cost."""


def affordable(graph: Graph, samples: int) -> int:
    """How many of some samples are worth running, given what one costs."""
    one = max(dense_operations(graph) * graph.steps, 1)
    return int(min(samples, max(FEW, OPERATIONS / one)))


def sample_blocks(graph: Graph, feeds: Feeds, most: int | None = None) -> Iterator[Feeds]:
    """Inputs in blocks of as many samples as memory allows, at most `most` in all."""
    block = block_samples(graph)
    total = len(next(iter(feeds.values())))
    total = total if most is None else min(most, total)
    for start in range(0, total, block):
        part = slice(start, min(start + block, total))
        yield {name: np.asarray(x[part]) for name, x in feeds.items()}


class Walk:
    """Runs a graph one node after the other; values that nothing needs any more are dropped.

    Attributes:
        graph: The graph. It may get other params for nodes that have not run yet.
    """

    def __init__(self, graph: Graph, feeds: Feeds) -> None:
        self.graph = graph
        self._feeds = feeds
        self._last, self._values = last_use(graph), dict[str, Array]()

    def inputs(self, node: Node) -> list[Array]:
        """What a node reads, each (steps or 1, batch, *shape), before it runs."""
        return [self._values[name] for name in node.inputs]

    def step(self, node: Node, *, keep: bool = False) -> tuple[Array, Array | None]:
        """Run the next node.

        Args:
            node: The node; the graph's params of now are taken.
            keep: Whether the potentials of a layer are wanted.

        Returns:
            Its value (steps or 1, batch, *shape), and its potentials after the reset, if wanted.
        """
        node = self.graph[node.name]
        value, potentials = run_node(
            self.graph, node, self.inputs(node), self._feeds, self.graph.steps, keep
        )
        self._values[node.name] = value
        for name in self._last.get(node.name, ()):
            del self._values[name]
        return value, potentials
