"""How far potentials reach on calibration data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from spikec.compiler.calibration.cone import mean_over_steps
from spikec.ir import Graph, Node, op_of, spread
from spikec.ir.neuron import Membrane, Neuron, total_weight
from spikec.ir.types import Array
from spikec.runtime.fast.walk import Walk, affordable, sample_blocks
from spikec.runtime.interpreter import Feeds

SAMPLES = 256
"""Calibration samples that are run."""
_DEVIATIONS = 6.0
"""How many standard deviations from its mean a current may be on other data."""


@dataclass(slots=True)
class _Channels:
    """What was seen of a layer, by channel: peaks of potentials, moments of mean currents."""

    peak: Array
    count: int = 0
    total: Array = field(default_factory=lambda: np.zeros(()))
    squares: Array = field(default_factory=lambda: np.zeros(()))

    def see(self, potential: Array, current: Array) -> None:
        """Add potentials (steps, samples, *shape) and mean currents (samples, *shape)."""
        self.peak = np.maximum(self.peak, abs(potential).max(axis=_others(potential.ndim, 2)))
        rows = current.astype(np.float64)
        self.count += rows.size // max(len(self.peak), 1) if self.peak.ndim else rows.size
        self.total = self.total + rows.sum(axis=_others(rows.ndim, 1))
        self.squares = self.squares + (rows**2).sum(axis=_others(rows.ndim, 1))

    @property
    def furthest(self) -> tuple[Array, Array]:
        """The smallest and the largest mean current that other data may bring."""
        mean = self.total / max(self.count, 1)
        deviation = np.sqrt(np.maximum(self.squares / max(self.count, 1) - mean**2, 0.0))
        return mean - _DEVIATIONS * deviation, mean + _DEVIATIONS * deviation


def reached_potentials(graph: Graph, calib: Feeds) -> Mapping[str, tuple[Array, Array]]:
    """How far each layer's potentials reach, before or after reset, by channel.

    Args:
        graph: At stage snn.
        calib: Real inputs by input node.

    Returns:
        By layer the largest absolute potential (channels,) that was seen, and the one that a
        current `_DEVIATIONS` from its mean would lead to: what a neuron receives beyond its
        threshold in every step, or below 0, gathers.
    """
    layers = {n.name: n for n in graph.nodes if isinstance(n.operation, Membrane)}
    seen = {name: _Channels(np.zeros(node.type.shape[:1])) for name, node in layers.items()}
    for feeds in sample_blocks(graph, calib, affordable(graph, SAMPLES)):
        walk = Walk(graph, feeds)
        for node in graph.nodes:
            if node.name not in layers:
                walk.step(node)
                continue
            current = mean_over_steps(walk.inputs(node)[0], op_of(node, Membrane).radix)
            value, potential = walk.step(node, keep=True)
            assert potential is not None
            if isinstance(node.operation, Neuron):
                charged = _before_reset(graph, node, potential, value)
                potential = np.maximum(abs(potential), abs(charged))
            seen[node.name].see(potential, current + _full(graph, node, "bias"))
    return {name: (seen[name].peak, _gathered(graph, layers[name], seen[name])) for name in layers}


def _gathered(graph: Graph, node: Node, seen: _Channels) -> Array:
    """What a rare current gathers: all of it before a window, else what no spike takes away."""
    (low, high), op = seen.furthest, op_of(node, Membrane)
    theta, v0 = (
        _by_channel(abs(_full(graph, node, role))) if role in node.params else np.zeros(())
        for role in ("theta", "v0")
    )
    taken = op.payload.bounds[1] if isinstance(op, Neuron) and not op.gathers else 0
    beyond = np.maximum(np.maximum(high - taken * theta, -low), 0.0)
    return np.asarray(total_weight(graph.steps, radix=op.radix) * beyond + theta + v0)


def _full(graph: Graph, node: Node, role: str) -> Array:
    array = graph.array(node, role) if role in node.params else np.zeros(())
    return np.broadcast_to(spread(array, node.type.shape), node.type.shape)


def _by_channel(array: Array) -> Array:
    return np.asarray(array.max(axis=_others(array.ndim, 0)))


def _others(rank: int, channel: int) -> tuple[int, ...]:
    """All axes but that of the channels."""
    return tuple(axis for axis in range(rank) if axis != channel)


def _before_reset(graph: Graph, node: Node, potentials: Array, payloads: Array) -> Array:
    op = op_of(node, Neuron)
    params = op.spread_params(graph.arrays(node), node.type.shape, potentials)
    return op.before_reset(potentials, payloads.astype(potentials.dtype), params)
