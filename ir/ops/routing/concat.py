"""Values side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from spikec.ir.op import Gradients, Op, Params, Value, expect
from spikec.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Concat(Op):
    """The inputs one after the other along one axis."""

    axis: Annotated[int, "axis along which the inputs follow each other"] = 0

    arity = None
    result = "same"
    linear = True

    def infer(
        self, inputs: Sequence[TensorType], params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        axis, first = self.axis, inputs[0].shape
        expect(0 <= axis < len(first), f"axis {axis} does not fit {list(first)}")
        shapes = [x.shape for x in inputs]
        rests = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
        same = len(rests) == 1 and {len(shape) for shape in shapes} == {len(first)}
        expect(same, f"cannot concatenate shapes {sorted(map(list, shapes))} along axis {axis}")
        types = sorted({str(x.dtype) for x in inputs})
        expect(len(types) == 1, f"cannot concatenate values of types {', '.join(types)}")
        return (*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :])

    def run(self, inputs: Sequence[Value], params: Params) -> Value:
        return np.concatenate(inputs, axis=self.axis + 1)

    def backward(self, gradient: Value, inputs: Sequence[Value], params: Params) -> Gradients:
        ends = np.cumsum([x.shape[self.axis + 1] for x in inputs])
        return np.split(gradient, ends[:-1], axis=self.axis + 1), {}
