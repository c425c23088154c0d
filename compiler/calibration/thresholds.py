"""The QCFS activation, and the thresholds that lose least under it."""

from __future__ import annotations

import numpy as np

from spikec.compiler.passes import Context
from spikec.ir import Node
from spikec.ir.neuron import Neuron
from spikec.ir.ops.activations.qcfs import Qcfs
from spikec.ir.types import Array

_RATIOS = np.linspace(0.02, 1.0, 99)
"""Thresholds that are tried, as shares of the largest value: one above it only coarsens the levels,
and clipping rare large values may cost less than spacing the levels to reach them."""

MOST_TRAINED_LEVELS = 32
"""A quantiser with more levels (8-bit QDQ) bounds a layer but was not trained for few steps."""


def keeps_threshold(node: Node, levels: int) -> bool:
    """Whether an activation keeps its threshold: it was trained with few levels, or with `levels`.

    `levels` are those that a neuron's spikes can count.
    """
    op = node.operation
    return isinstance(op, Qcfs) and (op.levels <= MOST_TRAINED_LEVELS or op.levels == levels)


def is_exact(context: Context, neuron: Node) -> bool:
    """Whether a layer computes the quantiser that it was trained with: nothing to calibrate.

    It does where its spikes count as many levels and it gathers its whole input before it fires;
    otherwise the order in which spikes arrive makes it err, most where branches meet.
    """
    ann, fires = context.last.get("ann"), neuron.operation
    stood_for = context.counterparts.get(neuron.name)
    if ann is None or stood_for is None or not isinstance(fires, Neuron):
        return False
    op, whole = ann[stood_for].operation, fires.gathers or context.steps == 1
    return whole and isinstance(op, Qcfs) and op.levels == context.levels_of(stood_for)


def qcfs(x: Array, theta: Array | float, levels: int, floor: float = 0.0) -> Array:
    """`theta * clip(floor(x * L / theta + 1/2) / L, 0, 1)` (Bu et al., ICLR 2022, eq. 10).

    Args:
        x: Activations.
        theta: Thresholds (the paper's lambda), broadcast to x.
        levels: L, for a spiking neuron its time steps.
        floor: Smallest rate: 0 for a rectifier, -1 for a signed relay.
    """
    return theta * np.clip(np.floor(x * levels / theta + 0.5) / levels, floor, 1.0)


def best_thresholds(low: Array, high: Array, hist: Array, levels: int, shared: bool) -> Array:
    """Thresholds that minimise the mean squared QCFS error over observed histograms.

    Args:
        low: Smallest observed value per channel (C,).
        high: Largest observed value per channel (C,).
        hist: Counts over [low, high] (C, bins).
        levels: L.
        shared: One threshold for the whole layer instead of one per channel.

    Returns:
        Thresholds (C,), above 0; silent channels take the mean of the others.
    """
    centres = bin_centres(low, high, hist)
    reach = np.maximum(high, -low).astype(np.float64)
    top = np.full_like(reach, reach.max()) if shared else reach
    floor = -1.0 if (low < 0).any() else 0.0
    errors = np.empty((len(_RATIOS), len(top)))
    for i, ratio in enumerate(_RATIOS):
        theta = np.maximum(ratio * top, 1e-30)[:, None]
        errors[i] = (hist * (centres - qcfs(centres, theta, levels, floor)) ** 2).sum(axis=1)
    if shared:
        errors = np.broadcast_to(errors.sum(axis=1, keepdims=True), errors.shape)
    theta = top * _RATIOS[errors.argmin(axis=0)]
    alive = theta > 0
    theta[~alive] = theta[alive].mean() if alive.any() else 1.0
    return theta


def bin_centres(low: Array, high: Array, hist: Array) -> Array:
    """The values that the bins of a histogram stand for (channels, bins)."""
    bins = hist.shape[1]
    centres: Array = low[:, None] + (np.arange(bins) + 0.5) * ((high - low) / bins)[:, None]
    return centres


def percentile_thresholds(low: Array, high: Array, hist: Array, percent: float) -> Array:
    """The percentile of each channel's observed values: what earlier converters use. Shape (C,)."""
    total = np.maximum(hist.sum(axis=1, keepdims=True), 1)
    index = (np.cumsum(hist, axis=1) / total < percent / 100).sum(axis=1)
    theta = low + (high - low) * np.minimum(index + 1, hist.shape[1]) / hist.shape[1]
    alive = theta > 0
    theta[~alive] = theta[alive].mean() if alive.any() else 1.0
    return theta
