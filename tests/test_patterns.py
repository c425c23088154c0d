"""Arrangements of operators between layers of neurons, from ONNX to integers: right and equal."""

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import spikec

HALF = {"kernel_shape": [2, 2], "strides": [2, 2]}
STEPS = 16


class Net:
    """An ONNX graph under construction; calling it adds an operator and names its output."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(3)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def __call__(self, op: str, *inputs: str, **attributes) -> str:
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def constant(self, value, dtype=np.float32) -> str:
        name = f"k{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def weights(self, *shape: int) -> str:
        return self.constant(self.random.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:])))

    def conv(self, x: str, before: int, after: int, kernel: int = 3) -> str:
        bias = self.constant(self.random.normal(size=after) * 0.1)
        w = self.weights(after, before, kernel, kernel)
        return self("Conv", x, w, bias, pads=[kernel // 2] * 4)

    def relu(self, x: str) -> str:
        return self("Relu", x)

    def head(self, x: str, channels: int) -> str:
        flat = self("Flatten", self("GlobalAveragePool", x))
        return self("Gemm", flat, self.weights(4, channels), transB=1)

    def model(self, output: str) -> onnx.ModelProto:
        info = helper.make_tensor_value_info
        inputs = [info("x", TensorProto.FLOAT, ["N", 3, 8, 8])]
        outputs = [onnx.ValueInfoProto(name=output)]
        graph = helper.make_graph(self.nodes, "net", inputs, outputs, self.constants)
        opset = helper.make_opsetid("", 17)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=9)
        return onnx.shape_inference.infer_shapes(model)


def sum_of_trains(n: Net) -> str:
    a = n.relu(n.conv("x", 3, 6))
    b = n.relu(n.conv(a, 6, 6))
    return n.head(n.relu(n.conv(n("Add", a, b), 6, 6)), 6)


def input_and_convolution(n: Net) -> str:
    return n("Add", "x", n.conv(n.relu(n.conv("x", 3, 6)), 6, 3))


def concatenation(n: Net) -> str:
    a = n.relu(n.conv("x", 3, 6))
    both = n("Concat", n("AveragePool", a, **HALF), n("MaxPool", a, **HALF), axis=1)
    return n.head(n.relu(n.conv(both, 12, 6)), 6)


def trains_beside_the_input(n: Net) -> str:
    both = n("Concat", n.relu(n.conv("x", 3, 6)), "x", axis=1)
    return n.head(n.relu(n.conv(both, 9, 6)), 6)


def leaky_slope(n: Net) -> str:
    a = n("LeakyRelu", n.conv("x", 3, 6), alpha=0.1)
    return n.head(n("LeakyRelu", n.conv(a, 6, 6), alpha=0.1), 6)


def trained_slopes(n: Net) -> str:
    slopes = n.constant(np.linspace(-0.2, 0.4, 6).reshape(6, 1, 1))
    return n.head(n("PRelu", n.conv(n("PRelu", n.conv("x", 3, 6), slopes), 6, 6), slopes), 6)


def curve(n: Net) -> str:
    a = n.conv("x", 3, 6)
    return n.head(n.relu(n.conv(n("Mul", a, n("Sigmoid", a)), 6, 6)), 6)


def absolute_value(n: Net) -> str:
    return n.head(n.relu(n.conv(n("Abs", n.conv("x", 3, 6)), 6, 6)), 6)


def rectified_pooling(n: Net) -> str:
    a = n.relu(n("MaxPool", n.conv("x", 3, 6), **HALF))
    return n.head(n.relu(n("MaxPool", n.conv(a, 6, 6), **HALF)), 6)


def u_shape(n: Net) -> str:
    a = n.relu(n.conv("x", 3, 6))
    low = n.relu(n.conv(n("MaxPool", a, **HALF), 6, 8))
    up = n("ConvTranspose", low, n.weights(8, 6, 2, 2), strides=[2, 2])
    return n.conv(n.relu(n.conv(n("Concat", a, up, axis=1), 12, 6)), 6, 2, 1)


def difference(n: Net) -> str:
    a = n.relu(n.conv("x", 3, 6))
    return n.head(n.relu(n("Sub", n.conv(a, 6, 6), n.conv(a, 6, 6))), 6)


PATTERNS: list[Callable[[Net], str]] = [
    sum_of_trains, input_and_convolution, concatenation, trains_beside_the_input, leaky_slope,
    trained_slopes, curve, absolute_value, rectified_pooling, u_shape, difference,
]  # fmt: skip


def error(found: np.ndarray, wanted: np.ndarray) -> float:
    """Root mean square of the difference over the standard deviation."""
    spread = np.sqrt(np.mean((wanted - wanted.mean(axis=0)) ** 2))
    return float(np.sqrt(np.mean((found.reshape(wanted.shape) - wanted) ** 2)) / spread)


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.__name__)
def test_pattern(pattern):
    net = Net()
    model = net.model(pattern(net))
    x = np.random.default_rng(1).uniform(0, 1, (112, 3, 8, 8)).astype(np.float32)
    calib, test = x[:80], x[80:]
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (wanted,) = session.run(None, {"x": test})
    made = spikec.compile(model, calib=calib, timesteps=STEPS)
    real, whole = (error(made.run(test, stage=stage), wanted) for stage in ("float", "int"))
    assert real < 0.3
    assert whole < 1.5 * real + 0.05
    assert made.check(test[:3], engines=["reference", "fast", "onnx"])["equal"]
