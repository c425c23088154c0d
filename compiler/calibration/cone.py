"""The currents of one layer, computed from the spikes before it as far as memory allows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spikec.ir import Graph, Node, op_of
from spikec.ir.op import steps_of

Array = NDArray[Any]
_BLOCK_BYTES = 1 << 27
"""Largest value that is computed at once."""
_HELD_BYTES = 1 << 29
"""Currents up to this size are kept instead of computed again."""


class Currents(Protocol):
    """A layer's input current without bias, for all steps and calibration samples."""

    def blocks(self) -> Iterator[tuple[slice, Array]]:
        """Samples and their currents (steps or 1, samples, *shape), block by block."""

    def mean(self) -> Array:
        """The mean over the steps (samples, *shape)."""

    def part(self, samples: slice) -> Currents:
        """The currents of some samples."""


@dataclass(frozen=True, slots=True)
class Held:
    """Currents in memory (steps or 1, samples, *shape)."""

    array: Array

    def blocks(self) -> Iterator[tuple[slice, Array]]:
        """All of them at once."""
        yield slice(0, self.array.shape[1]), self.array

    def mean(self) -> Array:
        """The mean over the steps (samples, *shape)."""
        return self.array.mean(axis=0)

    def part(self, samples: slice) -> Held:
        """The currents of some samples."""
        return Held(self.array[:, samples])


@dataclass(frozen=True, slots=True)
class Cone:
    """The linear nodes between spikes (or inputs) and a value, to be run on demand.

    Attributes:
        graph: The spiking graph.
        output: Name of the value.
        nodes: The linear nodes, in topological order.
        stored: Spikes and inputs that they start from (steps or 1, samples, *shape).
        weights: Weights that replace those of the graph, by synapse.
    """

    graph: Graph
    output: str
    nodes: tuple[Node, ...]
    stored: Mapping[str, Array]
    weights: Mapping[str, Array] = field(default_factory=dict)

    @staticmethod
    def of(graph: Graph, output: str, stored: Mapping[str, Array]) -> Cone:
        """The cone of a value over what is stored."""
        nodes, sources = cone_nodes(graph, output)
        return Cone(graph, output, nodes, {name: stored[name] for name in sources})

    @property
    def samples(self) -> int:
        """Number of samples."""
        return next(iter(self.stored.values())).shape[1]

    def blocks(self) -> Iterator[tuple[slice, Array]]:
        """Currents of as many samples at a time as memory allows."""
        steps = max(len(x) for x in self.stored.values())
        sizes = [node.type.size for node in self.nodes] or [1]
        block = max(1, _BLOCK_BYTES // (4 * steps * max(sizes)))
        for start in range(0, self.samples, block):
            samples = slice(start, min(start + block, self.samples))
            yield samples, self._run({name: x[:, samples] for name, x in self.stored.items()})

    def mean(self) -> Array:
        """The mean over the steps (samples, *shape): the cone of the mean spikes."""
        rates = {n: x.mean(axis=0, dtype=np.float32, keepdims=True) for n, x in self.stored.items()}
        means = replace(self, stored=rates)
        return np.concatenate([block[0] for _, block in means.blocks()])

    def part(self, samples: slice) -> Cone:
        """The currents of some samples."""
        return replace(self, stored={name: x[:, samples] for name, x in self.stored.items()})

    def with_weights(self, synapse: str, weights: Array) -> Cone:
        """The cone with other weights in one synapse."""
        return replace(self, weights={**self.weights, synapse: weights})

    def held(self) -> Currents:
        """The currents in memory if they are small enough, else the cone itself."""
        steps = max(len(x) for x in self.stored.values())
        if 4 * steps * self.samples * self.graph.by_name[self.output].type.size > _HELD_BYTES:
            return self
        return Held(np.concatenate([block for _, block in self.blocks()], axis=1))

    def _run(self, stored: Mapping[str, Array]) -> Array:
        values = {name: x.astype(np.float32, copy=False) for name, x in stored.items()}
        for node in self.nodes:
            inputs = [values[name] for name in node.inputs]
            length = max(len(x) for x in inputs)
            flat = [steps_of(x, length).reshape(-1, *x.shape[2:]) for x in inputs]
            params = self.graph.arrays(node)
            if node.name in self.weights:
                params["w"] = self.weights[node.name]
            value = op_of(node).run(flat, params)
            values[node.name] = value.reshape(length, -1, *value.shape[1:])
        return values[self.output]


def cone_nodes(graph: Graph, output: str) -> tuple[tuple[Node, ...], tuple[str, ...]]:
    """The stateless nodes that a value depends on, in order, and the values they start from."""
    nodes, wanted = graph.by_name, {output}
    inner: list[Node] = []
    sources: list[str] = []
    for name in reversed([node.name for node in graph.nodes]):
        if name not in wanted:
            continue
        node = nodes[name]
        if node.op == "input" or op_of(node).stateful:
            sources.append(name)
        else:
            inner.append(node)
            wanted.update(node.inputs)
    return tuple(reversed(inner)), tuple(reversed(sources))
