"""Linear ops as ONNX operators: all steps of a value are one batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from spikec.backends.onnx.net import Net, Value, expect_exact_sum, integer
from spikec.backends.onnx.writer import DOUBLE, FLOAT, INT64
from spikec.ir import BackendError, Node, op_of
from spikec.ir.exact import LARGEST, magnitude, unbounded
from spikec.ir.op import Op
from spikec.ir.ops.routing.add import Add
from spikec.ir.ops.routing.concat import Concat
from spikec.ir.ops.routing.gather import Gather
from spikec.ir.ops.routing.pad import Pad
from spikec.ir.ops.routing.reduce_sum import ReduceSum
from spikec.ir.ops.routing.reshape import Reshape
from spikec.ir.ops.routing.slice import Slice
from spikec.ir.ops.routing.sum_pool import SumPool
from spikec.ir.ops.routing.transpose import Transpose
from spikec.ir.ops.routing.upsample import Upsample
from spikec.ir.ops.synapses.affine import Affine
from spikec.ir.ops.synapses.conv import Conv
from spikec.ir.ops.synapses.conv_transpose import ConvTranspose
from spikec.ir.ops.synapses.dense import Dense
from spikec.ir.types import Array
from spikec.ir.windows import Window

EXACT: dict[int, int] = {FLOAT: 1 << 24, DOUBLE: 1 << 53}
"""Up to where sums of integers are exact, in any order."""
_LOWEST = -(1 << 63)
Apply = Callable[[str, str, int], str]
"""(input, name of the result, element type) to the result of a float operator."""


def reshape(net: Net, node: Node) -> Value:
    """Reshape."""
    return _moved(net, node, "Reshape", net.out.shape(-1, *node.type.shape))


def transpose(net: Net, node: Node) -> Value:
    """Transpose."""
    perm = [0, *(axis + 1 for axis in op_of(node, Transpose).perm)]
    return _moved(net, node, "Transpose", perm=perm)


def concat(net: Net, node: Node) -> Value:
    """Concat."""
    values = net.inputs(node)
    types = {value.type for value in values}
    type_ = types.pop() if len(types) == 1 else INT64
    names = [net.cast(v, type_).name for v in values]
    axis = op_of(node, Concat).axis + 1
    return net.put(node, "Concat", names, values[0], type_, axis=axis)


def pad(net: Net, node: Node) -> Value:
    """Pad with zeros."""
    pads = op_of(node, Pad).pads
    rank = len(pads) // 2
    return _moved(net, node, "Pad", net.out.shape(0, *pads[:rank], 0, *pads[rank:]))


def gather(net: Net, node: Node) -> Value:
    """Gather along one axis."""
    op = op_of(node, Gather)
    indices = net.out.constant(f"{node.name}.indices", np.array(op.indices, np.int64))
    return _moved(net, node, "Gather", indices, axis=op.axis + 1)


def slice_(net: Net, node: Node) -> Value:
    """Slice."""
    op = op_of(node, Slice)
    stops = [a + n * s for a, n, s in zip(op.starts, op.sizes, op.steps, strict=True)]
    stops = [stop if stop >= 0 else _LOWEST for stop in stops]
    axes = range(1, len(stops) + 1)
    constants = [net.out.shape(*numbers) for numbers in (op.starts, stops, axes, op.steps)]
    return _moved(net, node, "Slice", *constants)


def upsample(net: Net, node: Node) -> Value:
    """Nearest-neighbour upsampling, as one Gather per axis."""
    (value,) = net.inputs(node)
    factors = [(axis, f) for axis, f in enumerate(op_of(node, Upsample).factors) if f != 1]
    if not factors:
        return net.put(node, "Identity", [value.name], value, value.type)
    shape = list(value.shape)
    for axis, factor in factors:
        indices = np.repeat(np.arange(shape[axis], dtype=np.int64), factor)
        shape[axis] *= factor
        chosen = net.out.constant(f"{node.name}.indices{axis}", indices)
        if (axis, factor) == factors[-1]:
            return net.put(node, "Gather", [value.name, chosen], value, value.type, axis=axis + 1)
        name = net.out.add("Gather", [value.name, chosen], f"{node.name}/{axis}", axis=axis + 1)
        value = Value(name, value.type, tuple(shape), value.timed)
    raise AssertionError


def add(net: Net, node: Node) -> Value:
    """Sum of integers."""
    values = net.inputs(node)
    type_ = integer(sum(net.bounds.reach(name) for name in node.inputs), node)
    names = [net.cast(value, type_).name for value in values]
    if len(names) == 1:
        return net.put(node, "Identity", names, values[0], type_)
    total = names[0]
    for index, name in enumerate(names[1:-1]):
        total = net.out.add("Add", [total, name], f"{node.name}/{index}")
    return net.put(node, "Add", [total, names[-1]], values[0], type_)


def affine(net: Net, node: Node) -> Value:
    """Element by element, in integers."""
    (value,) = net.inputs(node)
    largest = magnitude(net.whole_weights(node))
    reach = net.bounds.reach(node.inputs[0]) * largest + _most(net, node, "b")
    type_ = integer(reach, node)
    factors = [net.cast(value, type_).name, net.weights(node, type_)]
    if "b" not in node.params:
        return net.put(node, "Mul", factors, value, type_)
    product = net.out.add("Mul", factors, f"{node.name}/product")
    return net.put(node, "Add", [product, net.param(node, "b", type_)], value, type_)


def reduce_sum(net: Net, node: Node) -> Value:
    """Sum over whole axes, in integers."""
    (value,) = net.inputs(node)
    return _summed(net, node, value, op_of(node, ReduceSum).axes)


def sum_pool(net: Net, node: Node) -> Value:
    """A convolution with ones, or a sum over all positions."""
    (value,) = net.inputs(node)
    window, channels = op_of(node, SumPool).window, node.type.shape[0]
    if window.kernel == value.shape[1:] and not any(window.pads) and set(window.dilations) <= {1}:
        return _summed(net, node, value, tuple(range(1, len(value.shape))))
    ones = np.ones((channels, 1, *window.kernel), np.int64)
    return _convolution(net, node, "Conv", window, ones, ones.reshape(channels, -1), channels)


def conv(net: Net, node: Node) -> Value:
    """Conv in float, whose sums of integers are exact."""
    op, w = op_of(node, Conv), net.whole_weights(node)
    window = op.window(w.shape[2:])
    return _convolution(net, node, "Conv", window, w, w.reshape(len(w), -1), op.groups)


def conv_transpose(net: Net, node: Node) -> Value:
    """ConvTranspose in float, whose sums of integers are exact."""
    op, w = op_of(node, ConvTranspose), net.whole_weights(node)
    groups, window = op.groups, op.window(w.shape[2:])
    rows = op.by_output(w)
    extra = list(op.extra)
    for more, stride in zip(extra, op.strides, strict=True):
        if more >= stride:
            raise BackendError(
                f"%{node.name} adds {more} elements at the end; onnxruntime adds "
                f"fewer than the stride, {stride}",
                loc=node.loc,
            )
    return _convolution(net, node, "ConvTranspose", window, w, rows, groups, output_padding=extra)


def dense(net: Net, node: Node) -> Value:
    """MatMul in float or double, whose sums of integers are exact."""
    w = net.whole_weights(node)
    reach = _reach(w, *net.bounds.span(node.inputs[0]))
    type_ = FLOAT if reach <= EXACT[FLOAT] else DOUBLE

    def apply(x: str, name: str, type_: int) -> str:
        weights = net.out.constant(f"{node.name}.w", w.T.astype(_numpy(type_)), _of(net, node))
        return net.out.add("MatMul", [x, weights], name, **net.described(node))

    return _exact(net, node, w, type_, apply)


def _convolution(
    net: Net,
    node: Node,
    op: str,
    window: Window,
    w: Array,
    rows: Array,
    groups: int,
    **more: Any,
) -> Value:
    doc = _of(net, node) if "w" in node.params else "ones: sums over windows"
    weights = net.out.constant(f"{node.name}.w", w.astype(np.float32), doc)
    attributes = {
        "strides": list(window.strides),
        "pads": list(window.pads),
        "dilations": list(window.dilations),
        "group": groups,
        "kernel_shape": list(w.shape[2:]),
        **more,
    }

    def apply(x: str, name: str, type_: int) -> str:
        return net.out.add(op, [x, weights], name, **attributes, **net.described(node))

    return _exact(net, node, rows, FLOAT, apply)


def _exact(net: Net, node: Node, rows: Array, type_: int, apply: Apply) -> Value:
    """The integers that a float operator sums, plus the constant that the node adds.

    Args:
        net: The graph so far.
        node: A synapse, or a sum.
        rows: The weights of each output, (out, in).
        type_: Of the operator.
        apply: Adds the operator.
    """
    (x,) = net.inputs(node)
    span = net.bounds.span(node.inputs[0])
    constant = "b" in node.params
    result = integer(_reach(rows, *span) + _most(net, node, "b"), node)
    name = f"{node.name}/sum" if constant else node.name
    total = _digits(net, node, x, span, rows, type_, result, apply, name)
    if not constant:
        return Value(total, result, node.type.shape, x.timed)
    b = net.param(node, "b", result)
    return net.put(node, "Add", [total, b], x, result)


def _digits(
    net: Net,
    node: Node,
    x: Value,
    span: tuple[int, int],
    rows: Array,
    type_: int,
    result: int,
    apply: Apply,
    name: str,
) -> str:
    """Sum in float; where that is not exact, low and high bits of x one after the other."""
    if _reach(rows, *span) <= EXACT[type_]:
        total = apply(net.cast(x, type_).name, f"{name}/float", type_)
        return net.rounded(
            net.noted(Value(total, type_, node.type.shape, x.timed)), result, name
        ).name
    bits = int(EXACT[type_] // max(1, _reach(rows, 0, 1)) + 1).bit_length() - 1
    if bits < 1:
        raise BackendError(
            f"%{node.name} = {node.op} sums too many weights to be exact in float",
            loc=node.loc,
        )
    whole, base = net.cast(x, result), net.out.scalar(1 << bits, result)
    low = net.out.add("Mod", [whole.name, base], f"{name}/low")
    rest = net.out.add("Sub", [whole.name, low], f"{name}/rest")
    high = net.out.add("Div", [rest, base], f"{name}/high")
    parts = []
    spans = {low: (0, (1 << bits) - 1), high: (span[0] >> bits, span[1] >> bits)}
    for part, digits in spans.items():
        value = net.noted(Value(part, result, x.shape, x.timed))
        parts.append(_digits(net, node, value, digits, rows, type_, result, apply, f"{part}/sum"))
    shifted = net.out.add("Mul", [parts[1], base], f"{parts[1]}/shifted")
    return net.put(node, "Add", [parts[0], shifted], x, result, name[len(node.name) :]).name


def _reach(rows: Array, low: int, high: int) -> int:
    """Largest absolute partial sum of `rows @ x`, in any order, for low <= 0 <= high."""
    if magnitude(rows) * rows.shape[1] >= LARGEST:
        rows = unbounded(rows)
    positive, negative = rows.clip(min=0).sum(axis=1), -rows.clip(max=0).sum(axis=1)
    pairs = zip(positive.tolist(), negative.tolist(), strict=True)
    return max((max(p * high - n * low, n * high - p * low) for p, n in pairs), default=0)


def _summed(net: Net, node: Node, value: Value, axes: tuple[int, ...]) -> Value:
    """The sum over some axes, which stay with size 1."""
    number = math.prod(value.shape[axis] for axis in axes)
    type_ = integer(net.bounds.reach(node.inputs[0]) * number, node)
    if not axes:
        return net.put(node, "Identity", [net.cast(value, type_).name], value, type_)
    expect_exact_sum(net.bounds.reach(node.inputs[0]) * number, node)
    inputs = [net.cast(value, type_).name, net.out.shape(*(axis + 1 for axis in axes))]
    return net.put(node, "ReduceSum", inputs, value, type_, keepdims=1)


def _moved(net: Net, node: Node, op: str, *constants: str, **attributes: Any) -> Value:
    (value,) = net.inputs(node)
    return net.put(node, op, [value.name, *constants], value, value.type, **attributes)


def _most(net: Net, node: Node, role: str) -> int:
    return magnitude(net.array(node, role)) if role in node.params else 0


def _numpy(type_: int) -> type[np.floating]:
    return np.float32 if type_ == FLOAT else np.float64


def _of(net: Net, node: Node) -> str:
    return f"weights of {node.name}, {net.graph.params[node.params['w']].type}"


LOWERINGS: dict[type[Op], Callable[[Net, Node], Value]] = {
    Add: add,
    Affine: affine,
    Concat: concat,
    Conv: conv,
    ConvTranspose: conv_transpose,
    Dense: dense,
    Gather: gather,
    Pad: pad,
    ReduceSum: reduce_sum,
    Reshape: reshape,
    Slice: slice_,
    SumPool: sum_pool,
    Transpose: transpose,
    Upsample: upsample,
}
"""Linear ops and what adds their operators."""
