"""A part of a value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from spikec.ir.op import Gradients, Op, Params, Value, expect
from spikec.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Slice(Op):
    """`y[i] = x[start + step * i]` for i below size, on every axis; steps may be negative."""

    starts: Annotated[tuple[int, ...], "first element, per axis"]
    sizes: Annotated[tuple[int, ...], "number of elements, per axis"]
    steps: Annotated[tuple[int, ...], "distance of elements, per axis, not 0"]

    result = "same"
    linear = True

    def infer(
        self, inputs: Sequence[TensorType], params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        x = inputs[0].shape
        starts, sizes, steps = self.starts, self.sizes, self.steps
        ranks_fit = len(starts) == len(sizes) == len(steps) == len(x)
        expect(ranks_fit, f"starts, sizes and steps must fit {len(x)} axes")
        for start, size, step, have in zip(starts, sizes, steps, x, strict=True):
            expect(step != 0 and size > 0, "steps must not be 0, sizes must be positive")
            inside = 0 <= start < have and 0 <= start + (size - 1) * step < have
            expect(inside, f"slice {start} + {step} * {size} leaves an axis of {have}")
        return sizes

    def run(self, inputs: Sequence[Value], params: Params) -> Value:
        return np.ascontiguousarray(inputs[0][self._taken])

    @property
    def _taken(self) -> tuple[slice, ...]:
        """The index, batch included."""
        taken = [slice(None)]
        for start, size, step in zip(self.starts, self.sizes, self.steps, strict=True):
            stop = start + size * step
            taken.append(slice(start, stop if stop >= 0 else None, step))
        return tuple(taken)

    def backward(self, gradient: Value, inputs: Sequence[Value], params: Params) -> Gradients:
        whole = np.zeros_like(inputs[0])
        whole[self._taken] = gradient
        return [whole], {}
