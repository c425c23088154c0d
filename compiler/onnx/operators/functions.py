"""Nonlinear functions without a direct spiking form, named or spelled out in arithmetic.

Exporters write SiLU, GELU, Mish and their kin as products of functions of one value. Such a
product is evaluated as a function of one number and recognised by its values.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.operators import lowers
from spikec.compiler.onnx.values import Tensor
from spikec.ir import Node, op_of
from spikec.ir.ops.activations.pointwise import Pointwise, evaluate

_GRID = np.linspace(-6.0, 6.0, 241)
_FARTHEST = 40
_Samples = NDArray[np.float64]

_NAMES = {
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Mish": "mish",
    "HardSwish": "hard_swish",
    "Erf": "erf",
    "Exp": "exp",
    "Sin": "sin",
    "Cos": "cos",
    "Atan": "atan",
    "Sinh": "sinh",
    "Asinh": "asinh",
    "Floor": "floor",
    "Ceil": "ceil",
    "Round": "round",
    "Sign": "sign",
    "Log": "log",
    "Sqrt": "sqrt",
    "Reciprocal": "reciprocal",
}


def pointwise(node: OnnxNode, x: Tensor, fn: str, alpha: float = 1.0) -> Tensor:
    """`fn(x)`."""
    return node.emit("pointwise", [x], {"fn": fn, "alpha": float(alpha)})


@lowers(*_NAMES, layouts="kept")
def named(node: OnnxNode) -> Tensor:
    """A function that ONNX names and the graph knows."""
    x, fn = node.tensor(), _NAMES[node.proto.op_type]
    if fn in ("log", "reciprocal", "sqrt"):
        return spelled(node, [x], lambda v: evaluate(fn, 1.0, v[0])) or pointwise(node, x, fn)
    return pointwise(node, x, fn)


@lowers("Elu", layouts="kept")
def elu(node: OnnxNode) -> Tensor:
    """`x` above 0, `alpha (exp(x) - 1)` below."""
    return pointwise(node, node.tensor(), "elu", node.attr("alpha", 1.0))


@lowers("Selu", layouts="kept")
def selu(node: OnnxNode) -> Tensor:
    """`gamma` times ELU."""
    alpha, gamma = node.attr("alpha", 1.6732632), node.attr("gamma", 1.0507010)
    return _times(node, pointwise(node, node.tensor(), "elu", alpha), gamma)


@lowers("Celu", layouts="kept")
def celu(node: OnnxNode) -> Tensor:
    """`alpha elu(x / alpha)`."""
    alpha = float(node.attr("alpha", 1.0))
    if alpha <= 0:
        node.refuse(f"alpha {alpha} must be above 0")
    return _times(node, pointwise(node, _times(node, node.tensor(), 1 / alpha), "elu"), alpha)


@lowers("ThresholdedRelu", layouts="kept")
def thresholded_relu(node: OnnxNode) -> Tensor:
    """`x` above alpha, 0 below: it jumps at alpha."""
    alpha, x = float(node.attr("alpha", 1.0)), node.tensor()
    return pointwise(node, x, "threshold", alpha) if alpha else node.emit("relu", [x])


@lowers("Gelu", layouts="kept")
def gelu(node: OnnxNode) -> Tensor:
    """Exact, or by tanh."""
    exact = node.attr("approximate", "none") == "none"
    return pointwise(node, node.tensor(), "gelu" if exact else "gelu_tanh")


@lowers("Gelu", "FastGelu", "BiasGelu", domain="com.microsoft", layouts="kept")
def microsoft_gelu(node: OnnxNode) -> Tensor:
    """GELU as onnxruntime's optimiser writes it."""
    if node.has(1):
        node.refuse("a fused bias is not supported", "export without optimisation")
    return pointwise(node, node.tensor(), "gelu_tanh" if node.key[1] == "FastGelu" else "gelu")


@lowers("QuickGelu", domain="com.microsoft", layouts="kept")
@lowers("Swish", layouts="kept")
def swish(node: OnnxNode) -> Tensor:
    """`x sigmoid(alpha x)`."""
    default = 1.702 if node.key[1] == "QuickGelu" else 1.0
    return pointwise(node, node.tensor(), "silu", node.attr("alpha", default))


@lowers("Pow", layouts="kept")
def power(node: OnnxNode) -> Tensor:
    """`x` to a constant power."""
    if node.constant(1).size != 1:
        node.refuse("its exponents differ between elements")
    exponent = node.scalar(1)
    if exponent == 1:
        return node.tensor()
    if exponent in (0, -math.inf, math.inf) or math.isnan(exponent):
        node.refuse(f"exponent {exponent} leaves nothing")
    return pointwise(node, node.tensor(), "power", exponent)


def product(node: OnnxNode, x: Tensor, y: Tensor) -> Tensor:
    """`x y`, where both are functions of one value that a known function combines."""
    if x == y:
        return spelled(node, [x], lambda v: v[0] ** 2) or pointwise(node, x, "power", 2.0)
    found = spelled(node, [x, y], lambda v: v[0] * v[1])
    if found is None:
        cube = _cubed(node, x, y)
        if cube is not None:
            return cube
        node.refuse(
            "a product of two values that both depend on the data has no spiking form",
            "gating and attention cannot be converted",
        )
    return found


