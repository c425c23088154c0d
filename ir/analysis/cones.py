"""Linear cones: what lies between a value and the layers and inputs that it is computed from.

Only layers (neurons, spiking pooling, readouts) have state, so within one step a current depends on
the spikes before it through linear nodes alone. Calibration, proofs, placement and explanations all
ask for these nodes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from spikec.ir.graph import Graph, Node, op_of


@dataclass(frozen=True, slots=True)
class Cone:
    """The linear nodes that some values depend on.

    Attributes:
        nodes: The linear nodes, in the graph's order.
        sources: The layers and inputs that they start from, in the graph's order.
    """

    nodes: tuple[Node, ...]
    sources: tuple[Node, ...]

    @property
    def names(self) -> frozenset[str]:
        """Names of all of them."""
        return frozenset(node.name for node in (*self.nodes, *self.sources))


def is_source(node: Node) -> bool:
    """Whether a cone ends here: an input, or a layer with a state of its own."""
    return not node.inputs or op_of(node).stateful


def cone_of(graph: Graph, values: Iterable[str]) -> Cone:
    """The cone of some values; takes a time linear in the size of the cone, not of the graph."""
    linear, sources = dict[str, Node](), dict[str, Node]()
    pending = list(values)
    while pending:
        node = graph[pending.pop()]
        if is_source(node):
            sources[node.name] = node
        elif node.name not in linear:
            linear[node.name] = node
            pending.extend(node.inputs)

    def place(node: Node) -> int:
        return graph.position[node.name]

    return Cone(
        tuple(sorted(linear.values(), key=place)), tuple(sorted(sources.values(), key=place))
    )


def layer_sources(graph: Graph) -> dict[str, tuple[str, ...]]:
    """For each layer the layers and inputs that feed it, first ones first."""
    return {
        node.name: tuple(source.name for source in cone_of(graph, node.inputs).sources)
        for node in graph.nodes
        if op_of(node).stateful
    }
