"""Convolution over one or more spatial axes."""

import math
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np

from spikec.ir.op import (
    EXPONENT,
    Attr,
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
from spikec.ir.windows import WINDOW, Window, convolve


class Conv(Op):
    """`y = sum_k w[k] x[stride * i + dilation * k - pad] + b` (cross-correlation, ONNX Conv).

    x: (channels, *spatial); w: (out, channels / groups, *kernel); b: (out,).
    """

    attrs = {**WINDOW, "groups": Attr(int, "channel groups", 1)}
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
        x, w, groups = inputs[0].shape, params["w"].shape, cast(int, attrs["groups"])
        expect(len(w) >= 3 and len(x) == len(w) - 1, f"weights {list(w)} do not fit {list(x)}")
        expect(groups > 0 and w[0] % groups == 0, f"{w[0]} channels in {groups} groups")
        expect(x[0] == w[1] * groups, f"{x[0]} channels, but weights {list(w)} x {groups} groups")
        expect("b" not in params or params["b"].shape == w[:1], "bias must be (out channels,)")
        expect_exponent(params, w[:1])
        return (w[0], *Window.of(w[2:], attrs).output(x[1:]))

    def run(self, inputs: Sequence[Value], attrs: Attrs, params: Params) -> Value:
        w = params["w"]
        y = convolve(inputs[0], w, Window.of(w.shape[2:], attrs), cast(int, attrs["groups"]))
        return finished(y, params)

    def scale_inputs(self, w: Value, factor: Value, attrs: Attrs) -> Value:
        groups = cast(int, attrs["groups"])
        side = np.repeat(factor.reshape(groups, -1), len(w) // groups, axis=0)
        return w * side.reshape(*w.shape[:2], *(1,) * (w.ndim - 2))

    def scale_outputs(self, w: Value, factor: Value, attrs: Attrs) -> Value:
        return w * factor.reshape(-1, *(1,) * (w.ndim - 1))

    def output_magnitudes(self, w: Value, attrs: Attrs) -> Value:
        return np.abs(w).reshape(len(w), -1).max(axis=1)

    def fan_out(self, shape: tuple[int, ...], attrs: Attrs, w: Value) -> Value:
        groups = cast(int, attrs["groups"])
        nonzero = (w != 0).reshape(groups, -1, *w.shape[1:]).sum(axis=1)
        per_tap = nonzero.reshape(shape[0], -1)
        return Window.of(w.shape[2:], attrs).scatter(shape, per_tap)

    def synaptic_operations(
        self, inputs: Sequence[TensorType], attrs: Attrs, params: Mapping[str, TensorType]
    ) -> int:
        positions = math.prod(self.infer(inputs, attrs, params)[1:])
        return params["w"].size * positions