def _cubed(node: OnnxNode, x: Tensor, y: Tensor) -> Tensor | None:
    """`x * x^n` as a power."""
    for base, other in ((x, y), (y, x)):
        made = node.builder.nodes[other.name]
        op = made.operation
        if isinstance(op, Pointwise) and op.fn == "power" and made.inputs == (base.name,):
            return pointwise(node, base, "power", op.alpha + 1)
    return None


def quotient(node: OnnxNode) -> Tensor:
    """`x / y`, where both are functions of one value that a known function combines."""
    y = node.tensor(1)
    if not node.is_constant(0):
        found = spelled(node, [node.tensor(0), y], lambda v: v[0] / v[1])
    elif node.constant(0).size == 1:
        top = node.scalar(0)
        found = spelled(node, [y], lambda v: top / v[0])
        found = found or _times(node, pointwise(node, y, "reciprocal"), top)
    else:
        found = None
    if found is None and _is_spread(node, y):
        node.refuse(
            "it divides by statistics of the data (a normalisation that is spelled out)",
            "train with BatchNormalization, whose statistics are constants",
        )
    if found is None:
        node.refuse("division by a value that depends on the data has no spiking form")
    return found


def _is_spread(node: OnnxNode, x: Tensor) -> bool:
    """Whether a value is a square root behind a sum over axes, as a standard deviation is."""
    made = node.builder.nodes
    chain = [made[name] for name in _ancestors(made, x.name)]
    roots = (n for n in chain if isinstance(n.operation, Pointwise) and n.operation.fn == "sqrt")
    return any(
        made[name].op in ("sum_pool", "reduce_sum")
        for root in roots
        for name in _ancestors(made, root.name)
    )


def _times(node: OnnxNode, x: Tensor, factor: float) -> Tensor:
    if factor == 1:
        return x
    return node.emit("affine", [x], params={"w": np.asarray(factor), "b": np.asarray(0.0)})


def spelled(
    node: OnnxNode, inputs: list[Tensor], combine: Callable[[list[_Samples]], _Samples]
) -> Tensor | None:
    """A known function that `combine(inputs)` is of some earlier value, or None."""
    made = node.builder.nodes
    chains = [_ancestors(made, x.name) for x in inputs]
    involved = sorted(set().union(*chains), key=list(made).index)
    for base in reversed([name for name in involved if all(name in chain for chain in chains)]):
        values = _values(node, [made[name] for name in involved], base)
        known = [values[x.name] for x in inputs if x.name in values]
        if len(known) < len(inputs):
            continue
        with np.errstate(all="ignore"):
            match = _recognise(combine(known))
        if match is not None:
            fn, alpha, factor = match
            start = Tensor(base, inputs[0].shape)
            return _times(node, pointwise(node, start, fn, alpha), factor)
    return None


def _ancestors(made: dict[str, Node], name: str) -> list[str]:
    """The value and the earlier ones that it is an element-wise function of, as far as needed."""
    found = [name]
    for each in found:
        if _is_elementwise(made[each]) and len(found) < _FARTHEST:
            found += [i for i in made[each].inputs if i not in found]
    return found


def _is_elementwise(node: Node) -> bool:
    return node.op in ("affine", "add", "relu", "clip", "pointwise")


def _values(node: OnnxNode, involved: list[Node], base: str) -> dict[str, _Samples]:
    """What each value is on the grid of `base`, where it depends on nothing else."""
    found: dict[str, _Samples] = {base: _GRID}
    for each in involved:
        inside = each.name not in found and _is_elementwise(each)
        if not inside or any(name not in found for name in each.inputs):
            continue
        params = {
            role: np.asarray(node.builder.params[param].array, np.float64)
            for role, param in each.params.items()
        }
        if all(param.ndim == 0 for param in params.values()):
            with np.errstate(all="ignore"):
                inputs = [found[name] for name in each.inputs]
                found[each.name] = op_of(each).run(inputs, params)
    return found


_PLAIN = ("sigmoid", "tanh", "softplus", "softsign", "gelu", "gelu_tanh", "mish", "hard_swish")


def _recognise(values: _Samples) -> tuple[str, float, float] | None:
    """Function, alpha and factor of the known function with these values on the grid."""
    if not np.isfinite(values).all() or not values.any():
        return None
    candidates = [(fn, 1.0) for fn in _PLAIN]
    candidates += [("silu", alpha) for alpha in _silu_alphas(values)]
    for fn, alpha in candidates:
        known = evaluate(fn, alpha, _GRID)
        factor = float(values @ known / (known @ known))
        if factor and np.allclose(values, factor * known, rtol=1e-4, atol=1e-4 * abs(factor)):
            near = round(factor, 5)
            return fn, alpha, near if abs(near - factor) < 1e-5 * abs(factor) else factor
    return None


def _silu_alphas(values: _Samples) -> list[float]:
    """The alphas for which `factor x sigmoid(alpha x)` has these values, as far as that is so."""
    one, other = values[np.isclose(_GRID, 1.0)][0], -values[np.isclose(_GRID, -1.0)][0]
    if one * other <= 0:
        return []
    alpha = math.log(one / other)
    near = round(alpha, 4)
    return [near if abs(near - alpha) < 1e-4 else alpha]
