"""Bias correction: what the mean input current lacks is added to the bias."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from spikec.compiler.pipeline import Record
from spikec.compiler.sweep import Layer, LayerPass, Neurons


@dataclass(frozen=True)
class Bias(LayerPass):
    """Add to each channel's bias the mean of ANN minus SNN input current on calibration data."""

    def fit(self, layer: Layer, neurons: Neurons, record: Record) -> Neurons:
        mean = layer.current.mean(axis=0)
        axes = (0, *range(2, mean.ndim))
        lack = layer.before.mean(axis=axes, dtype=np.float64) - mean.mean(axis=axes, dtype="f8")
        bias = neurons.bias.astype(np.float64)
        if bias.ndim <= 1:
            correction = lack - bias
            return replace(neurons, bias=(bias + correction).astype(np.float32))
        held = bias.mean(axis=tuple(range(1, bias.ndim)))
        correction = (lack - held).reshape(-1, *(1,) * (bias.ndim - 1))
        return replace(neurons, bias=(bias + correction).astype(np.float32))
