"""Maxima over windows."""

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np

from spikec.ir.op import Attrs, Op, Params, Value
from spikec.ir.types import TensorType
from spikec.ir.windows import POOL, window_of


class MaxPool(Op):
    """`y[c, i] = max over the window of x[c, .]`; pads never win. Stage ann only."""

    stages = ("ann",)
    attrs = POOL

    def infer(
        self, inputs: Sequence[TensorType], attrs: Attrs, params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        x = inputs[0].shape
        return (x[0], *window_of(attrs).output(x[1:]))

    def run(self, inputs: Sequence[Value], attrs: Attrs, params: Params) -> Value:
        return reduce(np.maximum, window_of(attrs).taps(inputs[0], fill=-np.inf))
