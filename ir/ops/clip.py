"""Bounded rectifier."""

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np

from spikec.ir.activation import Activation
from spikec.ir.op import Attr, Attrs, Params, Value, expect
from spikec.ir.types import TensorType


class Clip(Activation):
    """`y = min(max(x, 0), hi)`: ReLU6 and its kin; other lower bounds are shifted to 0."""

    attrs = {"hi": Attr(float, "upper bound, above 0")}

    def infer(
        self, inputs: Sequence[TensorType], attrs: Attrs, params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        expect(cast(float, attrs["hi"]) > 0, f"upper bound {attrs['hi']} must be above 0")
        return inputs[0].shape

    def run(self, inputs: Sequence[Value], attrs: Attrs, params: Params) -> Value:
        return np.clip(inputs[0], 0, cast(float, attrs["hi"]))
