"""Unsigned uniform quantiser: quantization, clip, floor, shift."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import numpy as np

from spikec.ir.activation import Activation
from spikec.ir.op import Params, ParamSpec, Value, expect, expect_spread
from spikec.ir.types import TensorType, spread

Rounding: TypeAlias = Annotated[
    Literal["floor", "even"], "'floor': floor(x + shift); 'even': to nearest, half to even"
]


@dataclass(frozen=True, slots=True)
class Qcfs(Activation):
    """`y = lambda clip(floor(x L / lambda + shift) / L, 0, 1)` (Bu et al., ICLR 2022).

    L is `levels`; lambda is per tensor, per channel or broadcast to x. An integrate-and-fire
    neuron with theta = lambda and v0 = shift theta computes it in L steps of constant input.
    With rounding 'even', shift is 1/2 and ties go to the even level, as quantisers of ONNX do.
    """

    levels: Annotated[int, "number of steps L between 0 and lambda"]
    shift: Annotated[float, "added before the floor, in steps"] = 0.5
    rounding: Rounding = "floor"

    params = {**Activation.params, "lambda": ParamSpec("largest value, above 0", "real")}

    def infer(
        self, inputs: Sequence[TensorType], params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        expect(self.levels > 0, f"{self.levels} levels")
        even_fits = self.rounding == "floor" or self.shift == 0.5
        expect(even_fits, "rounding 'even' needs a shift of 0.5")
        expect_spread({"lambda": params["lambda"]}, inputs[0].shape)
        return inputs[0].shape

    def run(self, inputs: Sequence[Value], params: Params) -> Value:
        x, levels = inputs[0], self.levels
        unit = spread(params["lambda"], x.shape[1:]) / x.dtype.type(levels)
        shift = x.dtype.type(self.shift)
        y: Value = rounded(x / unit, shift, self.rounding).clip(0, levels) * unit
        return y


def rounded(x: Value, shift: float, rounding: Rounding) -> Value:
    """`x` as an integer, by the attribute 'rounding'."""
    return np.rint(x) if rounding == "even" else np.floor(x + shift)
