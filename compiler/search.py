"""Search of thresholds and initial potentials on simulated neurons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikec.compiler.sweep import Layer
from spikec.ir import spread
from spikec.runtime import kernels

Array = NDArray[Any]
_THETAS = np.geomspace(0.35, 1.6, 16)
_STARTS = np.linspace(-0.2, 1.0, 13)


@dataclass(frozen=True, slots=True)
class Drawn:
    """Randomly drawn neurons of a layer, per channel.

    Attributes:
        current: (steps or 1, channels, samples).
        target: ANN activations (channels, samples).
        bias: (channels, samples).
    """

    current: Array
    target: Array
    bias: Array


def draw(layer: Layer, samples: int) -> Drawn:
    """Draw up to `samples` neurons per channel, the same positions for all channels."""
    shape = layer.node.type.shape
    channels, total = shape[0], len(layer.target) * layer.target[0, 0].size
    picked = np.arange(total)
    if total > samples:
        picked = np.sort(layer.rng.choice(total, samples, replace=False))
    batch, place = np.divmod(picked, layer.target[0, 0].size)
    target = layer.target.reshape(len(layer.target), channels, -1)
    bias = np.broadcast_to(spread(layer.neurons.bias, shape), shape).reshape(channels, -1)
    parts = []
    for block, current in layer.current.blocks():
        inside = (batch >= block.start) & (batch < block.stop)
        rows = current.reshape(*current.shape[:2], channels, -1)
        parts.append(rows[:, batch[inside] - block.start, :, place[inside]])
    return Drawn(
        np.ascontiguousarray(np.moveaxis(np.concatenate(parts), 0, -1)),
        np.ascontiguousarray(target[batch, :, place].T),
        np.ascontiguousarray(bias[:, place]),
    )


def search(layer: Layer, *, joint: bool, shared: bool, samples: int) -> Layer:
    """Thresholds and initial potentials that minimise the error of the rate.

    Per channel `argmin mean((theta * count / T - target)^2)` over a grid, then over a finer grid
    around the best point; `count` is simulated on the layer's real input spikes.

    Args:
        layer: The layer; its parameters are where the search starts.
        joint: Search theta too, not only v0.
        shared: One factor on theta and one v0 / theta for the whole layer.
        samples: Neurons drawn per channel.
    """
    drawn, neurons = draw(layer, samples), layer.neurons
    base = np.broadcast_to(neurons.theta, layer.node.type.shape[:1]).astype(np.float64)
    scale, start = np.ones(len(base)), np.full(len(base), 0.5)
    factors, starts = (_THETAS if joint else np.ones(1)), _STARTS
    for finer in range(2):
        spread_by = (factors[1] / factors[0]) ** 0.5 if joint else 1.0
        if finer:
            factors = np.geomspace(1 / spread_by, spread_by, 7) if joint else np.ones(1)
            starts = np.linspace(-0.05, 0.05, 5)
        thetas = scale[:, None] * factors * base[:, None]
        if layer.bounded:
            thetas = np.minimum(thetas, base[:, None])
        fractions = (start[:, None] if finer else 0.0) + np.broadcast_to(
            starts, (len(base), len(starts))
        )
        errors = kernels.search_errors(
            drawn.current,
            drawn.target,
            thetas.astype(np.float32),
            np.ascontiguousarray(fractions, np.float32),
            drawn.bias,
            neurons.kind,
            layer.steps,
        )
        if shared:
            errors = np.broadcast_to(errors.sum(axis=0, keepdims=True), errors.shape)
        best = errors.reshape(len(base), -1).argmin(axis=1)
        row, column = np.divmod(best, fractions.shape[1])
        scale = np.take_along_axis(thetas, row[:, None], 1)[:, 0] / base
        start = np.take_along_axis(fractions, column[:, None], 1)[:, 0]
    theta = (scale * base).astype(np.float32)
    return layer.with_neurons(theta=theta, v0=(start * theta).astype(np.float32))
