"""Element-wise multiplication with and addition of constants."""

from collections.abc import Mapping, Sequence

import numpy as np

from spikec.ir.op import (
    EXPONENT,
    Attrs,
    Op,
    Params,
    ParamSpec,
    Value,
    expect_exponent,
    expect_spread,
    finished,
)
from spikec.ir.types import TensorType, spread


class Affine(Op):
    """`y = w x + b` element by element; BatchNorm, constant arithmetic, spike amplitudes.

    w and b are per tensor (), per channel (channels,) or broadcast to x. At stage int a
    one-to-one synapse.
    """

    params = {
        "w": ParamSpec("factor"),
        "b": ParamSpec("offset", required=False),
        "exponent": EXPONENT,
    }
    linear = True
    weighted = True

    def infer(
        self, inputs: Sequence[TensorType], attrs: Attrs, params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        expect_spread(params, inputs[0].shape)
        expect_exponent(params, inputs[0].shape[:1])
        return inputs[0].shape

    def run(self, inputs: Sequence[Value], attrs: Attrs, params: Params) -> Value:
        x = inputs[0]
        w = spread(params["w"], x.shape[1:])
        if w.dtype.kind != "f":
            w = w.astype(np.int64)
            x = x if x.dtype.kind == "f" else x.astype(np.int64)
        y: Value = x * w
        return finished(y, params)

    def scale_outputs(self, w: Value, factor: Value, attrs: Attrs) -> Value:
        return w * (factor.reshape(-1, *(1,) * (w.ndim - 1)) if w.ndim > 1 else factor)

    def fan_out(self, shape: tuple[int, ...], attrs: Attrs, w: Value) -> Value:
        return np.broadcast_to(spread(w, shape) != 0, shape).astype(np.int64)

    def synaptic_operations(
        self, inputs: Sequence[TensorType], attrs: Attrs, params: Mapping[str, TensorType]
    ) -> int:
        return inputs[0].size
