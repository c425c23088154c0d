"""Search of thresholds and initial potentials on simulated neurons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from spikec.compiler.calibration.layer import Layer, Neurons
from spikec.ir import spread
from spikec.ir.types import Array
from spikec.runtime import fast

Grain: TypeAlias = Literal["channel", "layer", "neuron"]
"""What shares a searched parameter."""
_THETAS = np.geomspace(0.35, 1.6, 16)
"""Factors on theta that are tried: QCFS chose it for a count that only rounds, real spikes come
unevenly. Where the ANN clips, only those up to 1."""
_STARTS = np.linspace(-0.2, 1.0, 13)
"""Values of v0 / theta that are tried; QCFS has 1/2, which rounds to the nearest spike count."""
_PRIOR = 200.0
"""Samples that err as the channel does, added to those of a single neuron (`_refine_starts`)."""
_NEURON_OFFSETS = np.linspace(-0.4, 0.4, 9)
"""How far a neuron's v0 / theta may lie from its channel's."""
_PAYLOADS = np.geomspace(0.7, 6.0, 20)
"""Factors on the smallest threshold of graded neurons, which starts at that of QCFS over the
largest payload."""
_PAYLOAD_STARTS = np.linspace(-0.5, 0.75, 11)
"""Values of v0 / theta for graded neurons, which can also take spikes back."""


def draw(layer: Layer, samples: int) -> fast.Drawn:
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
    return fast.Drawn(
        np.ascontiguousarray(np.moveaxis(np.concatenate(parts), 0, -1)),
        np.ascontiguousarray(target[batch, :, place].T),
        np.ascontiguousarray(bias[:, place]),
        layer.steps,
    )


def search(
    layer: Layer,
    *,
    joint: bool,
    per: Grain,
    samples: int,
    fires: Sequence[float] = (),
    near: bool = False,
) -> Layer:
    """Thresholds and initial potentials that minimise the error of the rate.

    Per channel `argmin mean((theta * count / T - target)^2)` over a grid, then over a finer grid
    around the best point; `count` is simulated on the layer's real input spikes. Theta and v0 are
    searched together because each moves the other's best value, and on a grid because `count` is a
    step function of both. A threshold per channel costs nothing on hardware: the next synapse
    absorbs the amplitude. One per neuron could not be absorbed, so only v0 may differ there.

    Args:
        layer: The layer; its parameters are where the search starts.
        joint: Search theta too, not only v0.
        per: channel; layer for one factor on theta and one v0 / theta in all; neuron for an initial
            potential for each neuron besides.
        samples: Neurons drawn per channel.
        fires: Of graded neurons, other firing levels (shares of theta) to try near the best point.
        near: Look near the start alone, which is good for neurons of many levels.
    """
    drawn, shared = draw(layer, samples), per == "layer"
    first, least = _search(layer, drawn, joint, shared, near)
    best = first
    for fire in fires:
        level = np.full(layer.node.type.shape[:1], fire, np.float32)
        moved = first.with_neurons(more={**first.neurons.more, "fire": level})
        tried, error = _search(moved, drawn, joint, shared, near=True)
        best = best.with_neurons(**_better(error < least, tried.neurons, best.neurons))
        least = np.minimum(error, least)
    return _refine_starts(best) if per == "neuron" else best


def _better(where: Array, new: Neurons, old: Neurons) -> dict[str, Any]:
    """Thresholds, initial potentials and firing levels of `new` in some channels, else of `old`."""
    fire = np.where(where, new.more["fire"], old.more["fire"])
    return {
        "theta": np.where(where, new.theta, old.theta),
        "v0": np.where(where, new.v0, old.v0),
        "more": {**old.more, "fire": fire},
    }


def _refine_starts(layer: Layer) -> Layer:
    """An initial potential for each neuron, where `search` found one per channel.

    Per neuron `argmin over v0 of sum((theta * count / T - target)^2)` over the calibration samples
    and `_PRIOR` more that err as the channel does on average, which keep few samples from
    being fitted by chance.
    """
    shape = layer.node.type.shape
    theta = spread(layer.neurons.theta, shape)
    center = np.broadcast_to(spread(layer.neurons.v0, shape) / np.maximum(theta, 1e-30), shape)
    axes = tuple(range(1, len(shape)))
    best, least = center, np.full(shape, np.inf)
    for offset in _NEURON_OFFSETS:
        v0 = ((center + offset) * theta).astype(np.float32)
        moved = layer.with_neurons(v0=v0)
        error = ((moved.rate() - layer.target) ** 2).sum(axis=0, dtype=np.float64)
        mean = error.mean(axis=axes, keepdims=True) / len(layer.target)
        error = error + _PRIOR * mean
        better = error < least
        best, least = np.where(better, center + offset, best), np.where(better, error, least)
    return layer.with_neurons(v0=(best * theta).astype(np.float32))


def _search(
    layer: Layer, drawn: fast.Drawn, joint: bool, shared: bool, near: bool = False
) -> tuple[Layer, Array]:
    """The layer with the best theta and v0, and its error per channel; `near`: finer grid only."""
    neurons = layer.neurons
    base = np.broadcast_to(neurons.theta, layer.node.type.shape[:1]).astype(np.float64)
    scale, start = np.ones(len(base)), np.full(len(base), 0.5)
    factors, starts = (_THETAS if joint else np.ones(1)), _STARTS
    if neurons.op is not None and neurons.op.payload.is_graded:
        factors, starts = (_PAYLOADS if joint else np.ones(1)), _PAYLOAD_STARTS
    if near:
        start = np.broadcast_to(neurons.v0 / np.maximum(neurons.theta, 1e-30), base.shape)
    for finer in (True,) if near else (False, True):
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
        errors = _errors(drawn, layer, thetas, fractions)
        if shared:
            errors = np.broadcast_to(errors.sum(axis=0, keepdims=True), errors.shape)
        best = errors.reshape(len(base), -1).argmin(axis=1)
        row, column = np.divmod(best, fractions.shape[1])
        scale = np.take_along_axis(thetas, row[:, None], 1)[:, 0] / base
        start = np.take_along_axis(fractions, column[:, None], 1)[:, 0]
    theta = (scale * base).astype(np.float32)
    best_layer = layer.with_neurons(theta=theta, v0=(start * theta).astype(np.float32))
    return best_layer, errors.reshape(len(base), -1).min(axis=1)


def _errors(drawn: fast.Drawn, layer: Layer, thetas: Array, fractions: Array) -> Array:
    """Mean squared errors (channels, thetas, fractions) of the rate."""
    op, more = layer.neurons.op, layer.neurons.more
    assert op is not None
    thetas, fractions = thetas.astype(np.float32), np.ascontiguousarray(fractions, np.float32)
    return fast.rate_errors(op, drawn, thetas, fractions, more)
