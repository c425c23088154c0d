"""Convolution over one or more spatial axes."""

import math
from collections.abc import Mapping, Sequence
from typing import cast

from spikec.ir.op import Attr, Attrs, Op, Params, ParamSpec, Value, expect
from spikec.ir.types import TensorType, spread
from spikec.ir.windows import WINDOW, Window, convolve


class Conv(Op):
    """`y = sum_k w[k] x[stride * i + dilation * k - pad] + b` (cross-correlation, ONNX Conv).

    x: (channels, *spatial); w: (out, channels / groups, *kernel); b: (out,).
    """

    attrs = {**WINDOW, "groups": Attr(int, "channel groups", 1)}
    params = {"w": ParamSpec("weights"), "b": ParamSpec("bias", required=False)}
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
        return (w[0], *Window.of(w[2:], attrs).output(x[1:]))

    def run(self, inputs: Sequence[Value], attrs: Attrs, params: Params) -> Value:
        w = params["w"]
        y = convolve(inputs[0], w, Window.of(w.shape[2:], attrs), cast(int, attrs["groups"]))
        return y + spread(params["b"], y.shape[1:]) if "b" in params else y

    def synaptic_operations(
        self, inputs: Sequence[TensorType], attrs: Attrs, params: Mapping[str, TensorType]
    ) -> int:
        positions = math.prod(self.infer(inputs, attrs, params)[1:])
        return params["w"].size * positions
