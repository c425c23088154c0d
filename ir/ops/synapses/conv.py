"""Convolution over one or more spatial axes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from spikec.ir.op import EXPONENT, Gradients, Params, ParamSpec, Synapse, Value, expect
from spikec.ir.types import TensorType
from spikec.ir.windows import Sliding, convolve, convolve_back, correlate


@dataclass(frozen=True, slots=True)
class Conv(Sliding, Synapse):
    """`y = sum_k w[k] x[stride * i + dilation * k - pad] + b` (cross-correlation, ONNX Conv).

    x: (channels, *spatial); w: (out, channels / groups, *kernel); b: (out,).
    """

    groups: Annotated[int, "channel groups"] = 1

    params = {
        "w": ParamSpec("weights", "weight"),
        "b": ParamSpec("bias", "current", required=False),
        "exponent": EXPONENT,
    }

    def infer(
        self, inputs: Sequence[TensorType], params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        x, w, groups = inputs[0].shape, params["w"].shape, self.groups
        expect(len(w) >= 3 and len(x) == len(w) - 1, f"weights {list(w)} do not fit {list(x)}")
        expect(groups > 0 and w[0] % groups == 0, f"{w[0]} channels in {groups} groups")
        expect(x[0] == w[1] * groups, f"{x[0]} channels, but weights {list(w)} x {groups} groups")
        expect("b" not in params or params["b"].shape == w[:1], "bias must be (out channels,)")
        self.expect_exponent(params, w[:1])
        return (w[0], *self.window(w[2:]).output(x[1:]))

    def run(self, inputs: Sequence[Value], params: Params) -> Value:
        w = params["w"]
        y = convolve(inputs[0], w, self.window(w.shape[2:]), self.groups)
        return self.finished(y, params)

    def backward(self, gradient: Value, inputs: Sequence[Value], params: Params) -> Gradients:
        x, w = inputs[0], params["w"]
        window = self.window(w.shape[2:])
        return [convolve_back(gradient, w, window, self.groups, x.shape[2:])], {
            "w": correlate(gradient, x, window, self.groups).reshape(w.shape)
        }

    def scale_inputs(self, w: Value, factor: Value) -> Value:
        groups = self.groups
        side = np.repeat(factor.reshape(groups, -1), len(w) // groups, axis=0)
        return w * side.reshape(*w.shape[:2], *(1,) * (w.ndim - 2))

    def scale_outputs(self, w: Value, factor: Value) -> Value:
        return w * factor.reshape(-1, *(1,) * (w.ndim - 1))

    def by_output(self, w: Value) -> Value:
        return w.reshape(len(w), -1)

    def fan_out(self, shape: tuple[int, ...], w: Value) -> Value:
        groups = self.groups
        nonzero = (w != 0).reshape(groups, -1, *w.shape[1:]).sum(axis=1)
        per_tap = nonzero.reshape(shape[0], -1)
        return self.window(w.shape[2:]).scatter(shape, per_tap)

    def synaptic_operations(
        self, inputs: Sequence[TensorType], params: Mapping[str, TensorType]
    ) -> int:
        positions = math.prod(self.infer(inputs, params)[1:])
        return params["w"].size * positions
