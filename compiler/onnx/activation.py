"""Activation functions that become neurons."""

import math

import numpy as np

from spikec.compiler.onnx.elementwise import scaled
from spikec.compiler.onnx.importer import OnnxNode, Tensor, lowers


@lowers("Relu")
def relu(node: OnnxNode) -> Tensor:
    """`max(x, 0)`."""
    return node.emit("relu", [node.tensor()])


@lowers("Clip")
def clip(node: OnnxNode) -> Tensor:
    """`min(max(x, lo), hi)`, bounds as attributes (opset < 11) or inputs."""
    return bounded(node, node.tensor(), _bound(node, "min", 1), _bound(node, "max", 2))


def _bound(node: OnnxNode, name: str, index: int) -> float:
    missing = -math.inf if name == "min" else math.inf
    if node.opset < 11:
        value = float(node.attr(name, missing))
    else:
        value = (
            float(np.asarray(node.constant(index)).reshape(-1)[0]) if node.has(index) else missing
        )
    limit = float(np.finfo(np.float32).max)
    if math.isnan(value):
        node.refuse(f"bound '{name}' is NaN")
    return missing if abs(value) >= limit else value


def bounded(node: OnnxNode, x: Tensor, lo: float, hi: float) -> Tensor:
    """`min(max(x, lo), hi)` as a shifted clip or relu; infinite bounds are none."""
    if lo >= hi:
        node.refuse(f"bounds [{lo}, {hi}] leave nothing")
    if math.isinf(lo) and math.isinf(hi):
        return x
    if math.isinf(lo):  # hi - relu(hi - x)
        return scaled(node, node.emit("relu", [scaled(node, x, -1.0, hi)]), -1.0, hi)
    shifted = scaled(node, x, 1.0, -lo) if lo else x
    if math.isinf(hi):
        y = node.emit("relu", [shifted])
    else:
        y = node.emit("clip", [shifted], {"hi": hi - lo})
    return scaled(node, y, 1.0, lo) if lo else y
