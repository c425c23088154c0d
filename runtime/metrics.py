"""Figures of a run: accuracy, spike rates and synaptic operations (as NeuroBench defines them)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikec.ir import Graph, op_of

Array = NDArray[Any]


def fan_outs(graph: Graph) -> dict[str, Array]:
    """For each synapse node, how many non-zero weights each input element meets (*input shape)."""
    found = {}
    types = graph.by_name
    for node in graph.nodes:
        if op_of(node).weighted:
            shape = types[node.inputs[0]].type.shape
            found[node.name] = op_of(node).fan_out(shape, node.attrs, graph.array(node, "w"))
    return found


def synaptic_operations(
    graph: Graph, events: Mapping[str, Array], fans: Mapping[str, Array], steps: int, samples: int
) -> dict[str, dict[str, float]]:
    """Operations per synapse node and sample, summed over the first `steps` steps.

    An operation is effective when input and weight are non-zero: an accumulate (AC) where the
    input is a spike, a multiply-accumulate (MAC) where it is graded. `dense` counts all.

    Args:
        graph: A spiking graph.
        events: Non-zero inputs per step and element, summed over samples (steps, *shape).
        fans: From `fan_outs`.
        steps: Steps to count.
        samples: Samples that were summed over.
    """
    nodes, found = graph.by_name, {}
    for node in graph.nodes:
        if not op_of(node).weighted:
            continue
        source = nodes[node.inputs[0]]
        active = events[source.name][:steps].sum(axis=0)
        effective = float((active * fans[node.name]).sum()) / samples
        params = {role: graph.params[name].type for role, name in node.params.items()}
        types = [nodes[name].type for name in node.inputs]
        dense = op_of(node).synaptic_operations(types, node.attrs, params)
        spiking = source.type.dtype.kind == "spike"
        found[node.name] = {
            "effective_acs": effective if spiking else 0.0,
            "effective_macs": 0.0 if spiking else effective,
            "dense": float(dense * steps),
        }
    return found


def spike_counts(
    graph: Graph, events: Mapping[str, Array], steps: int, samples: int
) -> dict[str, dict[str, float]]:
    """Per neuron layer: neurons, spikes per sample, and spikes per neuron and step."""
    found = {}
    for node in graph.nodes:
        if op_of(node).neuron:
            spikes = float(events[node.name][:steps].sum()) / samples
            rate = spikes / (node.type.size * steps)
            found[node.name] = {"neurons": node.type.size, "spikes": spikes, "rate": rate}
    return found


def add_events(total: dict[str, Array], more: Mapping[str, Array]) -> None:
    """Sum events of another block of samples into `total`."""
    for name, array in more.items():
        total[name] = total[name] + array if name in total else np.array(array, dtype=np.int64)
