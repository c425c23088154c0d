"""Rectifier."""

from collections.abc import Sequence

import numpy as np

from spikec.ir.activation import Activation
from spikec.ir.op import Attrs, Params, Value


class Relu(Activation):
    """`y = max(x, 0)`."""

    def run(self, inputs: Sequence[Value], attrs: Attrs, params: Params) -> Value:
        return np.maximum(inputs[0], 0)
