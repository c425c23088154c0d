"""Pooling."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from spikec.compiler.onnx.layout import batch_first, reshaped
from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.operators import lowers
from spikec.compiler.onnx.operators.reduce_window import max_over_axes
from spikec.compiler.onnx.operators.window import window_attrs
from spikec.compiler.onnx.values import Constant, Tensor
from spikec.ir.op import Attrs, AttrValue
from spikec.ir.ops.max_pool import MaxPool
from spikec.ir.ops.routing.concat import Concat
from spikec.ir.ops.routing.reshape import Reshape
from spikec.ir.ops.routing.sum_pool import SumPool
from spikec.ir.windows import Window


@lowers("AveragePool")
def average(node: OnnxNode) -> Tensor:
    """Means over windows."""
    return average_pool(node, node.tensor())


def average_pool(node: OnnxNode, x: Tensor) -> Tensor:
    """A sum over windows and a factor of 1 / count, which may differ at the border."""
    kernel = _kernel(node, x)
    attrs: dict[str, AttrValue] = {"kernel": kernel, **window_attrs(node, x.shape[1:], kernel)}
    window = SumPool.of(attrs).window
    total = node.emit("sum_pool", [x], attrs)
    return node.emit("affine", [total], params={"w": 1.0 / _counts(node, x, window)})


def _kernel(node: OnnxNode, x: Tensor) -> tuple[int, ...]:
    kernel: tuple[int, ...] = node.attr("kernel_shape", ())
    if len(kernel) != len(x.shape) - 1 or not kernel:
        node.refuse(f"kernel {list(kernel)} does not fit an input of shape {list(x.shape)}")
    return kernel


def _counts(node: OnnxNode, x: Tensor, window: Window) -> Constant:
    """Elements that each window averages over, () where all windows agree."""
    rank = len(window.kernel)
    declared = node.attr("pads", (0,) * 2 * rank)
    if node.attr("auto_pad", "NOTSET") not in ("NOTSET", ""):
        declared = window.pads
    counts = np.ones(())
    for axis, size in enumerate(x.shape[1:]):
        # With count_include_pad, pads count, but not the extra cells that ceil_mode reaches.
        begin, end = window.pads[axis], window.pads[axis + rank]
        inside = np.zeros(begin + size + end)
        if node.attr("count_include_pad", 0):
            inside[: begin + size + declared[axis + rank]] = 1
        else:
            inside[begin : begin + size] = 1
        out = window.output(x.shape[1:])[axis]
        taps = np.arange(out)[:, None] * window.strides[axis]
        taps = taps + np.arange(window.kernel[axis]) * window.dilations[axis]
        counts = counts[..., None] * inside[taps].sum(axis=1)
    counts = np.maximum(counts, 1)
    return counts.reshape(-1)[0] if (counts == counts.flat[0]).all() else counts[None]


@lowers("GlobalAveragePool")
def global_average(node: OnnxNode) -> Tensor:
    """The mean over all positions."""
    return global_average_pool(node, node.tensor())


def global_average_pool(node: OnnxNode, x: Tensor) -> Tensor:
    """The mean over all positions: a sum and a factor."""
    total = node.emit("sum_pool", [x], global_window(node, x))
    return node.emit("affine", [total], params={"w": np.asarray(1 / math.prod(x.shape[1:]))})


def global_window(node: OnnxNode, x: Tensor) -> dict[str, AttrValue]:
    """A window over all positions."""
    rank = len(x.shape) - 1
    if rank < 1:
        node.refuse(f"an input of shape {list(x.shape)} has no positions")
    return {
        "kernel": x.shape[1:],
        "strides": (1,) * rank,
        "pads": (0,) * (2 * rank),
        "dilations": (1,) * rank,
    }


@lowers("MaxPool", integers="kept", layouts="read")
def max_pool(node: OnnxNode) -> Tensor:
    """Maxima over windows."""
    x = node.tensor()
    if (x.batch or 0) > 1 and not node.scope.is_single:
        return max_over_axes(node)
    x = batch_first(node, x)
    if node.uses_output(1):
        node.refuse("the indices of the maxima are used", "they have no spiking form")
    return maximum_pool(node, x)


def maximum_pool(node: OnnxNode, x: Tensor) -> Tensor:
    """Maxima over windows, by the attributes of a node."""
    kernel = _kernel(node, x)
    return pooled(node, x, {"kernel": kernel, **window_attrs(node, x.shape[1:], kernel)})


def pooled(node: OnnxNode, x: Tensor, window: Attrs) -> Tensor:
    """Maxima over windows, before what joins channels or adds axes of size 1.

    Spikes that pass nothing else on their way to the maximum need no neuron in between.
    """
    source = node.builder.nodes[x.name]
    values = [Tensor(name, node.builder.nodes[name].type.shape) for name in source.inputs]
    if isinstance(source.operation, Concat) and source.operation.axis == 0:
        return node.emit("concat", [pooled(node, value, window) for value in values], {"axis": 0})
    if isinstance(source.operation, Reshape) and len(values[0].shape) > 1:
        moving = _moving_axes(x.shape, values[0].shape, MaxPool.of(window).window)
        if moving is not None:
            y = pooled(node, values[0], _on_axes(window, moving, len(x.shape) - 1))
            sizes = iter(y.shape[1:])
            spatial = (next(sizes) if a in moving else 1 for a in range(len(x.shape) - 1))
            return reshaped(node, y, (y.shape[0], *spatial))
    return node.emit("max_pool", [x], window)


def _moving_axes(
    shape: tuple[int, ...], before: tuple[int, ...], window: Window
) -> list[int] | None:
    """Spatial axes that a shape without the axes of size 1 keeps, None where others go too."""
    rank = len(window.kernel)
    settings = zip(
        window.kernel, window.strides, window.pads[:rank], window.pads[rank:], strict=True
    )
    still = [setting[0] == 1 and setting[2:] == (0, 0) for setting in settings]
    moving = [a for a in range(rank) if not (still[a] and shape[a + 1] == 1)]
    kept = (shape[0], *(shape[a + 1] for a in moving))
    return moving if len(moving) < rank and kept == before else None


def _on_axes(window: Attrs, axes: Sequence[int], rank: int) -> Attrs:
    """A window on some of its axes."""
    chosen: dict[str, AttrValue] = {}
    for key, values in window.items():
        assert isinstance(values, tuple)
        halves = (values[start : start + rank] for start in range(0, len(values), rank))
        chosen[key] = tuple(half[axis] for half in halves for axis in axes)
    return chosen


@lowers("GlobalMaxPool")
def global_max_pool(node: OnnxNode) -> Tensor:
    """The maximum over all positions."""
    x = node.tensor()
    return pooled(node, x, global_window(node, x))
