"""How far potentials reach on calibration data."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from spikec.ir import Graph, Node, op_of
from spikec.ir.neuron import Membrane, Neuron
from spikec.ir.types import Array
from spikec.runtime import fast
from spikec.runtime.interpreter import Feeds

SAMPLES = 256
"""Calibration samples that are run."""
_BLOCK = 1 << 26
"""Largest value of one layer, in bytes, that is run at once."""


def reached_potentials(graph: Graph, calib: Feeds) -> Mapping[str, Array]:
    """The largest absolute potential of each layer, before or after reset (channels,).

    Args:
        graph: At stage snn.
        calib: Real inputs by input node.
    """
    layers = [node for node in graph.nodes if isinstance(node.operation, Membrane)]
    largest = max(node.type.size for node in graph.nodes)
    block = max(1, min(SAMPLES, _BLOCK // (4 * graph.steps * largest)))
    samples = min(SAMPLES, len(next(iter(calib.values()))))
    reached = {node.name: np.zeros(node.type.shape[:1]) for node in layers}
    for start in range(0, samples, block):
        feeds = {name: x[start : min(start + block, samples)] for name, x in calib.items()}
        run = fast.simulate(graph, feeds, trace=list(reached))
        for node in layers:
            trace = run.traces[node.name]
            potential = trace.potentials
            if trace.spikes is not None:
                charged = _before_reset(graph, node, potential, trace.spikes)
                potential = np.maximum(abs(potential), abs(charged))
            peak = _by_channel(node, potential)
            np.maximum(reached[node.name], peak, out=reached[node.name])
    return reached


def _before_reset(graph: Graph, node: Node, potentials: Array, payloads: Array) -> Array:
    op = op_of(node, Neuron)
    params = op.spread_params(graph.arrays(node), node.type.shape, potentials)
    return op.before_reset(potentials, payloads.astype(potentials.dtype), params)


def _by_channel(node: Node, potential: Array) -> Array:
    """The largest absolute value of each channel of (steps, samples, *shape)."""
    if not node.type.shape:
        return np.asarray(abs(potential).max())
    flat = abs(potential).reshape(-1, node.type.shape[0], int(np.prod(node.type.shape[1:])))
    return np.asarray(flat.max(axis=(0, 2)), np.float64)
