"""Weights rounded during calibration, so that what follows makes up for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikec.compiler.calibration.layer import Layer, Synapse
from spikec.compiler.calibration.reconstruct import (
    coupled,
    drawn_places,
    input_rows,
    moments,
    refits,
)
from spikec.compiler.calibration.sweep import LayerPass
from spikec.compiler.pipeline import Record, within
from spikec.compiler.quantisation.scales import Scales
from spikec.ir.ops.synapses.conv import Conv
from spikec.ir.types import Array

_SAMPLED = 16384
"""Rows of input that covariances are taken from."""


@dataclass(frozen=True)
class Round(LayerPass):
    """Round weights to those that `quantise` can hold, before thresholds are searched.

    A synapse's integers are its weights times the amplitude of each input, in steps of the largest
    of an output channel; synapses that meet have steps that differ by powers of 2. Each weight's
    error is made up for by those not rounded yet, as their inputs go together on calibration data
    (GPTQ: Frantar et al., 2023). Where a neuron has more than 5120 inputs its weights are rounded
    to the nearest.

    Options: bits of a signed weight.
    """

    bits: int = 4
    everywhere = True

    def check(self) -> None:
        within("bits", self.bits, 2, 8)

    def fit(self, layer: Layer, record: Record) -> Layer:
        most = (1 << (self.bits - 1)) - 1
        if not layer.synapses or not all(map(refits, layer.synapses)):
            return layer
        places = drawn_places(layer, _SAMPLED)
        steps = _steps(layer, most)
        for index, (synapse, step) in enumerate(zip(layer.synapses, steps, strict=True)):
            power = None
            if coupled(synapse):
                power, _ = moments(*input_rows(synapse, layer.before, places))
            else:
                record.note(f"%{synapse.node.name} has too many inputs: rounded to the nearest")
            layer = layer.with_weights(index, _rounded(synapse, power, step, most))
        record.layer(layer.node.name, rounded=True)
        return layer


def _steps(layer: Layer, most: int) -> list[Array]:
    """The step of each synapse's weights, per output channel, that `quantise` will choose."""
    scales = Scales()
    rows = [_rows(synapse) for synapse in layer.synapses]
    rows += [skip.astype(np.float64)[:, None] for skip in layer.skips]
    variables = [scales.add(weights, most, 1).variable for weights in rows]
    for other in variables[1:]:
        scales.unify(variables[0], other, np.ones(()))
    if not layer.spiking:
        scales.unify(np.full_like(variables[0], variables[0][0]), variables[0], np.ones(()))
    choice = scales.choose()
    steps = [choice.scale[which] * 2.0 ** choice.exponent[which] for which in variables]
    return steps[: len(layer.synapses)]


def _rows(synapse: Synapse) -> Array:
    """Weights times amplitudes (out, taps), float64."""
    w = synapse.weights.astype(np.float64)
    return (w * _units(synapse)).reshape(len(w), -1)


def _units(synapse: Synapse) -> Array:
    """The amplitude behind each weight, in the weights' shape."""
    w, unit = synapse.weights, np.maximum(synapse.unit.astype(np.float64), 1e-30)
    op = synapse.node.operation
    if not isinstance(op, Conv):
        return np.broadcast_to(unit, w.shape)
    unit, groups = unit.reshape(len(unit), -1).max(axis=1), op.groups
    side = np.repeat(unit.reshape(groups, -1), len(w) // groups, axis=0)
    return np.broadcast_to(side.reshape(*w.shape[:2], *(1,) * (w.ndim - 2)), w.shape)


def _rounded(synapse: Synapse, power: Array | None, step: Array, most: int) -> Array:
    """The synapse's weights on its grid.

    Args:
        synapse: The synapse.
        power: Covariance of its inputs (groups, taps, taps); None to round to the nearest.
        step: Of each output channel.
        most: The largest integer.
    """
    rows = _rows(synapse) / step[:, None]
    if power is None:
        made = np.clip(np.rint(rows), -most, most)
    else:
        made = _by_group(synapse, power, rows, most)
    whole = made * step[:, None]
    return (whole.reshape(synapse.weights.shape) / _units(synapse)).astype(np.float32)


def _by_group(synapse: Synapse, power: Array, rows: Array, most: int) -> Array:
    """Rows (out, taps) as integers, group by group."""
    groups = len(power)
    units = _units(synapse).reshape(groups, -1, rows.shape[1])[:, 0]
    scaled = power / (units[:, :, None] * units[:, None, :])
    parts = [
        _compensated(part, own, most)
        for part, own in zip(rows.reshape(groups, -1, rows.shape[1]), scaled, strict=True)
    ]
    return np.concatenate(parts)


def _compensated(rows: Array, power: Array, most: int) -> Array:
    """Rows (out, taps) as integers, one tap after the other.

    With U the upper Cholesky factor of the inverse of `power`, the error of tap k moves the later
    taps by `error / U[k, k] * U[k, k + 1:]` (GPTQ, algorithm 1).
    """
    taps = len(power)
    damped = power + np.eye(taps) * max(0.01 * np.trace(power) / taps, 1e-12)
    upper = np.linalg.cholesky(np.linalg.inv(damped)).T
    left, made = rows.copy(), np.empty_like(rows)
    full = np.abs(rows) > most - 1e-6  # they define the grid, and stay
    for k in range(taps):
        made[:, k] = np.clip(np.rint(np.where(full[:, k], rows[:, k], left[:, k])), -most, most)
        error = (left[:, k] - made[:, k]) / upper[k, k]
        left[:, k + 1 :] -= error[:, None] * upper[k, k + 1 :]
    return made
