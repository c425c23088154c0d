"""Graded spikes: neurons send payloads that are powers of two."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from spikec.compiler.calibration.gate import gated
from spikec.compiler.calibration.layer import Layer, Neurons
from spikec.compiler.calibration.search import Grain, search
from spikec.compiler.calibration.sweep import LayerPass
from spikec.compiler.pipeline import Record, within
from spikec.ir.neuron import Needs, Neuron, Sign
from spikec.ir.ops.neurons import is_offered, neuron_for

_FIRE = 0.75
_FIRES = (0.625, 0.875)
"""Where payload 1 fires, as a share of theta: what the search starts from, and what it tries.

At 1/2 a payload is sent as soon as it lies nearest, at 1 only when the potential holds all of it;
below 1/2 firing could raise the absolute potential.
"""


@dataclass(frozen=True)
class Graded(LayerPass):
    """Let neurons send payloads 1, 2, 4, ... and take back too much.

    It takes the place of `dni` and `snm`. The smallest threshold starts at that of QCFS over the
    largest payload, and is searched with v0 and the firing level on the real input spikes.

    Options: levels, the number of payloads where no budget gave another; gate=auto rewrites a layer
    where the error on held-out calibration data falls, on rewrites every layer; fire, the firing
    level as a share of theta, 0 to search it; search=joint|v0|none; per=channel|layer|neuron;
    samples drawn per channel.
    """

    levels: int = 4
    gate: Literal["auto", "on"] = "auto"
    fire: float = 0.0
    search: Literal["joint", "v0", "none"] = "joint"
    per: Grain = "channel"
    samples: int = 2048

    def check(self) -> None:
        within("levels", self.levels, 2, 8)
        within("samples", self.samples, 1)
        if self.fire:
            within("fire", self.fire, 0.5, 1)

    def fit(self, layer: Layer, record: Record) -> Layer:
        op = layer.neurons.op
        if op is None or not is_offered(op, Needs(op.sign, gathers=op.gathers)):
            return layer
        always = self.gate == "on"
        levels = 1 << layer.payload_bits if layer.payload_bits else self.levels
        graded = graded_neuron(op.sign is Sign.FREE, op.gathers, levels)
        layer, figures = gated(layer, lambda part: self._search(self._start(part, graded)), always)
        record.layer(layer.node.name, graded=figures.pop("taken"), **figures)
        return layer

    def _start(self, layer: Layer, graded: Neuron) -> Layer:
        """Graded neurons that are not yet fitted."""
        old = layer.neurons
        theta = old.theta / np.float32(1 << (graded.payload.levels - 1))
        ratio = np.where(old.theta > 0, old.v0 / old.theta, 0)
        fire = np.full(layer.node.type.shape[:1], self.fire or _FIRE, np.float32)
        if theta.ndim > 1:
            fire = fire.reshape(-1, *(1,) * (theta.ndim - 1))
        v0 = (theta * ratio).astype(np.float32)
        neurons = Neurons(graded, theta, v0, old.bias, {"fire": fire})
        return replace(layer, neurons=neurons)

    def _search(self, layer: Layer) -> Layer:
        if self.search == "none":
            return layer
        return search(
            layer,
            joint=self.search == "joint",
            per=self.per,
            samples=self.samples,
            fires=() if self.fire else _FIRES,
        )


def graded_neuron(free: bool, gathers: bool, levels: int) -> Neuron:
    """The neuron that sends so many powers of two."""
    sign = Sign.FREE if free else Sign.TAKES_BACK
    return neuron_for(Needs(sign, gathers=gathers, levels=levels))
