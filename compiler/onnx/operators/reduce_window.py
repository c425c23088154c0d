"""Windows that slide over all axes, the batch and the channels included, as JAX pools.

The value has two axes of size 1 in front (batch and channel of the Conv or MaxPool); its own batch
and channels are spatial axes on which the window has one tap.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from spikec.compiler.onnx.layout import reshaped
from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.operators.elementwise import scaled
from spikec.compiler.onnx.operators.shape import turned
from spikec.compiler.onnx.operators.window import window_attrs
from spikec.compiler.onnx.values import Constant, Tensor
from spikec.ir.op import AttrValue


def sum_over_axes(node: OnnxNode, w: Constant, bias: Constant | None) -> Tensor:
    """A Conv with one channel and equal weights: a sum over windows."""
    if w.shape[:2] != (1, 1) or (w != w.flat[0]).any() or bias is not None:
        node.refuse("the batch is a spatial axis of the convolution", "keep it the first axis")
    y = _pooled(node, "sum_pool", w.shape[2:])
    factor = float(w.flat[0])
    return Tensor(scaled(node, Tensor(y.name, y.shape), factor, 0.0).name, y.shape, y.batch)


def max_over_axes(node: OnnxNode) -> Tensor:
    """A MaxPool with one channel."""
    return _pooled(node, "max_pool", node.attr("kernel_shape", ()))


def _pooled(node: OnnxNode, op: str, kernel: tuple[int, ...]) -> Tensor:
    x = node.tensor()
    if x.batch is None or x.shape[:2] != (1, 1) or x.grid is not None:
        node.refuse("the batch is a spatial axis of the window", "keep it the first axis")
    batch = x.batch - 2
    spatial = [*x.shape[2:]]
    spatial.insert(batch, node.scope.batch)
    window = {"kernel": kernel, **window_attrs(node, spatial, kernel)}
    channel = _still_axes(window)[-1:]
    if batch not in _still_axes(window) or channel in ([], [batch]):
        node.refuse("the window mixes samples of a batch")
    return _channels_first(node, op, x, window, batch, channel[0])


def _still_axes(window: dict[str, AttrValue]) -> list[int]:
    """Spatial axes that the window leaves as they are."""
    kernel, strides, pads = (
        cast("tuple[int, ...]", window[key]) for key in ("kernel", "strides", "pads")
    )
    rank = len(kernel)
    settings = zip(kernel, strides, pads[:rank], pads[rank:], strict=True)
    return [axis for axis, setting in enumerate(settings) if setting == (1, 1, 0, 0)]


def _channels_first(
    node: OnnxNode, op: str, x: Tensor, window: dict[str, AttrValue], batch: int, channel: int
) -> Tensor:
    inner = reshaped(node, Tensor(x.name, x.shape), x.shape[2:])
    rank, moved = len(inner.shape), channel - (channel > batch)
    front = (moved, *(axis for axis in range(rank) if axis != moved))
    attrs = {
        key: _without(cast("tuple[int, ...]", window[key]), {batch, channel}, rank + 1)
        for key in window
    }
    y = node.emit(op, [turned(node, inner, front)], attrs)
    y = turned(node, y, tuple(np.argsort(front).tolist()))
    y = reshaped(node, y, (1, 1, *y.shape))
    return Tensor(y.name, y.shape, x.batch)


def _without(values: tuple[int, ...], axes: set[int], rank: int) -> tuple[int, ...]:
    return tuple(value for index, value in enumerate(values) if index % rank not in axes)
