"""Element-wise multiplication with and addition of constants."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from spikec.ir.exact import wide
from spikec.ir.op import (
    EXPONENT,
    Gradients,
    Params,
    ParamSpec,
    Synapse,
    Value,
    expect_spread,
    summed_to,
)
from spikec.ir.types import TensorType, spread


@dataclass(frozen=True, slots=True)
class Affine(Synapse):
    """`y = w x + b` element by element; BatchNorm, constant arithmetic, spike amplitudes.

    w and b are per tensor (), per channel (channels,) or broadcast to x. At stage int a
    one-to-one synapse.
    """

    one_to_one = True
    params = {
        "w": ParamSpec("factor", "weight"),
        "b": ParamSpec("offset", "current", required=False),
        "exponent": EXPONENT,
    }

    def infer(
        self, inputs: Sequence[TensorType], params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        expect_spread(params, inputs[0].shape)
        self.expect_exponent(params, inputs[0].shape[:1])
        return inputs[0].shape

    def run(self, inputs: Sequence[Value], params: Params) -> Value:
        x = inputs[0]
        y: Value = wide(x) * wide(spread(params["w"], x.shape[1:]))
        return self.finished(y, params)

    def backward(self, gradient: Value, inputs: Sequence[Value], params: Params) -> Gradients:
        w, shape = params["w"], gradient.shape[1:]
        return [gradient * spread(w, shape)], {"w": summed_to(gradient * inputs[0], w.shape)}

    def scale_inputs(self, w: Value, factor: Value) -> Value:
        return w * _spread(factor, w)

    def scale_outputs(self, w: Value, factor: Value) -> Value:
        return w * _spread(factor, w)

    def by_output(self, w: Value) -> Value:
        return w.reshape(len(w) if w.ndim else 1, -1)

    def fan_out(self, shape: tuple[int, ...], w: Value) -> Value:
        return np.broadcast_to(spread(w, shape) != 0, shape).astype(np.int64)

    def synaptic_operations(
        self, inputs: Sequence[TensorType], params: Mapping[str, TensorType]
    ) -> int:
        return inputs[0].size


def _spread(factor: Value, w: Value) -> Value:
    """A factor (channels,) beside weights that are () or (channels,), or have an axis for each."""
    return factor.reshape(-1, *(1,) * (w.ndim - 1)) if w.ndim > 1 else factor
