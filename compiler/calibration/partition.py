"""A spiking network in blocks of layers that are tuned together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spikec.ir import Graph, Node, op_of
from spikec.ir.analysis.cones import Cone
from spikec.ir.neuron import Membrane
from spikec.ir.op import Synapse

_MOST = 4
"""Times as many layers as a block has at least; where branches never meet one must end."""
_PASSES = 50
"""Multiplications in convolutions that take as long as all that is done with a value besides."""


@dataclass(frozen=True, slots=True)
class Block:
    """Layers that follow each other, and what is computed for them alone.

    Attributes:
        nodes: The layers and the linear nodes before them, in the graph's order.
        sources: Names of the layers, pools and inputs before them.
        results: Names of those among the layers that something behind the block reads.
        tunable: Whether gradients pass through all of them.
    """

    nodes: tuple[Node, ...]
    sources: tuple[str, ...]
    results: tuple[str, ...]
    tunable: bool

    @property
    def layers(self) -> list[Node]:
        """The layers, in the graph's order."""
        return [node for node in self.nodes if isinstance(node.operation, Membrane)]

    def cost(self, graph: Graph) -> int:
        """Multiplications for one sample and step, and what passing over its values is like."""
        costs = _PASSES * sum(node.type.size for node in self.nodes)
        for node in self.nodes:
            if isinstance(op := node.operation, Synapse):
                types = {role: graph.params[name].type for role, name in node.params.items()}
                costs += op.synaptic_operations([graph[name].type for name in node.inputs], types)
        return costs


def partition(
    graph: Graph, cones: Mapping[str, Cone], released: Mapping[str, Sequence[str]], least: int
) -> list[Block | Node]:
    """Blocks, and between them the inputs and pools that belong to none, in the graph's order.

    A block ends where one train alone is still read, after `least` layers or more: a residual block
    ends behind its join.

    Args:
        graph: Of stage snn.
        cones: Of each layer and pool.
        released: The trains that nothing after a layer or pool reads.
        least: Number of layers.
    """
    parts: list[Block | Node] = []
    pending: list[Node] = []
    alive: set[str] = set()

    def end() -> None:
        if pending:
            parts.append(_block(graph, cones, pending, alive))
            pending.clear()

    for node in graph.nodes:
        if not op_of(node).stateful and node.inputs:
            continue
        layer = isinstance(node.operation, Membrane)
        smooth = layer and all(op_of(n).differentiable for n in cones[node.name].nodes)
        if not smooth:
            end()
        alive.add(node.name)
        alive.difference_update(released.get(node.name, ()))
        if not layer:
            parts.append(node)
            continue
        pending.append(node)
        meets = alive <= {node.name} and len(pending) >= least
        if not smooth or meets or len(pending) >= _MOST * least:
            end()
    end()
    return parts


def _block(
    graph: Graph, cones: Mapping[str, Cone], layers: Sequence[Node], alive: set[str]
) -> Block:
    own = {node.name for node in layers}
    names = own.union(*(cones[name].names for name in own))
    sources = {source.name for name in own for source in cones[name].sources} - own
    nodes = [node for node in graph.nodes if node.name in names - sources]
    return Block(
        nodes=tuple(nodes),
        sources=tuple(node.name for node in graph.nodes if node.name in sources),
        results=tuple(n.name for n in layers if n.name in alive or n.name in graph.outputs),
        tunable=all(n.name in own or op_of(n).differentiable for n in nodes),
    )
