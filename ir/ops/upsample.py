"""Elements repeated."""

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np

from spikec.ir.op import Attr, Attrs, Op, Params, Value, expect
from spikec.ir.types import TensorType


class Upsample(Op):
    """`y[i] = x[i // factor]` on every axis: nearest-neighbour upsampling, broadcasting."""

    attrs = {"factors": Attr(tuple, "how often each element is repeated, per axis")}
    result = "same"
    linear = True

    def infer(
        self, inputs: Sequence[TensorType], attrs: Attrs, params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        x, factors = inputs[0].shape, cast("tuple[int, ...]", attrs["factors"])
        expect(len(factors) == len(x), f"{len(factors)} factors do not fit {len(x)} axes")
        expect(min(factors, default=1) > 0, "factors must be positive")
        return tuple(size * factor for size, factor in zip(x, factors, strict=True))

    def run(self, inputs: Sequence[Value], attrs: Attrs, params: Params) -> Value:
        y = inputs[0]
        for axis, factor in enumerate(cast("tuple[int, ...]", attrs["factors"]), 1):
            y = y if factor == 1 else np.repeat(y, factor, axis=axis)
        return y
