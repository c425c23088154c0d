"""Sums over windows: the linear part of average pooling."""

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np

from spikec.ir.op import Attrs, Op, Params, Value
from spikec.ir.types import TensorType
from spikec.ir.windows import POOL, window_of


class SumPool(Op):
    """`y[c, i] = sum over the window of x[c, .]`; x: (channels, *spatial)."""

    attrs = POOL
    linear = True

    def infer(
        self, inputs: Sequence[TensorType], attrs: Attrs, params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        x = inputs[0].shape
        return (x[0], *window_of(attrs).output(x[1:]))

    def run(self, inputs: Sequence[Value], attrs: Attrs, params: Params) -> Value:
        x = inputs[0]
        wide = x if x.dtype.kind == "f" else x.astype(np.int64)
        window = window_of(attrs)
        whole = window.kernel == x.shape[2:] and not any(window.pads)
        if whole and set(window.dilations) == {1}:
            total: Value = wide.sum(axis=tuple(range(2, x.ndim)), keepdims=True)
            return total
        return reduce(np.add, window.taps(wide))
