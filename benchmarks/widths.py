"""A small convolutional network of any width, with random weights."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def vgg(width: int) -> bytes:
    """Two 3x3 convolutions on 28x28, two of twice the width on 14x14, pooling, a classifier."""
    rng, nodes, weights = np.random.default_rng(0), [], []

    def tensor(name: str, *shape: int) -> str:
        fan = float(np.prod(shape[1:]))
        array = rng.normal(0, np.sqrt(2 / fan), shape).astype(np.float32)
        weights.append(numpy_helper.from_array(array, name))
        return name

    value, channels = "x", 1
    for i, out in enumerate((width, width, 2 * width, 2 * width)):
        w = tensor(f"w{i}", out, channels, 3, 3)
        nodes.append(
            helper.make_node(
                "Conv", [value, w], [f"c{i}"], f"conv{i}", kernel_shape=[3, 3], pads=[1, 1, 1, 1]
            )
        )
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"], f"relu{i}"))
        value, channels = f"r{i}", out
        if i % 2:
            nodes.append(
                helper.make_node(
                    "AveragePool",
                    [value],
                    [f"p{i}"],
                    f"pool{i}",
                    kernel_shape=[2, 2],
                    strides=[2, 2],
                )
            )
            value = f"p{i}"
    nodes.append(helper.make_node("Flatten", [value], ["f"], "flatten"))
    wd = tensor("wd", 10, channels * 49)
    nodes.append(helper.make_node("Gemm", ["f", wd], ["y"], "gemm", transB=1))
    graph = helper.make_graph(
        nodes,
        f"vgg{width}",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 28, 28])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
