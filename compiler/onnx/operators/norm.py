"""Normalisation with fixed statistics."""

import numpy as np

from spikec.compiler.onnx.layout import located
from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.operators import lowers
from spikec.compiler.onnx.operators.elementwise import scaled
from spikec.compiler.onnx.values import Tensor


@lowers("BatchNormalization", layouts="kept")
def batch_norm(node: OnnxNode) -> Tensor:
    """`scale * (x - mean) / sqrt(var + epsilon) + B` per channel."""
    x = node.tensor()
    x, (axis,) = located(node, x, [1])
    node.batch = x.batch
    return normalised(node, x, axis)


def normalised(node: OnnxNode, x: Tensor, axis: int) -> Tensor:
    """`x` normalised along an axis per sample, by the attributes of a node."""
    if node.attr("training_mode", 0):
        node.refuse("training_mode=1", "export the model in evaluation mode")
    if not node.attr("spatial", 1):
        node.refuse("spatial=0 (statistics per neuron) is not supported")
    gamma, beta, mean, var = (node.weights(i).astype(np.float64) for i in range(1, 5))
    if {a.shape for a in (gamma, beta, mean, var)} != {x.shape[axis : axis + 1]}:
        node.refuse(f"statistics do not fit a value of shape {list(x.shape)}")
    spread = var + float(node.attr("epsilon", 1e-5))
    if (spread <= 0).any():
        node.refuse("a variance plus epsilon is not positive")
    factor = gamma / np.sqrt(spread)
    shape = (-1,) if axis == 0 else tuple(-1 if a == axis else 1 for a in range(len(x.shape)))
    return scaled(node, x, factor.reshape(shape), (beta - mean * factor).reshape(shape))
