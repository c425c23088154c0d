"""Chosen elements along one axis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np

from spikec.ir.op import Op, Params, Value, expect
from spikec.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Gather(Op):
    """`y[..., i, ...] = x[..., indices[i], ...]` along one axis; elements may repeat."""

    axis: Annotated[int, "axis along which elements are chosen"] = field(default=0, kw_only=True)
    indices: Annotated[tuple[int, ...], "for each element of the result, the element of x"]

    result = "same"
    linear = True

    def infer(
        self, inputs: Sequence[TensorType], params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        x, axis = inputs[0].shape, self.axis
        indices = self.indices
        expect(0 <= axis < len(x), f"axis {axis} does not fit {list(x)}")
        expect(len(indices) > 0, "no element is chosen")
        inside = min(indices) >= 0 and max(indices) < x[axis]
        expect(inside, f"indices leave an axis of {x[axis]} elements")
        return (*x[:axis], len(indices), *x[axis + 1 :])

    def run(self, inputs: Sequence[Value], params: Params) -> Value:
        indices = np.array(self.indices)
        return inputs[0].take(indices, axis=self.axis + 1)
