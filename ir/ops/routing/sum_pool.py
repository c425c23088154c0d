"""Sums over windows: the linear part of average pooling."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spikec.ir.op import Gradients, Params, Value
from spikec.ir.windows import Pooling


@dataclass(frozen=True, slots=True)
class SumPool(Pooling):
    """`y[c, i] = sum over the window of x[c, .]`; x: (channels, *spatial)."""

    linear = True

    def run(self, inputs: Sequence[Value], params: Params) -> Value:
        return self.sums(inputs[0])

    def backward(self, gradient: Value, inputs: Sequence[Value], params: Params) -> Gradients:
        back = np.zeros_like(inputs[0])
        padded = self.window.padded(back)
        for view in self.window.unpadded_taps(padded):
            view += gradient
        return [self.window.inside(padded, back.shape[2:])], {}
