"""Puts neurons where the spiking network needs them and the ANN has none."""

from __future__ import annotations

from dataclasses import dataclass, replace

from spikec.compiler.pipeline import Context, Pass, Record
from spikec.ir import Graph, Node, op_of
from spikec.ir.op import Synapse
from spikec.ir.ops.activations.clip import Clip
from spikec.ir.ops.activations.relay import Relay as RelayOp
from spikec.ir.ops.activations.relu import Relu
from spikec.ir.ops.max_pool import MaxPool


@dataclass(frozen=True)
class Relay(Pass):
    """Insert signed relay neurons between synapses, and rectify before max pooling.

    Only spikes can enter a synapse, so the output of a synapse that another synapse reads (a
    linear bottleneck) is sent by a relay neuron. `relu(maxpool(x))` becomes `maxpool(relu(x))`,
    which is the same, so that pooling sees spikes.
    """

    def run(self, graph: Graph, context: Context, record: Record) -> Graph:
        graph = _rectify_before_pooling(graph, record)
        current, spiking = _currents(graph), _spiking(graph)
        wanted = {
            name
            for node in graph.nodes
            for name in node.inputs
            if (isinstance(node.operation, MaxPool) and name not in spiking)
            or (_mixes(node) and name in current)
        }
        nodes: list[Node] = []
        renamed: dict[str, str] = {}
        for node in graph.nodes:
            inputs = tuple(renamed.get(name, name) for name in node.inputs)
            nodes.append(replace(node, inputs=inputs))
            if node.name in wanted:
                relay = Node(f"{node.name}.relay", RelayOp(), (node.name,), node.type, loc=node.loc)
                nodes.append(relay)
                renamed[node.name] = relay.name
        for name in sorted(wanted):
            record.note(f"%{name} is no spike train yet feeds a synapse or pooling: relayed")
        outputs = tuple(renamed.get(name, name) for name in graph.outputs)
        return graph.with_nodes(nodes, outputs=outputs)


def _spiking(graph: Graph) -> set[str]:
    """Values that will be spike trains: activations, and their maxima."""
    found: set[str] = set()
    for node in graph.nodes:
        pooled = isinstance(node.operation, MaxPool) and node.inputs[0] in found
        if pooled or op_of(node).activation:
            found.add(node.name)
    return found


def _mixes(node: Node) -> bool:
    """Whether a node is a synapse whose weights are more than amplitudes."""
    return isinstance(node.operation, Synapse) and not node.operation.one_to_one


def _currents(graph: Graph) -> set[str]:
    """Values that carry the result of a synapse without an activation in between."""
    found: set[str] = set()
    for node in graph.nodes:
        carried = op_of(node).linear and any(name in found for name in node.inputs)
        if carried or _mixes(node):
            found.add(node.name)
    return found


def _rectify_before_pooling(graph: Graph, record: Record) -> Graph:
    while True:
        nodes, readers = graph.by_name, graph.readers
        pair = next(
            (
                (nodes[node.inputs[0]], node)
                for node in graph.nodes
                if isinstance(node.operation, Relu | Clip)
                and isinstance(nodes[node.inputs[0]].operation, MaxPool)
                and readers[node.inputs[0]] == (node,)
                and node.inputs[0] not in graph.outputs
            ),
            None,
        )
        if pair is None:
            return graph
        pool, act = pair
        swapped = {
            pool.name: replace(act, inputs=pool.inputs, type=nodes[pool.inputs[0]].type),
            act.name: replace(pool, inputs=(act.name,)),
        }
        renamed = {act.name: pool.name}
        graph = graph.with_nodes(
            (
                swapped.get(node.name)
                or replace(node, inputs=tuple(renamed.get(name, name) for name in node.inputs))
                for node in graph.nodes
            ),
            outputs=tuple(renamed.get(name, name) for name in graph.outputs),
        )
        record.note(f"%{act.name} rectifies before its max pooling")
