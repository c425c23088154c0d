"""Puts neurons where the spiking network needs them and the ANN has none."""

from __future__ import annotations

from dataclasses import dataclass, replace

from spikec.compiler.pipeline import Context, Pass, Record
from spikec.compiler.rewrites.trains import Trains
from spikec.ir import Graph
from spikec.ir.builder import remove_dead
from spikec.ir.ops.activations.clip import Clip
from spikec.ir.ops.activations.relu import Relu
from spikec.ir.ops.max_pool import MaxPool


@dataclass(frozen=True)
class Relay(Pass):
    """Let every synapse and every max pooling read one spike train.

    A synapse that reads a sum, a concatenation or a slope of trains becomes a sum of synapses, one
    per train (`trains.py`). Where a synapse's output enters another (a linear bottleneck), or a
    sum has too many trains, a signed relay neuron sends it. `relu(maxpool(x))` becomes
    `maxpool(relu(x))`, which is the same, so that pooling sees spikes.
    """

    def run(self, graph: Graph, context: Context, record: Record) -> Graph:
        trains = Trains(_rectify_before_pooling(graph, record))
        separated = trains.run()
        for note in trains.notes:
            record.note(note)
        return remove_dead(separated)


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
