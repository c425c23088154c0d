"""Bias correction: what the mean input current lacks is added to the bias."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikec.compiler.calibration.layer import Layer
from spikec.compiler.calibration.sweep import LayerPass
from spikec.compiler.pipeline import Record
from spikec.ir import spread


@dataclass(frozen=True)
class Bias(LayerPass):
    """Add to each channel's bias the mean of ANN minus SNN input current on calibration data.

    Rates are rounded and clipped, so the layers before send a little too much or too little on
    average; a constant current makes up for the mean of it at no cost.
    """

    def fit(self, layer: Layer, record: Record) -> Layer:
        axes = (0, *range(2, layer.before.ndim))
        lack = layer.before - layer.mean_current()
        correction = lack.mean(axis=axes, dtype=np.float64)
        bias = layer.neurons.bias
        if bias.ndim > 1:
            correction = spread(correction, layer.node.type.shape)
        return layer.with_neurons(bias=(bias + correction).astype(np.float32))
