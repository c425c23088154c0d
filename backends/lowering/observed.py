"""What a compiled network did, as `spikec.runtime.interpreter.simulate` says it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from spikec.ir import Graph, op_of
from spikec.ir.analysis import run_linear
from spikec.ir.types import Array
from spikec.runtime.interpreter import Feeds, Observer, Simulation, over_time


def observed(
    graph: Graph,
    feeds: Feeds,
    steps: int,
    trace: Collection[str],
    spikes: Mapping[str, Sequence[Array]],
    potentials: Mapping[str, Sequence[Array]],
) -> Simulation:
    """What an engine's run is to others, from what its layers did.

    Args:
        graph: At stage int.
        feeds: Coded inputs.
        steps: Time steps.
        trace: Layers whose spikes and potentials are asked for.
        spikes: By layer, those of each sample (steps, *shape).
        potentials: Likewise; of readouts and traced layers at least.
    """
    observer = Observer(graph, steps, trace)
    values = {node.name: over_time(node, feeds, steps).astype(np.int64) for node in graph.inputs}
    for node in graph.nodes:
        name, held = node.name, None
        if op_of(node).stateful:
            held = np.stack(potentials[name], 1) if name in potentials else None
            sent = np.stack(spikes[name], 1) if name in spikes else held
            if sent is not None:
                values[name] = sent
        if name in observer.counted or name in values:
            observer.see(node, _value(graph, name, values), held)
    return observer.result


def _value(graph: Graph, name: str, values: dict[str, Array]) -> Array:
    """What enters a synapse, computed from the spikes that were traced where it is no layer."""
    if name not in values:
        node = graph[name]
        inputs = [_value(graph, source, values) for source in node.inputs]
        values[name] = run_linear(node, inputs, graph.arrays(node))
    return values[name]
