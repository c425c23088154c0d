"""QONNX: its quantisers, as brevitas exports them, and its channels-last operators."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.operators import folds, lowers
from spikec.compiler.onnx.operators.conv import convolution
from spikec.compiler.onnx.operators.elementwise import align, scaled
from spikec.compiler.onnx.operators.norm import normalised
from spikec.compiler.onnx.operators.pool import average_pool, maximum_pool
from spikec.compiler.onnx.operators.quantiser import quantised
from spikec.compiler.onnx.operators.shape import turned
from spikec.compiler.onnx.values import Constant, Grid, Tensor
from spikec.ir.op import Attrs

_DOMAINS = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")
_LAST = "qonnx.custom_op.channels_last"
_ROUND = {
    "ROUND": np.rint,
    "ROUND_HALF_EVEN": np.rint,
    "HALF_EVEN": np.rint,
    "FLOOR": np.floor,
    "CEIL": np.ceil,
}


def _bounds(node: OnnxNode) -> tuple[int, int]:
    """Smallest and largest integer of a Quant."""
    bits = node.scalar(3)
    if not bits.is_integer() or not 1 <= bits <= 32:
        node.refuse(f"a bit width of {bits}")
    signed, narrow, width = node.attr("signed", 1), node.attr("narrow", 0), int(bits)
    if signed:
        return -(1 << (width - 1)) + bool(narrow), (1 << (width - 1)) - 1
    return 0, (1 << width) - 1 - bool(narrow)


def quant(node: OnnxNode) -> Tensor:
    """`(clip(round(x / scale + zero), lo, hi) - zero) * scale` of data."""
    x = node.tensor()
    mode = node.attr("rounding_mode", "ROUND").upper()
    if _ROUND.get(mode) is not np.rint:
        node.refuse(f"rounding_mode '{mode}' of activations is not supported", "use ROUND")
    zero = node.weights(2)
    if (zero != np.rint(zero)).any():
        node.refuse("its zero point is not an integer")
    return replace(quantised(node, x, _grid(node, x), _bounds(node)), grid=None)


def _grid(node: OnnxNode, x: Tensor) -> Grid:
    """The grid of a Quant, whose scale and zero point broadcast to the data."""
    scale, zero = (align(node, node.weights(index), x.shape) for index in (1, 2))
    if (scale <= 0).any():
        node.invalid("a scale is not positive")
    if zero.size > 1:
        node.refuse("its zero points differ between channels")
    long = [axis for axis, size in enumerate(scale.shape) if size > 1]
    if len(long) > 1:
        node.refuse(f"scales of shape {list(scale.shape)} differ along several axes")
    scales = tuple(scale.reshape(-1).tolist())
    return Grid(scales, (int(zero),) * len(scales), long[0] if long else 0)


def bipolar_quant(node: OnnxNode) -> Tensor:
    """`scale * sign(x)` of data, where the sign of 0 is 1: a step of one level."""
    x = node.tensor()
    scale = align(node, node.weights(1), x.shape)
    attrs: Attrs = {"levels": 1, "shift": 1.0, "rounding": "floor"}
    step = node.emit("qcfs", [x], attrs, {"lambda": np.asarray(_STEP)})
    return scaled(node, step, 2 * scale / _STEP, -scale)


_STEP = 2.0**-6
"""Height of the step; a neuron of this threshold fires in every step as soon as x exceeds it."""


def fold_quant(node: OnnxNode) -> Constant:
    """The same of constants: weights as they are used."""
    mode = node.attr("rounding_mode", "ROUND").upper()
    if mode not in _ROUND:
        node.refuse(f"rounding_mode '{mode}' is unknown")
    x, scale, zero = (node.weights(index).astype(np.float64) for index in range(3))
    if (scale <= 0).any():
        node.invalid("a scale is not positive")
    integers = np.clip(_ROUND[mode](x / scale + zero), *_bounds(node))
    return ((integers - zero) * scale).astype(np.float32)


def fold_bipolar(node: OnnxNode) -> Constant:
    """`scale * sign(x)` of constants."""
    return np.where(node.weights(0) >= 0, node.weights(1), -node.weights(1))


for _domain in _DOMAINS:
    lowers("Quant", "IntQuant", domain=_domain, layouts="kept")(quant)
    folds("Quant", "IntQuant", domain=_domain)(fold_quant)
    lowers("BipolarQuant", domain=_domain, layouts="kept")(bipolar_quant)
    folds("BipolarQuant", domain=_domain)(fold_bipolar)


def _channels_first(node: OnnxNode) -> tuple[Tensor, tuple[int, ...]]:
    """The data with its channels first, and the order that puts them last again."""
    x = node.tensor()
    rank = len(x.shape)
    return turned(node, x, (rank - 1, *range(rank - 1))), (*range(1, rank), 0)


@lowers("Conv", domain=_LAST)
def conv_last(node: OnnxNode) -> Tensor:
    """Convolution of a channels-last value; of its weights the input channels come last."""
    x, back = _channels_first(node)
    bias = node.weights(2) if node.has(2) else None
    return turned(node, convolution(node, x, np.moveaxis(node.weights(1), -1, 1), bias), back)


@lowers("MaxPool", "AveragePool", domain=_LAST)
def pool_last(node: OnnxNode) -> Tensor:
    """Pooling of a channels-last value."""
    x, back = _channels_first(node)
    pool = maximum_pool if node.proto.op_type == "MaxPool" else average_pool
    return turned(node, pool(node, x), back)


@lowers("BatchNormalization", domain=_LAST)
def batch_norm_last(node: OnnxNode) -> Tensor:
    """Normalisation of a channels-last value."""
    x = node.tensor()
    return normalised(node, x, len(x.shape) - 1)
