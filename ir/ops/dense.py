"""Fully connected synapses."""

from collections.abc import Mapping, Sequence

import numpy as np

from spikec.ir.op import (
    EXPONENT,
    Attrs,
    Op,
    Params,
    ParamSpec,
    Value,
    expect,
    expect_exponent,
    finished,
)
from spikec.ir.types import TensorType
from spikec.ir.windows import exact_matmul


class Dense(Op):
    """`y = w x + b`; x: (in,), w: (out, in), b: (out,)."""

    params = {
        "w": ParamSpec("weights"),
        "b": ParamSpec("bias", required=False),
        "exponent": EXPONENT,
    }
    linear = True
    weighted = True

    def infer(
        self, inputs: Sequence[TensorType], attrs: Attrs, params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        x, w = inputs[0].shape, params["w"].shape
        expect(len(w) == 2 and x == w[1:], f"weights {list(w)} do not fit {list(x)}")
        expect("b" not in params or params["b"].shape == w[:1], "bias must be (out,)")
        expect_exponent(params, w[:1])
        return w[:1]

    def run(self, inputs: Sequence[Value], attrs: Attrs, params: Params) -> Value:
        y = exact_matmul(inputs[0], params["w"].T)
        return finished(y, params)

    def scale_inputs(self, w: Value, factor: Value, attrs: Attrs) -> Value:
        return w * factor

    def scale_outputs(self, w: Value, factor: Value, attrs: Attrs) -> Value:
        return w * factor[:, None]

    def output_magnitudes(self, w: Value, attrs: Attrs) -> Value:
        return np.abs(w).max(axis=1)

    def fan_out(self, shape: tuple[int, ...], attrs: Attrs, w: Value) -> Value:
        return (w != 0).sum(axis=0)

    def synaptic_operations(
        self, inputs: Sequence[TensorType], attrs: Attrs, params: Mapping[str, TensorType]
    ) -> int:
        return params["w"].size
