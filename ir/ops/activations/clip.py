"""Bounded rectifier."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from spikec.ir.activation import Activation
from spikec.ir.op import Params, Value, expect
from spikec.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Clip(Activation):
    """`y = min(max(x, 0), hi)`: ReLU6 and its kin; other lower bounds are shifted to 0."""

    hi: Annotated[float, "upper bound, above 0"]

    def infer(
        self, inputs: Sequence[TensorType], params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        expect(self.hi > 0, f"upper bound {self.hi} must be above 0")
        return inputs[0].shape

    def run(self, inputs: Sequence[Value], params: Params) -> Value:
        return np.clip(inputs[0], 0, self.hi)
