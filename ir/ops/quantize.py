"""Signed uniform quantiser."""

from collections.abc import Mapping, Sequence
from typing import cast

from spikec.ir.activation import Activation
from spikec.ir.op import Attr, Attrs, Params, ParamSpec, Value, expect, expect_spread
from spikec.ir.ops.qcfs import ROUNDING, expect_rounding, rounded
from spikec.ir.types import TensorType, spread


class Quantize(Activation):
    """`y = scale clip(round(x / scale), lo, hi)` with lo < 0: values of a quantised linear layer.

    An asymmetric quantiser of zero point z on integers a..b has lo = a - z and hi = b - z.
    Rounding 'floor' is floor(x / scale + 1/2).
    """

    attrs = {
        "lo": Attr(int, "smallest integer, below 0"),
        "hi": Attr(int, "largest integer, above lo"),
        "rounding": ROUNDING,
    }
    params = {**Activation.params, "scale": ParamSpec("distance of values, above 0")}
    signed = True

    def infer(
        self, inputs: Sequence[TensorType], attrs: Attrs, params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        lo, hi = cast(int, attrs["lo"]), cast(int, attrs["hi"])
        expect(lo < 0 and lo < hi, f"bounds {lo}, {hi} are not those of a signed quantiser")
        expect_rounding(attrs)
        expect_spread({"scale": params["scale"]}, inputs[0].shape)
        return inputs[0].shape

    def run(self, inputs: Sequence[Value], attrs: Attrs, params: Params) -> Value:
        x = inputs[0]
        scale = spread(params["scale"], x.shape[1:])
        integers = rounded(x / scale, 0.5, attrs)
        y: Value = integers.clip(cast(int, attrs["lo"]), cast(int, attrs["hi"])) * scale
        return y
