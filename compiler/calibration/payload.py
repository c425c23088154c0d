"""Integer payloads: neurons send how many thresholds have gathered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from spikec.compiler.calibration.layer import Layer, Neurons
from spikec.compiler.calibration.search import Grain, search
from spikec.compiler.calibration.sweep import LayerPass
from spikec.compiler.pipeline import Record, within
from spikec.ir.neuron import Needs, Neuron, Sign
from spikec.ir.ops.neurons import is_offered, neuron_for


@dataclass(frozen=True)
class Payload(LayerPass):
    """Let neurons send integers, and take back too much where they fire as input arrives.

    It takes the place of `dni` and `snm`. The threshold starts at that of QCFS over the largest
    payload, with v0 = theta / 2, and both are searched on the real input spikes. With one step
    this is the quantised network itself.

    Options: bits of a payload, the sign of relays included, where no budget gave others;
    search=joint|v0|none; per=channel|layer|neuron; samples drawn per channel.
    """

    bits: int = 8
    search: Literal["joint", "v0", "none"] = "joint"
    per: Grain = "channel"
    samples: int = 2048
    everywhere = True

    def check(self) -> None:
        within("bits", self.bits, 1, 8)
        within("samples", self.samples, 1)

    def fit(self, layer: Layer, record: Record) -> Layer:
        op = layer.neurons.op
        if op is None or not is_offered(op, Needs(op.sign, gathers=op.gathers)):
            return layer
        layer = self._start(layer, op)
        record.layer(layer.node.name, payload_bits=layer.payload_bits or self.bits)
        if self.search == "none" or layer.exact:
            return layer
        return search(
            layer, joint=self.search == "joint", per=self.per, samples=self.samples, near=True
        )

    def _start(self, layer: Layer, op: Neuron) -> Layer:
        """Neurons with payloads that are not yet fitted."""
        free, bits = op.sign is Sign.FREE, layer.payload_bits or self.bits
        bits = max(bits, 2) if free else bits
        largest = np.float32((1 << (bits - 1)) - 1 if free else (1 << bits) - 1)
        old = layer.neurons
        theta = (old.theta / largest).astype(np.float32)
        ratio = np.where(old.theta > 0, old.v0 / old.theta, 0)
        v0 = (theta * ratio).astype(np.float32)
        return replace(
            layer, neurons=Neurons(integer_neuron(free, op.gathers, bits), theta, v0, old.bias)
        )


def integer_neuron(free: bool, gathers: bool, bits: int) -> Neuron:
    """The neuron that sends integers of so many bits."""
    usual = Sign.UNSIGNED if gathers else Sign.TAKES_BACK
    return neuron_for(Needs(Sign.FREE if free else usual, gathers=gathers, bits=bits))
