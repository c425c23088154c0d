"""Signed neurons with memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from spikec.compiler.calibration.gate import gated
from spikec.compiler.calibration.layer import Layer
from spikec.compiler.calibration.search import Grain, search
from spikec.compiler.calibration.sweep import LayerPass
from spikec.compiler.pipeline import Record, within
from spikec.ir.neuron import Needs, Sign
from spikec.ir.ops.neurons import is_offered, neuron_for


@dataclass(frozen=True)
class Snm(LayerPass):
    """Let neurons take back spikes that later input disproves (SNM; theta_neg = 0).

    A neuron that fired on early input and then receives less cannot say so with +1 alone. One that
    has a positive count and falls below 0 sends -1. It fires strictly below theta_neg: at `<=` a
    neuron at exactly 0 would send -1 and +1 in turn for ever.

    With one time step there is nothing to take back: layers stay as they are.

    Options: gate=auto rewrites a layer where the error on held-out calibration data falls, on
    rewrites every layer; search=joint|v0|none searches the parameters again with the signed
    neuron in place; per=channel|layer|neuron; samples drawn per channel.
    """

    gate: Literal["auto", "on"] = "auto"
    search: Literal["joint", "v0", "none"] = "joint"
    per: Grain = "channel"
    samples: int = 4096

    def check(self) -> None:
        within("samples", self.samples, 1)

    def fit(self, layer: Layer, record: Record) -> Layer:
        op = layer.neurons.op
        if op is None or not is_offered(op, Needs(Sign.UNSIGNED)) or layer.steps == 1:
            return layer
        layer, figures = gated(layer, self._rewritten, self.gate == "on")
        record.layer(layer.node.name, signed=figures.pop("taken"), **figures)
        return layer

    def _rewritten(self, layer: Layer) -> Layer:
        signed = layer.neurons.turned_into(neuron_for(Needs(Sign.TAKES_BACK)))
        return self._search(replace(layer, neurons=signed))

    def _search(self, layer: Layer) -> Layer:
        if self.search == "none":
            return layer
        return search(
            layer,
            joint=self.search == "joint",
            per=self.per,
            samples=self.samples,
        )
