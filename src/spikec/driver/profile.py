"""What a network does on a few samples: the figures behind the report page's pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from spikec.backends import engine
from spikec.driver.comparing import activations
from spikec.ir import Graph, Node, op_of, spread
from spikec.ir.analysis import layer_sources
from spikec.ir.types import Array
from spikec.report.schema import Profile, ProfiledLayer
from spikec.runtime.coding import encode
from spikec.runtime.interpreter import Simulation
from spikec.runtime.metrics import activity, fan_outs, synaptic_operations

SAMPLES = 16
"""Calibration samples that are looked at."""
POINTS = 300
"""Neurons of a layer whose activation and rate are kept, and thresholds of it."""
RASTER = 64
"""Neurons of a layer whose spikes are kept, of the first sample."""
BINS = 20
_TRACE_BYTES = 5
"""Bytes that a spike and a potential take in a trace."""
_BYTES = 1 << 28
"""Traces that are held at once."""


def profile(
    graph: Graph,
    snn: Graph,
    ann: Graph,
    pairs: Mapping[str, str],
    calib: Mapping[str, Array],
) -> Profile | None:
    """Rates, activations, thresholds, one raster and operations; None for very large networks.

    Args:
        graph: The integer network.
        snn: The spiking network before quantisation, for thresholds in real units.
        ann: The ANN.
        pairs: The ANN's value that each layer stands for.
        calib: Real inputs by input node.
    """
    real = {node.name: node for node in snn.nodes}
    layers = [node for node in graph.nodes if op_of(node).neuron and node.name in real]
    total = sum(node.type.size for node in layers) * graph.steps * _TRACE_BYTES
    if total > _BYTES:
        return None
    samples = min(SAMPLES, _BYTES // max(total, 1), len(next(iter(calib.values()))))
    feeds = {name: np.asarray(x[:samples]) for name, x in calib.items()}
    coded = encode(graph, feeds).feeds
    values = activations(ann, feeds, set(pairs.values()))
    rng = np.random.default_rng(0)
    run = engine("fast")(graph, coded, None, [node.name for node in layers])
    done = activity(graph, run.events, fan_outs(graph), run.units)
    return Profile(
        samples=samples,
        layers=[
            _layer(node, real[node.name], snn, run, values.get(pairs.get(node.name, "")), rng)
            for node in layers
        ],
        edges=edges(graph),
        operations=synaptic_operations(graph, done, graph.steps, samples),
    )


def _layer(
    node: Node,
    real: Node,
    snn: Graph,
    run: Simulation,
    activation: Array | None,
    rng: np.random.Generator,
) -> ProfiledLayer:
    spikes = run.traces[node.name].spikes
    assert spikes is not None
    count = spikes.sum(axis=0, dtype=np.int64)
    rates = np.count_nonzero(spikes, axis=0) / len(spikes)
    half = 0.5 / len(spikes) if len(spikes) < BINS else 0.0
    low, high = -half, 1 + half
    histogram, _ = np.histogram(rates, min(BINS, len(spikes) + 1), (low, high))
    theta = spread(snn.array(real, "theta"), node.type.shape)
    start = spread(snn.array(real, "v0"), node.type.shape) / np.maximum(theta, 1e-30)
    picked = np.sort(rng.permutation(node.type.size)[:RASTER])
    layer = ProfiledLayer(
        name=node.name,
        rate_histogram=histogram.tolist(),
        rate_range=(low, high),
        theta=_some(np.unique(theta), rng),
        v0_over_theta=_some(np.unique(start), rng),
        raster=spikes[:, 0].reshape(len(spikes), -1)[:, picked].tolist(),
    )
    if activation is None:
        return layer
    rate = count * (theta / len(spikes))
    chosen = rng.permutation(count.size)[:POINTS]
    return replace(
        layer,
        activation=_short(activation.reshape(-1)[chosen]),
        rate=_short(rate.reshape(-1)[chosen]),
    )


def _some(values: Array, rng: np.random.Generator) -> list[float]:
    flat = values.reshape(-1)
    return _short(np.sort(flat if len(flat) <= POINTS else rng.choice(flat, POINTS, False)))


def _short(values: Array) -> list[float]:
    """Numbers in four digits, which is what a picture can show."""
    return [float(f"{value:.4g}") for value in values.tolist()]


def edges(graph: Graph) -> list[tuple[str, str]]:
    """Which layer (input, neurons, pooling or readout) feeds which, past all linear nodes."""
    feeds = layer_sources(graph)
    return [(source, name) for name, sources in feeds.items() for source in sources]
