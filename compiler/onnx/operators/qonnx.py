"""The quantisers of QONNX, as brevitas exports them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.operators import folds, lowers
from spikec.compiler.onnx.operators.quantize import grid_of, quantised
from spikec.compiler.onnx.values import Constant, Tensor

_DOMAINS = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")
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
    return replace(quantised(node, x, grid_of(node, x, 1), _bounds(node)), grid=None)


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
    lowers("Quant", "IntQuant", domain=_domain)(quant)
    folds("Quant", "IntQuant", domain=_domain)(fold_quant)
    folds("BipolarQuant", domain=_domain)(fold_bipolar)
