"""Data-based neuronal initialization."""

from __future__ import annotations

from dataclasses import dataclass

from spikec.compiler.calibration.search import search
from spikec.compiler.calibration.sweep import Layer, LayerPass
from spikec.compiler.pipeline import Record, choice, within


@dataclass(frozen=True)
class Dni(LayerPass):
    """Choose initial potentials, and with them thresholds, from data (after DNISNM, 2024).

    The paper's formula is not public; ours is the minimum of the squared error between the
    spiking rate on real input spikes and the ANN's activation, per channel.

    Options: search=joint (theta and v0) or v0; per=channel|layer|neuron; samples drawn per channel.
    """

    search: str = "joint"
    per: str = "channel"
    samples: int = 4096

    def fit(self, layer: Layer, record: Record) -> Layer:
        choice("search", self.search, ("joint", "v0"))
        choice("per", self.per, ("channel", "layer", "neuron"))
        within("samples", self.samples, 1)
        if not layer.spiking:
            return layer
        return search(
            layer,
            joint=self.search == "joint",
            per=self.per,
            samples=self.samples,
        )
