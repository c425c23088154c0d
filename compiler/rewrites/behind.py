"""Activations behind the moves that lead from them to a max pooling.

`move(relu(x)) = relu(move(x))`: the neurons then stand where the pooling reads them, and no relay
has to send their spikes on. What a window compares are spikes of one channel of neurons, with one
threshold, also where it meets values of several layers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from spikec.ir import Graph, Node, op_of
from spikec.ir.ops.routing.concat import Concat
from spikec.ir.ops.routing.gather import Gather
from spikec.ir.ops.routing.reshape import Reshape
from spikec.ir.ops.routing.slice import Slice
from spikec.ir.ops.routing.transpose import Transpose

MOVES = (Reshape, Transpose, Slice, Gather, Concat)
"""Ops that put each element somewhere else, or leave it out."""


def behind_moves(graph: Graph, values: Iterable[str]) -> Graph:
    """The graph with activations behind the moves that yield `values`, where that adds no neuron.

    Args:
        graph: At stage ann.
        values: What poolings read.
    """
    for name in values:
        moves = _Moves(graph)
        if name in graph.by_name and moves.collect(graph[name]) and moves.may_follow(name):
            graph = _followed(graph, name, moves)
    return graph


@dataclass(slots=True)
class _Moves:
    """The moves before a value, and the activations that they start from."""

    graph: Graph
    names: list[str] = field(default_factory=list)
    activations: list[Node] = field(default_factory=list)

    def collect(self, node: Node) -> bool:
        """Walk up from a value; False where anything else is met."""
        if op_of(node).activation:
            self.activations += [] if node in self.activations else [node]
            return True
        if not isinstance(node.operation, MOVES):
            return False
        self.names.append(node.name)
        return all(self.collect(self.graph[name]) for name in node.inputs)

    def may_follow(self, name: str) -> bool:
        """Whether one activation behind the last move stands for all; nothing else reads them."""
        first, *others = self.activations
        inner = {*self.names, *(node.name for node in self.activations)} - {name}
        readers = {reader.name for value in inner for reader in self.graph.readers[value]}
        neurons = sum(node.type.size for node in self.activations)
        return (
            name not in inner
            and readers <= {*self.names}
            and not inner & set(self.graph.outputs)
            and self.graph[name].type.size <= neurons
            and all(node.operation == first.operation for node in others)
            and all(self._of_all(node) == self._of_all(first) for node in self.activations)
            and None not in self._of_all(first)
        )

    def _of_all(self, node: Node) -> list[float | None]:
        """The params of an activation; None for those that its channels or elements have."""
        arrays = [self.graph.array(node, role) for role in sorted(node.params)]
        return [None if array.ndim else float(array) for array in arrays]


def _followed(graph: Graph, name: str, before: _Moves) -> Graph:
    """The graph with one activation, of the first one's name, behind the move called `name`."""
    first, last = before.activations[0], graph[name]
    gone = {node.name: node.inputs[0] for node in before.activations}
    renamed = {name: first.name}
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.name in gone:
            continue
        new = gone if node.name in before.names else renamed
        nodes.append(replace(node, inputs=tuple(new.get(i, i) for i in node.inputs)))
        if node.name == name:
            nodes.append(replace(first, inputs=(name,), type=last.type))
    outputs = tuple(renamed.get(output, output) for output in graph.outputs)
    return graph.with_nodes(nodes, outputs=outputs)
