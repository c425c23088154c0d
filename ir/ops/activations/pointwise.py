"""Nonlinear functions that no neuron computes directly."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, cast

import numpy as np

from spikec.ir.op import Op, Params, Value, expect
from spikec.ir.types import TensorType

Function = Callable[[Value, float], Value]


@cache
def _erf_table() -> tuple[Value, Value]:
    grid = np.linspace(0.0, 6.0, (1 << 16) + 1)
    return grid, np.array([math.erf(x) for x in grid])


def _erf(x: Value) -> Value:
    """Interpolated from a table, to 1e-9."""
    return np.sign(x) * np.interp(np.abs(x), *_erf_table())


def _sigmoid(x: Value) -> Value:
    y: Value = 0.5 * (1 + np.tanh(x / 2))
    return y


def _softplus(x: Value) -> Value:
    return np.logaddexp(x, 0)


def _elu(x: Value, alpha: float) -> Value:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _gelu_tanh(x: Value) -> Value:
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    return cast(Value, 0.5 * x * (1 + np.tanh(inner)))


def _power(x: Value, alpha: float) -> Value:
    return np.power(x, int(alpha) if float(alpha).is_integer() else alpha)


FUNCTIONS: dict[str, Function] = {
    "sigmoid": lambda x, a: _sigmoid(x),
    "tanh": lambda x, a: np.tanh(x),
    "elu": _elu,
    "softplus": lambda x, a: _softplus(x),
    "softsign": lambda x, a: x / (1 + np.abs(x)),
    "silu": lambda x, a: x * _sigmoid(a * x),
    "gelu": lambda x, a: x * 0.5 * (1 + _erf(x / math.sqrt(2))),
    "gelu_tanh": lambda x, a: _gelu_tanh(x),
    "mish": lambda x, a: x * np.tanh(_softplus(x)),
    "hard_swish": lambda x, a: x * np.clip(x / 6 + 0.5, 0, 1),
    "threshold": lambda x, a: np.where(x > a, x, 0),
    "erf": lambda x, a: _erf(x),
    "exp": lambda x, a: np.exp(x),
    "log": lambda x, a: np.log(x),
    "sqrt": lambda x, a: np.sqrt(x),
    "reciprocal": lambda x, a: 1 / x,
    "power": _power,
    "sin": lambda x, a: np.sin(x),
    "cos": lambda x, a: np.cos(x),
    "atan": lambda x, a: np.arctan(x),
    "sinh": lambda x, a: np.sinh(x),
    "asinh": lambda x, a: np.arcsinh(x),
    "floor": lambda x, a: np.floor(x),
    "ceil": lambda x, a: np.ceil(x),
    "round": lambda x, a: np.rint(x),
    "sign": lambda x, a: np.sign(x),
}
"""Function of (x, alpha) by name."""


def evaluate(fn: str, alpha: float, x: Value) -> Value:
    """`fn` at x in double precision; NaN or infinity outside its domain."""
    with np.errstate(all="ignore"):
        return FUNCTIONS[fn](x.astype(np.float64), alpha)


@dataclass(frozen=True, slots=True)
class Pointwise(Op):
    """`y = fn(x)` element by element, for functions without a direct spiking form.

    A pass replaces it by a fitted sum of rectifiers, or recognises a quantiser around it.
    """

    fn: Annotated[str, "name of the function"]
    alpha: Annotated[float, "parameter of elu, silu, threshold and power"] = 1.0

    stages = ("ann",)

    def infer(
        self, inputs: Sequence[TensorType], params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        fn = self.fn
        expect(fn in FUNCTIONS, f"unknown function '{fn}'")
        return inputs[0].shape

    def run(self, inputs: Sequence[Value], params: Params) -> Value:
        x = inputs[0]
        y = evaluate(self.fn, float(self.alpha), x)
        return y.astype(x.dtype)
