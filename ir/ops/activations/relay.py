"""A linear layer's output that must travel as spikes."""

from collections.abc import Sequence
from dataclasses import dataclass

from spikec.ir.activation import Activation
from spikec.ir.op import Params, Value


@dataclass(frozen=True, slots=True)
class Relay(Activation):
    """`y = x` at stage ann; becomes a signed neuron whose net count may be negative."""

    signed = True

    def run(self, inputs: Sequence[Value], params: Params) -> Value:
        return inputs[0]
