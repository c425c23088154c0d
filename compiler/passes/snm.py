"""Signed neurons with memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

from spikec.compiler.pipeline import Record, choice
from spikec.compiler.search import search
from spikec.compiler.sweep import Layer, LayerPass, Neurons
from spikec.runtime import kernels


@dataclass(frozen=True)
class Snm(LayerPass):
    """Let neurons take back spikes that later input disproves (SNM; theta_neg = 0).

    Options: gate=auto rewrites a layer where the error on held-out calibration data falls, on
    rewrites every layer; search=joint|v0|none searches the parameters again with the signed
    neuron in place; per=channel|layer; samples drawn per channel.
    """

    gate: str = "auto"
    search: str = "joint"
    per: str = "channel"
    samples: int = 4096

    def fit(self, layer: Layer, neurons: Neurons, record: Record) -> Neurons:
        choice("gate", self.gate, ("auto", "on"))
        choice("search", self.search, ("joint", "v0", "none"))
        choice("per", self.per, ("channel", "layer"))
        if neurons.kind != kernels.UNSIGNED:
            return neurons
        held = max(1, len(layer.target) // 4)
        fitted, judged = layer.part(slice(held, None)), layer.part(slice(0, held))
        if len(fitted.target) == 0:
            fitted = judged
        signed = self._search(fitted, replace(neurons, kind=kernels.SIGNED))
        before, after = judged.error(neurons), judged.error(signed)
        taken = self.gate == "on" or after < before
        record.layer(layer.node.name, signed=taken, held_out_before=before, held_out_after=after)
        return signed if taken else neurons

    def _search(self, layer: Layer, neurons: Neurons) -> Neurons:
        if self.search == "none":
            return neurons
        return search(
            layer,
            neurons,
            joint=self.search == "joint",
            shared=self.per == "layer",
            samples=self.samples,
        )
