"""Another shape for the same elements."""

from collections.abc import Mapping, Sequence
from typing import cast

from spikec.ir.op import Attr, Attrs, Op, Params, Value, expect
from spikec.ir.types import TensorType


class Reshape(Op):
    """The elements in row-major order under another shape; Flatten is a reshape to one axis."""

    attrs = {"shape": Attr(tuple, "shape per sample")}
    result = "same"
    linear = True

    def infer(
        self, inputs: Sequence[TensorType], attrs: Attrs, params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        shape = cast("tuple[int, ...]", attrs["shape"])
        size = TensorType(inputs[0].dtype, shape).size
        expect(size == inputs[0].size, f"cannot reshape {list(inputs[0].shape)} to {list(shape)}")
        return shape

    def run(self, inputs: Sequence[Value], attrs: Attrs, params: Params) -> Value:
        shape = cast("tuple[int, ...]", attrs["shape"])
        return inputs[0].reshape(inputs[0].shape[0], *shape)
