"""Signed uniform quantiser."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from spikec.ir.activation import Activation
from spikec.ir.op import Params, ParamSpec, Value, expect, expect_spread
from spikec.ir.ops.activations.qcfs import Rounding, rounded
from spikec.ir.types import TensorType, spread


@dataclass(frozen=True, slots=True)
class Quantize(Activation):
    """`y = scale clip(round(x / scale), lo, hi)` with lo < 0: values of a quantised linear layer.

    An asymmetric quantiser of zero point z on integers a..b has lo = a - z and hi = b - z.
    Rounding 'floor' is floor(x / scale + 1/2).
    """

    lo: Annotated[int, "smallest integer, below 0"]
    hi: Annotated[int, "largest integer, above lo"]
    rounding: Rounding = "floor"

    params = {**Activation.params, "scale": ParamSpec("distance of values, above 0", "real")}
    signed = True

    def infer(
        self, inputs: Sequence[TensorType], params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        lo, hi = self.lo, self.hi
        expect(lo < 0 and lo < hi, f"bounds {lo}, {hi} are not those of a signed quantiser")
        expect_spread({"scale": params["scale"]}, inputs[0].shape)
        return inputs[0].shape

    def run(self, inputs: Sequence[Value], params: Params) -> Value:
        x = inputs[0]
        scale = spread(params["scale"], x.shape[1:])
        integers = rounded(x / scale, 0.5, self.rounding)
        y: Value = integers.clip(self.lo, self.hi) * scale
        return y
