"""Rectifier."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spikec.ir.activation import Activation
from spikec.ir.op import Params, Value


@dataclass(frozen=True, slots=True)
class Relu(Activation):
    """`y = max(x, 0)`."""

    def run(self, inputs: Sequence[Value], params: Params) -> Value:
        return np.maximum(inputs[0], 0)
