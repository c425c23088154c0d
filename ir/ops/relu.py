"""Rectifier."""

from collections.abc import Sequence

import numpy as np

from spikec.ir.op import Attrs, Op, Params, Value


class Relu(Op):
    """`y = max(x, 0)`."""

    stages = ("ann",)
    activation = True

    def run(self, inputs: Sequence[Value], attrs: Attrs, params: Params) -> Value:
        return np.maximum(inputs[0], 0)
