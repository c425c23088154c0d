"""Sums along whole axes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from spikec.ir.exact import wide
from spikec.ir.op import Gradients, Op, Params, Value, expect
from spikec.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class ReduceSum(Op):
    """The sum over all elements of some axes, which stay with size 1."""

    axes: Annotated[tuple[int, ...], "axes that are summed over"]

    linear = True

    def infer(
        self, inputs: Sequence[TensorType], params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        x, axes = inputs[0].shape, self.axes
        fits = len(set(axes)) == len(axes) and all(0 <= axis < len(x) for axis in axes)
        expect(fits, f"axes {list(axes)} do not fit {list(x)}")
        return tuple(1 if axis in axes else size for axis, size in enumerate(x))

    def run(self, inputs: Sequence[Value], params: Params) -> Value:
        axes = tuple(axis + 1 for axis in self.axes)
        total: Value = wide(inputs[0]).sum(axis=axes, keepdims=True)
        return total

    def backward(self, gradient: Value, inputs: Sequence[Value], params: Params) -> Gradients:
        return [np.broadcast_to(gradient, inputs[0].shape)], {}
