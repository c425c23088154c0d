"""Activation functions that are exact sums of rectifiers."""

import math
from dataclasses import replace

import numpy as np

from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.operators import lowers
from spikec.compiler.onnx.operators.elementwise import add_all, align, scaled, widened
from spikec.compiler.onnx.operators.quantiser import narrowed, rectified
from spikec.compiler.onnx.values import Tensor
from spikec.ir.ops.max_pool import MaxPool
from spikec.ir.ops.synapses.affine import Affine


@lowers("Relu", integers="read", layouts="kept")
def relu(node: OnnxNode) -> Tensor:
    """`max(x, 0)`."""
    x = node.tensor()
    if x.grid is not None and any(x.grid.zero):
        node.refuse("it rectifies integers that have a zero point")
    return replace(bounded(node, x, 0.0, math.inf), grid=x.grid)


@lowers("Clip", integers="read", layouts="kept")
def clip(node: OnnxNode) -> Tensor:
    """`min(max(x, lo), hi)`, bounds as attributes (opset < 11) or inputs."""
    x, lo, hi = node.tensor(), bound(node, "min", 1), bound(node, "max", 2)
    return bounded(node, x, lo, hi) if x.grid is None else narrowed(node, x, lo, hi)


def bound(node: OnnxNode, name: str, index: int) -> float:
    """A bound of Clip; infinite where it is missing or beyond all floats."""
    missing = -math.inf if name == "min" else math.inf
    if node.opset < 11:
        value = float(node.attr(name, missing))
    else:
        value = node.scalar(index) if node.has(index) else missing
    if math.isnan(value):
        node.refuse(f"bound '{name}' is NaN")
    limit = float(np.finfo(np.float32).max)
    nothing = value <= -limit if name == "min" else value >= limit
    return missing if nothing else value


def bounded(node: OnnxNode, x: Tensor, lo: float, hi: float) -> Tensor:
    """`min(max(x, lo), hi)`, merged with bounds that x already has; infinite bounds are none."""
    if not lo < hi:
        node.refuse(f"no value lies within [{lo}, {hi}]")
    if lo == 0 and (y := rectified(node, x, hi)) is not None:
        return y
    if lo == 0 and isinstance(node.builder.nodes[x.name].operation, MaxPool):
        return _rectified_before_pooling(node, x, hi)
    base, low, high = node.builder.bounds.get(x.name, (x, -math.inf, math.inf))
    if max(lo, low) >= min(hi, high):
        base, low, high = x, -math.inf, math.inf
    lo, hi = max(lo, low), min(hi, high)
    if (lo, hi) == (low, high):
        return x
    y = _clamped(node, replace(base, shape=x.shape), lo, hi)
    node.builder.bounds[y.name] = base, lo, hi
    return y


def _rectified_before_pooling(node: OnnxNode, x: Tensor, hi: float) -> Tensor:
    """`min(max(x, 0), hi)` of maxima over windows, bounds first: maxima of spikes are exact."""
    pool = node.builder.nodes[x.name]
    (name,) = pool.inputs
    inner = bounded(node, Tensor(name, node.builder.nodes[name].type.shape), 0.0, hi)
    if inner.name == name:
        return x
    return replace(x, name=node.emit("max_pool", [inner], pool.operation.attributes()).name)


_FAR = 1e4
"""Bounds beyond it are not shifted to 0, which would cost the precision of the values."""


def _clamped(node: OnnxNode, x: Tensor, lo: float, hi: float) -> Tensor:
    if math.isinf(lo) and math.isinf(hi):
        return x
    if -math.inf < lo < -_FAR:
        y = _clamped(node, x, -math.inf, hi)
        return add_all(node, [y, node.emit("relu", [scaled(node, y, -1.0, lo)])])
    if lo and _FAR < hi < math.inf:
        y = _clamped(node, x, lo, math.inf)
        over = node.emit("relu", [scaled(node, y, 1.0, -hi)])
        return add_all(node, [y, scaled(node, over, -1.0, 0.0)])
    if math.isinf(lo):  # hi - relu(hi - x)
        return scaled(node, node.emit("relu", [scaled(node, x, -1.0, hi)]), -1.0, hi)
    shifted = scaled(node, x, 1.0, -lo) if lo else x
    if math.isinf(hi):
        y = node.emit("relu", [shifted])
    else:
        y = node.emit("clip", [shifted], {"hi": hi - lo})
    return scaled(node, y, 1.0, lo) if lo else y


@lowers("Max", "Min", layouts="kept")
def extremum(node: OnnxNode) -> Tensor:
    """The larger or smaller of values and constants: `max(a, b) = b + relu(a - b)`."""
    largest = node.proto.op_type == "Max"
    tensors = widened(node, node.tensors())
    best = tensors[0]
    for index in range(len(node.proto.input)):
        if node.is_constant(index):
            best = _limited(node, best, index, largest)
    for other in tensors[1:]:
        if other != best:
            best = _larger(node, best, other) if largest else _smaller(node, best, other)
    return best


