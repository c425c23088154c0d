"""Normalisation with fixed statistics."""

import numpy as np

from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.operators import lowers
from spikec.compiler.onnx.values import Tensor


@lowers("BatchNormalization")
def batch_norm(node: OnnxNode) -> Tensor:
    """`scale * (x - mean) / sqrt(var + epsilon) + B` per channel."""
    if node.attr("training_mode", 0):
        node.refuse("training_mode=1", "export the model in evaluation mode")
    if not node.attr("spatial", 1):
        node.refuse("spatial=0 (statistics per neuron) is not supported")
    x = node.tensor()
    gamma, beta, mean, var = (node.weights(i).astype(np.float64) for i in range(1, 5))
    if not x.shape or {a.shape for a in (gamma, beta, mean, var)} != {x.shape[:1]}:
        node.refuse(f"statistics do not fit a value of shape {list(x.shape)}")
    spread = var + float(node.attr("epsilon", 1e-5))
    if (spread <= 0).any():
        node.refuse("a variance plus epsilon is not positive")
    factor = gamma / np.sqrt(spread)
    return node.emit("affine", [x], params={"w": factor, "b": beta - mean * factor})
