"""Puts neurons where the spiking network needs them and the ANN has none."""

from __future__ import annotations

from dataclasses import dataclass, replace

from spikec.compiler.pipeline import Context, Pass, Record
from spikec.compiler.rewrites.behind import behind_moves
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
    `maxpool(relu(x))`, which is the same, so that pooling sees spikes; and an activation goes
    behind the moves that lead from it to a pooling (`behind.py`).

    Options: sums=true relays also sums over whole images, where a synapse that reads every term
    would have more than 2^20 synapses: the classifier behind a global pooling of 224 x 224 nets.
    It costs one more rounding, so it is for neurons that count many levels.
    """

    sums: bool = False

    def run(self, graph: Graph, context: Context, record: Record) -> Graph:
        graph = _rectify_before_pooling(graph, record)
        trains = Trains(graph, self.sums)
        separated = trains.run()
        if trains.pooled:
            trains = Trains(behind_moves(graph, trains.pooled), self.sums)
            separated = trains.run()
        for note in trains.notes:
            record.note(note)
        return remove_dead(separated)


def _rectify_before_pooling(graph: Graph, record: Record) -> Graph:
    """Exchange max poolings with the rectifiers that alone read them, in linear time."""
    order, outputs = list(graph.nodes), list(graph.outputs)
    place = {node.name: number for number, node in enumerate(order)}
    readers = {name: [node.name for node in nodes] for name, nodes in graph.readers.items()}
    for rectifier in [node for node in order if isinstance(node.operation, Relu | Clip)]:
        act = order[place[rectifier.name]]
        while (pool := order[place[act.inputs[0]]]).name not in outputs:
            if not isinstance(pool.operation, MaxPool) or readers[pool.name] != [act.name]:
                break
            source = order[place[pool.inputs[0]]]
            first, last = place[pool.name], place[act.name]
            for name in readers[act.name]:
                reader = order[place[name]]
                inputs = tuple(pool.name if i == act.name else i for i in reader.inputs)
                order[place[name]] = replace(reader, inputs=inputs)
            readers[source.name] = [
                act.name if name == pool.name else name for name in readers[source.name]
            ]
            readers[pool.name], readers[act.name] = readers[act.name], [pool.name]
            outputs = [pool.name if name == act.name else name for name in outputs]
            order[last] = replace(pool, inputs=(act.name,))
            order[first] = act = replace(act, inputs=(source.name,), type=source.type)
            place[act.name], place[pool.name] = first, last
            record.note(f"%{act.name} rectifies before its max pooling")
    return graph.with_nodes(order, outputs=tuple(outputs))
