"""Fully connected synapses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spikec.ir.op import EXPONENT, Gradients, Params, ParamSpec, Synapse, Value, expect
from spikec.ir.types import TensorType
from spikec.ir.windows import exact_matmul


@dataclass(frozen=True, slots=True)
class Dense(Synapse):
    """`y = w x + b`; x: (in,), w: (out, in), b: (out,)."""

    params = {
        "w": ParamSpec("weights", "weight"),
        "b": ParamSpec("bias", "current", required=False),
        "exponent": EXPONENT,
    }

    def infer(
        self, inputs: Sequence[TensorType], params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        x, w = inputs[0].shape, params["w"].shape
        expect(len(w) == 2 and x == w[1:], f"weights {list(w)} do not fit {list(x)}")
        expect("b" not in params or params["b"].shape == w[:1], "bias must be (out,)")
        self.expect_exponent(params, w[:1])
        return w[:1]

    def run(self, inputs: Sequence[Value], params: Params) -> Value:
        y = exact_matmul(inputs[0], params["w"].T)
        return self.finished(y, params)

    def backward(self, gradient: Value, inputs: Sequence[Value], params: Params) -> Gradients:
        return [gradient @ params["w"]], {"w": gradient.T @ inputs[0]}

    def scale_inputs(self, w: Value, factor: Value) -> Value:
        return w * factor

    def scale_outputs(self, w: Value, factor: Value) -> Value:
        return w * factor[:, None]

    def by_output(self, w: Value) -> Value:
        return w

    def fan_out(self, shape: tuple[int, ...], w: Value) -> Value:
        return (w != 0).sum(axis=0)

    def synaptic_operations(
        self, inputs: Sequence[TensorType], params: Mapping[str, TensorType]
    ) -> int:
        return params["w"].size
