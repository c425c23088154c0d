"""Axes in another order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from spikec.ir.op import Gradients, Op, Params, Value, expect
from spikec.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Transpose(Op):
    """`y[i[perm[0]], i[perm[1]], ...] = x[i[0], i[1], ...]`: axis k of y is axis perm[k] of x."""

    perm: Annotated[tuple[int, ...], "for each axis of the result, the axis of x that it is"]

    result = "same"
    linear = True

    def infer(
        self, inputs: Sequence[TensorType], params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        x, perm = inputs[0].shape, self.perm
        fits = sorted(perm) == list(range(len(x)))
        expect(fits, f"perm {list(perm)} does not order {len(x)} axes")
        return tuple(x[axis] for axis in perm)

    def run(self, inputs: Sequence[Value], params: Params) -> Value:
        perm = self.perm
        return np.ascontiguousarray(inputs[0].transpose(0, *(axis + 1 for axis in perm)))

    def backward(self, gradient: Value, inputs: Sequence[Value], params: Params) -> Gradients:
        back = np.argsort(self.perm)
        return [gradient.transpose(0, *(axis + 1 for axis in back))], {}
