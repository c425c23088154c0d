"""A part of a value."""

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np

from spikec.ir.op import Attr, Attrs, Op, Params, Value, expect
from spikec.ir.types import TensorType


class Slice(Op):
    """`y[i] = x[start + step * i]` for i below size, on every axis; steps may be negative."""

    attrs = {
        "starts": Attr(tuple, "first element, per axis"),
        "sizes": Attr(tuple, "number of elements, per axis"),
        "steps": Attr(tuple, "distance of elements, per axis, not 0"),
    }
    result = "same"
    linear = True

    def infer(
        self, inputs: Sequence[TensorType], attrs: Attrs, params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        x = inputs[0].shape
        starts, sizes, steps = _bounds(attrs)
        ranks_fit = len(starts) == len(sizes) == len(steps) == len(x)
        expect(ranks_fit, f"starts, sizes and steps must fit {len(x)} axes")
        for start, size, step, have in zip(starts, sizes, steps, x, strict=True):
            expect(step != 0 and size > 0, "steps must not be 0, sizes must be positive")
            inside = 0 <= start < have and 0 <= start + (size - 1) * step < have
            expect(inside, f"slice {start} + {step} * {size} leaves an axis of {have}")
        return sizes

    def run(self, inputs: Sequence[Value], attrs: Attrs, params: Params) -> Value:
        taken = [slice(None)]
        for start, size, step in zip(*_bounds(attrs), strict=True):
            stop = start + size * step
            taken.append(slice(start, stop if stop >= 0 else None, step))
        return np.ascontiguousarray(inputs[0][tuple(taken)])


def _bounds(attrs: Attrs) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    starts, sizes, steps = (
        cast("tuple[int, ...]", attrs[name]) for name in ("starts", "sizes", "steps")
    )
    return starts, sizes, steps
