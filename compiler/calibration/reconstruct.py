"""Layer-wise reconstruction: weights are refitted to the inputs that really arrive."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from spikec.compiler.calibration.layer import Layer, Synapse
from spikec.compiler.calibration.sweep import LayerPass
from spikec.compiler.pipeline import Record, within
from spikec.ir.ops.synapses.conv import Conv
from spikec.ir.ops.synapses.dense import Dense
from spikec.ir.types import Array

MOST_TAPS = 5120
"""Inputs of a neuron whose covariances are taken; 512 channels in windows of 3 by 3 are 4608."""
_RIDGES = (0.01, 0.03, 0.1, 0.3, 1.0)
"""Relative to the mean power of the inputs."""


@dataclass(frozen=True)
class Reconstruct(LayerPass):
    """Change a synapse's weights so that mean spike rates give the ANN's currents.

    Ridge regression of the missing current on the input rates, on unlabelled calibration data:
    `argmin sum (z_ann - z - dW x)^2 + ridge * |dW|^2`. It corrects what bias correction cannot:
    errors of the rates that depend on the input. The ridge, relative to the mean power of the
    inputs, is the one with the smallest error of the activation on held-out samples; where none
    lowers it the weights stay. They stay too where a neuron has more than 5120 inputs.

    Options: rows of input drawn per layer; held, the share of samples held out.
    """

    rows: int = 16384
    held: float = 0.25

    def check(self) -> None:
        within("rows", self.rows, 1)
        within("held", self.held, 0, 1)

    def fit(self, layer: Layer, record: Record) -> Layer:
        for index, synapse in enumerate(layer.synapses):
            if not refits(synapse):
                continue
            if not coupled(synapse):
                record.note(f"%{synapse.node.name} has too many inputs to refit its weights")
                continue
            fitted = self._fitted(layer, synapse)
            if fitted is not None:
                weights, ridge, gain = fitted
                layer = layer.with_weights(index, weights)
                record.layer(layer.node.name, ridge=ridge, held_out_gain=gain)
        return layer

    def _fitted(self, layer: Layer, synapse: Synapse) -> tuple[Array, float, float] | None:
        """New weights, their ridge and by what factor the held-out error falls; None to stay."""
        samples = len(layer.target)
        held = int(samples * self.held)
        if not 0 < held < samples:
            return None
        lack = layer.before - layer.mean_current()
        places = drawn_places(layer, self.rows)
        inputs, lacking = input_rows(synapse, lack, places)
        fit, judge = inputs[:, held:], inputs[:, :held]
        power, cross = moments(fit, lacking[:, held:])
        activation = _judge(layer, lack, places, held)
        best, least = 0.0, activation(np.zeros((1, 1, 1, 1)))
        start = least
        for ridge in _RIDGES:
            error = activation(judge @ _solve(power, cross, ridge)[:, None])
            if error < least:
                best, least = ridge, error
        if not best:
            return None
        power, cross = moments(inputs, lacking)
        change = np.swapaxes(_solve(power, cross, best), 1, 2).reshape(synapse.weights.shape)
        return (synapse.weights + change).astype(np.float32), best, start / max(least, 1e-30)


def refits(synapse: Synapse) -> bool:
    """Whether the weights of a synapse are a matrix, or one for each group of channels."""
    return isinstance(synapse.node.operation, Conv | Dense)


def coupled(synapse: Synapse) -> bool:
    """Whether a synapse has few enough inputs to take their covariances, in memory and time."""
    return math.prod(synapse.weights.shape[1:]) <= MOST_TAPS


def drawn_places(layer: Layer, rows: int) -> Array:
    """The positions that are looked at in every sample, for about `rows` rows in all."""
    total = layer.target[0, 0].size
    wanted = max(1, rows // len(layer.target))
    if total <= wanted:
        return np.arange(total)
    return np.sort(layer.rng.choice(total, wanted, replace=False))


def input_rows(synapse: Synapse, lack: Array, places: Array) -> tuple[Array, Array]:
    """Inputs (groups, samples, places, taps) and what lacks (groups, samples, places, out)."""
    samples, groups, op = len(lack), 1, synapse.node.operation
    if not isinstance(op, Conv):
        inputs = synapse.rates[None, :, None, :]
    else:
        groups = op.groups
        taps = op.window(synapse.weights.shape[2:]).taps(synapse.rates)
        flat = [tap.reshape(samples, tap.shape[1], -1)[:, :, places] for tap in taps]
        stacked = np.stack(flat, axis=2)
        stacked = stacked.reshape(samples, groups, -1, len(places))
        inputs = stacked.transpose(1, 0, 3, 2)
    lacking = lack.reshape(samples, groups, lack.shape[1] // groups, -1)[..., places]
    return inputs, lacking.transpose(1, 0, 3, 2)


def moments(inputs: Array, lacking: Array) -> tuple[Array, Array]:
    """Covariances of the inputs (groups, taps, taps) and with what lacks (groups, taps, out)."""
    x = inputs.reshape(len(inputs), -1, inputs.shape[-1]).astype(np.float64)
    y = lacking.reshape(len(lacking), -1, lacking.shape[-1]).astype(np.float64)
    x = x - x.mean(axis=1, keepdims=True)
    y = y - y.mean(axis=1, keepdims=True)
    turned = np.swapaxes(x, 1, 2)
    return turned @ x / x.shape[1], turned @ y / x.shape[1]


def _solve(power: Array, cross: Array, ridge: float) -> Array:
    """The change of the weights (groups, taps, out)."""
    taps = power.shape[-1]
    mean = np.trace(power, axis1=1, axis2=2)[:, None, None] / taps
    return np.linalg.solve(power + np.maximum(ridge * mean, 1e-12) * np.eye(taps), cross)


def _judge(layer: Layer, lack: Array, places: Array, held: int) -> Any:
    """A function from a change of the held-out currents to the error of the activation."""
    channels = lack.shape[1]
    before = layer.before[:held].reshape(held, channels, -1)[..., places]
    missing = lack[:held].reshape(held, channels, -1)[..., places]
    signed = layer.target.min() < 0
    goal = before if signed else np.maximum(before, 0)

    def error(change: Array) -> float:
        if change.size > 1:
            moved = change.transpose(1, 0, 3, 2).reshape(missing.shape)
            moved = moved - (moved - missing).mean(axis=(0, 2), keepdims=True)
        else:
            moved = missing.mean(axis=(0, 2), keepdims=True)
        reached = before - missing + moved
        reached = reached if signed else np.maximum(reached, 0)
        return float(((reached - goal) ** 2).sum())

    return error
