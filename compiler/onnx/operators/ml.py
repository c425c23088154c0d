"""The operators of ai.onnx.ml that scikit-learn's exporter puts around a network."""

from __future__ import annotations

import numpy as np

from spikec.compiler.onnx.grid import off_grid
from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.operators import lowers
from spikec.compiler.onnx.operators.elementwise import align, scaled
from spikec.compiler.onnx.operators.tail import cut
from spikec.compiler.onnx.values import Tensor

_ML = "ai.onnx.ml"


@lowers("Scaler", domain=_ML, integers="read")
def scaler(node: OnnxNode) -> Tensor:
    """`(x - offset) * scale`."""
    x = node.tensor()
    x = x if x.grid is None else off_grid(node, x)
    offset, scale = (np.array(node.floats(name), np.float64) for name in ("offset", "scale"))
    scale = align(node, scale if scale.size else np.ones(1), x.shape)
    offset = align(node, offset if offset.size else np.zeros(1), x.shape)
    return scaled(node, x, scale, -offset * scale)


@lowers("LinearRegressor", domain=_ML)
def linear_regressor(node: OnnxNode) -> Tensor:
    """A dense layer."""
    x = node.tensor()
    if node.attr("post_transform", "NONE") != "NONE" or len(x.shape) != 1:
        node.refuse("post_transform is not supported")
    targets = node.attr("targets", 1)
    w = np.array(node.floats("coefficients"), np.float32).reshape(targets, -1)
    params = {"w": w, "b": np.array(node.floats("intercepts") or (0.0,) * targets, np.float32)}
    return node.emit("dense", [x], params=params)


@lowers(
    *("ZipMap", "ArrayFeatureExtractor", "LabelEncoder", "Normalizer", "Binarizer"),
    domain=_ML,
    tail=True,
)
def label(node: OnnxNode) -> Tensor:
    """Cut off at the end of a network: what names and normalises the result."""
    return cut(node, node.tensors()[0])
