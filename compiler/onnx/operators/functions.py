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
from spikec.compiler.onnx.products import refuse_product
from spikec.compiler.onnx.values import Tensor
from spikec.ir import Node, op_of
from spikec.ir.op import Op
from spikec.ir.ops.activations.clip import Clip
from spikec.ir.ops.activations.pointwise import Pointwise, evaluate
from spikec.ir.ops.activations.relu import Relu
from spikec.ir.ops.routing.add import Add
from spikec.ir.ops.routing.reduce_sum import ReduceSum
from spikec.ir.ops.routing.sum_pool import SumPool
from spikec.ir.ops.synapses.affine import Affine

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
    known = spelled(node, [x, y], lambda v: v[0] * v[1]) or _cubed(node, x, y)
    if known is None:
        refuse_product(node, x, y)
    return known


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
        known = spelled(node, [node.tensor(0), y], lambda v: v[0] / v[1])
    elif node.constant(0).size == 1:
        top = node.scalar(0)
        known = spelled(node, [y], lambda v: top / v[0])
        known = known or _times(node, pointwise(node, y, "reciprocal"), top)
    else:
        known = None
    if known is None and _is_spread(node, y):
        node.refuse(
            "it divides by statistics of the data (a normalisation that is spelled out)",
            "train with BatchNormalization, whose statistics are constants",
        )
    if known is None:
        node.refuse("division by a value that depends on the data has no spiking form")
    return known


def is_length(node: OnnxNode, y: Tensor, x: Tensor) -> bool:
    """Whether `y` is the length of `x`, bounded from below or not, repeated for each element.

    A standard deviation is no length: its mean has a factor.
    """
    ops: list[Op] = []
    source = node.builder.nodes[y.name]
    while source.name != x.name and len(source.inputs) == 1 and len(ops) < _FARTHEST:
        if isinstance(source.operation, Affine):
            w = node.builder.params[source.params["w"]].array
            if w is None or (w != 1).any():
                return False
        ops.append(source.operation)
        source = node.builder.nodes[source.inputs[0]]
    functions = [(op.fn, op.alpha) for op in ops if isinstance(op, Pointwise)]
    sums = [op for op in ops if isinstance(op, ReduceSum | SumPool)]
    within = source.name == x.name and len(sums) == 1
    return within and functions == [("sqrt", 1.0), ("power", 2.0)]


def _is_spread(node: OnnxNode, x: Tensor) -> bool:
    """Whether a value is a square root behind a sum over axes, as a standard deviation is."""
    made = node.builder.nodes
    chain = [made[name] for name in _ancestors(made, x.name)]
    roots = (n for n in chain if isinstance(n.operation, Pointwise) and n.operation.fn == "sqrt")
    return any(
        isinstance(made[name].operation, SumPool | ReduceSum)
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
    involved = sorted(set().union(*chains), key=node.builder.order.__getitem__)
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
    chain = [name]
    for later in chain:  # grows while it is gone through
        if _is_elementwise(made[later]) and len(chain) < _FARTHEST:
            chain += [earlier for earlier in made[later].inputs if earlier not in chain]
    return chain


def _is_elementwise(node: Node) -> bool:
    return isinstance(node.operation, Affine | Add | Relu | Clip | Pointwise)


def _values(node: OnnxNode, involved: list[Node], base: str) -> dict[str, _Samples]:
    """What each value is on the grid of `base`, where it depends on nothing else."""
    samples: dict[str, _Samples] = {base: _GRID}
    for made in involved:
        inside = made.name not in samples and _is_elementwise(made)
        if not inside or any(name not in samples for name in made.inputs):
            continue
        params = {
            role: np.asarray(node.builder.params[param].array, np.float64)
            for role, param in made.params.items()
        }
        if all(param.ndim == 0 for param in params.values()):
            with np.errstate(all="ignore"):
                inputs = [samples[name] for name in made.inputs]
                samples[made.name] = op_of(made).run(inputs, params)
    return samples


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
