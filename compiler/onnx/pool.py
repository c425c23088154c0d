"""Pooling."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikec.compiler.onnx.importer import OnnxNode, Tensor, lowers
from spikec.compiler.onnx.window import window_attrs
from spikec.ir.op import AttrValue
from spikec.ir.windows import window_of


@lowers("AveragePool")
def average_pool(node: OnnxNode) -> Tensor:
    """A sum over windows and a factor of 1 / count, which may differ at the border."""
    x = node.tensor()
    kernel = _kernel(node, x)
    attrs: dict[str, AttrValue] = {"kernel": kernel, **window_attrs(node, x.shape[1:], kernel)}
    total = node.emit("sum_pool", [x], attrs)
    return node.emit("affine", [total], params={"w": 1.0 / _counts(node, x, attrs)})


def _kernel(node: OnnxNode, x: Tensor) -> tuple[int, ...]:
    kernel = tuple(node.attr("kernel_shape", ()))
    if len(kernel) != len(x.shape) - 1 or not kernel:
        node.refuse(f"kernel {list(kernel)} does not fit an input of shape {list(x.shape)}")
    return kernel


def _counts(node: OnnxNode, x: Tensor, attrs: dict[str, AttrValue]) -> NDArray[Any]:
    """Elements that each window averages over, () where all windows agree."""
    window = window_of(attrs)
    rank = len(window.kernel)
    declared = list(node.attr("pads", (0,) * 2 * rank))
    if node.attr("auto_pad", "NOTSET") not in ("NOTSET", ""):
        declared = list(window.pads)
    ones = np.ones((1, 1, *x.shape[1:]), np.float32)
    if node.attr("count_include_pad", 0):
        # Padding counts, but the extra cells that ceil_mode reaches do not.
        widths = [(0, 0), (0, 0), *zip(declared[:rank], declared[rank:], strict=True)]
        ones = np.pad(ones, widths, constant_values=1)
        extra = [end - have for end, have in zip(window.pads[rank:], declared[rank:], strict=True)]
        attrs = {**attrs, "pads": (*(0,) * rank, *extra)}
    counts = sum(window_of(attrs).taps(ones))
    assert isinstance(counts, np.ndarray)
    if counts.min() == counts.max():
        counts = counts.reshape(-1)[:1]
    return np.asarray(np.maximum(counts[0], 1))


@lowers("GlobalAveragePool")
def global_average_pool(node: OnnxNode) -> Tensor:
    """The mean over all positions."""
    x = node.tensor()
    total = node.emit("sum_pool", [x], global_window(x))
    return node.emit("affine", [total], params={"w": np.asarray(1 / math.prod(x.shape[1:]))})


def global_window(x: Tensor) -> dict[str, AttrValue]:
    """A window over all positions."""
    rank = len(x.shape) - 1
    return {
        "kernel": x.shape[1:],
        "strides": (1,) * rank,
        "pads": (0,) * (2 * rank),
        "dilations": (1,) * rank,
    }


@lowers("MaxPool")
def max_pool(node: OnnxNode) -> Tensor:
    """Maxima over windows."""
    x = node.tensor()
    if len(node.proto.output) > 1 and node.proto.output[1]:
        node.refuse("the indices of the maxima are used", "they have no spiking form")
    kernel = _kernel(node, x)
    return node.emit("max_pool", [x], {"kernel": kernel, **window_attrs(node, x.shape[1:], kernel)})
