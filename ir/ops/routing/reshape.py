"""Another shape for the same elements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from spikec.ir.op import Gradients, Op, Params, Value, expect
from spikec.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Reshape(Op):
    """The elements in row-major order under another shape; Flatten is a reshape to one axis."""

    shape: Annotated[tuple[int, ...], "shape per sample"]

    result = "same"
    linear = True

    def infer(
        self, inputs: Sequence[TensorType], params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        shape = self.shape
        size = TensorType(inputs[0].dtype, shape).size
        expect(size == inputs[0].size, f"cannot reshape {list(inputs[0].shape)} to {list(shape)}")
        return shape

    def run(self, inputs: Sequence[Value], params: Params) -> Value:
        shape = self.shape
        return inputs[0].reshape(inputs[0].shape[0], *shape)

    def backward(self, gradient: Value, inputs: Sequence[Value], params: Params) -> Gradients:
        return [gradient.reshape(inputs[0].shape)], {}
