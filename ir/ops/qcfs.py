"""Unsigned uniform quantiser: quantization, clip, floor, shift."""

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np

from spikec.ir.activation import Activation
from spikec.ir.op import Attr, Attrs, Params, ParamSpec, Value, expect, expect_spread
from spikec.ir.types import TensorType, spread

ROUNDING = Attr(str, "'floor': floor(x + shift); 'even': to nearest, half to even", "floor")


class Qcfs(Activation):
    """`y = lambda clip(floor(x L / lambda + shift) / L, 0, 1)` (Bu et al., ICLR 2022).

    L is `levels`; lambda is per tensor, per channel or broadcast to x. An integrate-and-fire
    neuron with theta = lambda and v0 = shift theta computes it in L steps of constant input.
    With rounding 'even', shift is 1/2 and ties go to the even level, as quantisers of ONNX do.
    """

    attrs = {
        "levels": Attr(int, "number of steps L between 0 and lambda"),
        "shift": Attr(float, "added before the floor, in steps", 0.5),
        "rounding": ROUNDING,
    }
    params = {**Activation.params, "lambda": ParamSpec("largest value, above 0")}

    def infer(
        self, inputs: Sequence[TensorType], attrs: Attrs, params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        expect(cast(int, attrs["levels"]) > 0, f"{attrs['levels']} levels")
        expect_rounding(attrs)
        even_fits = attrs["rounding"] == "floor" or attrs["shift"] == 0.5
        expect(even_fits, "rounding 'even' needs a shift of 0.5")
        expect_spread({"lambda": params["lambda"]}, inputs[0].shape)
        return inputs[0].shape

    def run(self, inputs: Sequence[Value], attrs: Attrs, params: Params) -> Value:
        x, levels = inputs[0], cast(int, attrs["levels"])
        unit = spread(params["lambda"], x.shape[1:]) / x.dtype.type(levels)
        shift = x.dtype.type(cast(float, attrs["shift"]))
        y: Value = rounded(x / unit, shift, attrs).clip(0, levels) * unit
        return y


def expect_rounding(attrs: Attrs) -> None:
    """Check the attribute 'rounding'."""
    known = attrs["rounding"] in ("floor", "even")
    expect(known, f"unknown rounding '{attrs['rounding']}'")


def rounded(x: Value, shift: float, attrs: Attrs) -> Value:
    """`x` as an integer, by the attribute 'rounding'."""
    return np.rint(x) if attrs["rounding"] == "even" else np.floor(x + shift)
