"""Data-based neuronal initialization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from spikec.compiler.calibration.layer import Layer
from spikec.compiler.calibration.search import Grain, search
from spikec.compiler.calibration.sweep import LayerPass
from spikec.compiler.pipeline import Record, within


@dataclass(frozen=True)
class Dni(LayerPass):
    """Choose initial potentials, and with them thresholds, from data (after DNISNM, 2024).

    The paper's formula is not public; ours is the minimum of the squared error between the
    spiking rate on real input spikes and the ANN's activation, per channel.

    Options: search=joint (theta and v0) or v0; per=channel|layer|neuron; samples drawn per channel.
    """

    search: Literal["joint", "v0"] = "joint"
    per: Grain = "channel"
    samples: int = 4096

    def check(self) -> None:
        within("samples", self.samples, 1)

    def fit(self, layer: Layer, record: Record) -> Layer:
        if not layer.spiking:
            return layer
        return search(
            layer,
            joint=self.search == "joint",
            per=self.per,
            samples=self.samples,
        )
