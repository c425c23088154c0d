"""Values that meet: residual joins."""

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np

from spikec.ir.op import Attrs, Op, Params, Value, expect
from spikec.ir.types import TensorType


class Add(Op):
    """Sum of two or more values of one shape."""

    arity = None
    linear = True

    def infer(
        self, inputs: Sequence[TensorType], attrs: Attrs, params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        shapes = {x.shape for x in inputs}
        expect(len(shapes) == 1, f"cannot add shapes {sorted(map(list, shapes))}")
        return inputs[0].shape

    def run(self, inputs: Sequence[Value], attrs: Attrs, params: Params) -> Value:
        return reduce(np.add, inputs)
