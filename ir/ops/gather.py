"""Chosen elements along one axis."""

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np

from spikec.ir.op import Attr, Attrs, Op, Params, Value, expect
from spikec.ir.types import TensorType


class Gather(Op):
    """`y[..., i, ...] = x[..., indices[i], ...]` along one axis; elements may repeat."""

    attrs = {
        "axis": Attr(int, "axis along which elements are chosen", 0),
        "indices": Attr(tuple, "for each element of the result, the element of x"),
    }
    result = "same"
    linear = True

    def infer(
        self, inputs: Sequence[TensorType], attrs: Attrs, params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        x, axis = inputs[0].shape, cast(int, attrs["axis"])
        indices = cast("tuple[int, ...]", attrs["indices"])
        expect(0 <= axis < len(x), f"axis {axis} does not fit {list(x)}")
        expect(len(indices) > 0, "no element is chosen")
        inside = min(indices) >= 0 and max(indices) < x[axis]
        expect(inside, f"indices leave an axis of {x[axis]} elements")
        return (*x[:axis], len(indices), *x[axis + 1 :])

    def run(self, inputs: Sequence[Value], attrs: Attrs, params: Params) -> Value:
        indices = np.array(cast("tuple[int, ...]", attrs["indices"]))
        return inputs[0].take(indices, axis=cast(int, attrs["axis"]) + 1)
