"""Elements repeated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from spikec.ir.op import Op, Params, Value, expect
from spikec.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Upsample(Op):
    """`y[i] = x[i // factor]` on every axis: nearest-neighbour upsampling, broadcasting."""

    factors: Annotated[tuple[int, ...], "how often each element is repeated, per axis"]

    result = "same"
    linear = True

    def infer(
        self, inputs: Sequence[TensorType], params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        x, factors = inputs[0].shape, self.factors
        expect(len(factors) == len(x), f"{len(factors)} factors do not fit {len(x)} axes")
        expect(min(factors, default=1) > 0, "factors must be positive")
        return tuple(size * factor for size, factor in zip(x, factors, strict=True))

    def run(self, inputs: Sequence[Value], params: Params) -> Value:
        y = inputs[0]
        for axis, factor in enumerate(self.factors, 1):
            y = y if factor == 1 else np.repeat(y, factor, axis=axis)
        return y