def _bent(node: OnnxNode, a: Tensor, b: Tensor, largest: bool) -> Tensor | None:
    """The larger or smaller of x and `slope x` as a rectifier with a slope, None for others."""
    for x, other in ((a, b), (b, a)):
        slope = _slope(node, x, other)
        if slope is not None and (slope < 1).all():
            return leaky(node, x, slope) if largest else _leaky_above(node, x, slope)
    return None


def _slope(node: OnnxNode, x: Tensor, y: Tensor) -> np.ndarray | None:
    """What `y` is `x` times, where it is nothing else."""
    made = node.builder.nodes[y.name]
    if not isinstance(made.operation, Affine) or made.inputs != (x.name,):
        return None
    w, b = (node.builder.params[made.params[role]].array for role in ("w", "b"))
    return None if w is None or b is None or b.any() else np.asarray(w)


def _leaky_above(node: OnnxNode, x: Tensor, slope: np.ndarray) -> Tensor:
    """`slope x` above 0, `x` below."""
    return add_all(node, [x, scaled(node, node.emit("relu", [x]), slope - 1.0, 0.0)])


def _limited(node: OnnxNode, x: Tensor, index: int, largest: bool) -> Tensor:
    constant = node.constant(index)
    if constant.size == 1 and constant.dtype.kind == "f" and np.isinf(constant).all():
        if (constant > 0).all() == largest:
            node.refuse("an infinite bound leaves nothing")
        return x
    limit = align(node, node.weights(index), x.shape)
    if limit.ndim == 0 and largest:
        return bounded(node, x, float(limit), math.inf)
    if limit.ndim == 0:
        return bounded(node, x, -math.inf, float(limit))
    sign = 1.0 if largest else -1.0
    excess = node.emit("relu", [scaled(node, x, sign, -sign * limit)])
    return scaled(node, excess, sign, limit)


def _larger(node: OnnxNode, a: Tensor, b: Tensor) -> Tensor:
    bent = _bent(node, a, b, largest=True)
    if bent is not None:
        return bent
    excess = node.emit("relu", [add_all(node, [a, scaled(node, b, -1.0, 0.0)])])
    return add_all(node, [b, excess])


def _smaller(node: OnnxNode, a: Tensor, b: Tensor) -> Tensor:
    bent = _bent(node, a, b, largest=False)
    if bent is not None:
        return bent
    excess = node.emit("relu", [add_all(node, [b, scaled(node, a, -1.0, 0.0)])])
    return add_all(node, [b, scaled(node, excess, -1.0, 0.0)])


@lowers("LeakyRelu", layouts="kept")
def leaky_relu(node: OnnxNode) -> Tensor:
    """`x` above 0, `alpha x` below."""
    return leaky(node, node.tensor(), np.asarray(float(node.attr("alpha", 0.01))))


@lowers("PRelu", layouts="kept")
def prelu(node: OnnxNode) -> Tensor:
    """`x` above 0, `slope x` below, with a slope per tensor, channel or neuron."""
    x, slope = node.tensor(), node.weights(1)
    if slope.ndim == 1 and x.shape[-1:] != slope.shape == x.shape[:1]:
        return leaky(node, x, slope)  # opset 6 and exporters that follow it: one per channel
    return leaky(node, x, align(node, slope, x.shape))


def leaky(node: OnnxNode, x: Tensor, slope: np.ndarray) -> Tensor:
    """`relu(x) - slope relu(-x)`: two trains, each with a synapse of its own.

    Not `slope x + (1 - slope) relu(x)`, whose x is no train and whose terms nearly cancel.
    """
    positive = node.emit("relu", [x])
    if not slope.any():
        return positive
    negative = node.emit("relu", [scaled(node, x, -1.0, 0.0)])
    return add_all(node, [positive, scaled(node, negative, -slope, 0.0)])


@lowers("Abs", layouts="kept")
def absolute(node: OnnxNode) -> Tensor:
    """`relu(x) + relu(-x)`."""
    x = node.tensor()
    negative = node.emit("relu", [scaled(node, x, -1.0, 0.0)])
    return add_all(node, [node.emit("relu", [x]), negative])


@lowers("HardSigmoid", layouts="kept")
def hard_sigmoid(node: OnnxNode) -> Tensor:
    """`max(0, min(1, alpha x + beta))`."""
    alpha, beta = float(node.attr("alpha", 0.2)), float(node.attr("beta", 0.5))
    return bounded(node, scaled(node, node.tensor(), alpha, beta), 0.0, 1.0)


@lowers("Shrink", layouts="kept")
def shrink(node: OnnxNode) -> Tensor:
    """Towards 0 by `bias`, and 0 between -lambd and lambd; the two must be equal."""
    x, bias, lambd = node.tensor(), float(node.attr("bias", 0.0)), float(node.attr("lambd", 0.5))
    if bias != lambd:
        node.refuse(f"it jumps: bias {bias} differs from lambd {lambd}", "use soft shrinking")
    above = node.emit("relu", [scaled(node, x, 1.0, -lambd)])
    below = node.emit("relu", [scaled(node, x, -1.0, -lambd)])
    return add_all(node, [above, scaled(node, below, -1.0, 0.0)])
