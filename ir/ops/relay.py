"""A linear layer's output that must travel as spikes."""

from collections.abc import Sequence

from spikec.ir.op import Attrs, Op, Params, Value


class Relay(Op):
    """`y = x` at stage ann; becomes a signed neuron whose net count may be negative."""

    stages = ("ann",)
    activation = True

    def run(self, inputs: Sequence[Value], attrs: Attrs, params: Params) -> Value:
        return inputs[0]
