"""Values that meet: residual joins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from spikec.ir.op import Gradients, Op, Params, Value, expect
from spikec.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Add(Op):
    """Sum of two or more values of one shape."""

    arity = None
    linear = True

    def infer(
        self, inputs: Sequence[TensorType], params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        shapes = {x.shape for x in inputs}
        expect(len(shapes) == 1, f"cannot add shapes {sorted(map(list, shapes))}")
        return inputs[0].shape

    def run(self, inputs: Sequence[Value], params: Params) -> Value:
        return reduce(np.add, inputs)

    def backward(self, gradient: Value, inputs: Sequence[Value], params: Params) -> Gradients:
        return [gradient] * len(inputs), {}
