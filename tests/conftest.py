"""What several tests share: the bundled examples, tiny ONNX models and tiny graphs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, settings
from onnx import TensorProto, helper, numpy_helper

import spikec
from spikec.backends import BACKENDS, Engine, Simulate

settings.register_profile(
    "spikec",
    deadline=None,
    derandomize=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("spikec")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run a file's tests in one process, and all of Lava's: they look for what others leave."""
    for item in items:
        lava = item.get_closest_marker("lava") is not None or "lava" in item.path.name
        item.add_marker(pytest.mark.xdist_group("lava" if lava else str(item.path)))


EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="session")
def examples() -> Path:
    return EXAMPLES


@pytest.fixture(scope="session")
def images() -> dict[str, np.ndarray]:
    """The bundled images: x_calib, x, y."""
    with np.load(EXAMPLES / "fashion_mnist_small.npz", allow_pickle=False) as archive:
        return dict(archive)


def make_tiny_onnx(seed: int = 0) -> onnx.ModelProto:
    """(N, 2, 6, 6) -> Conv -> Relu -> (residual Conv) -> Relu -> MaxPool -> Gemm -> (N, 3)."""
    rng = np.random.default_rng(seed)

    def weights(name: str, *shape: int) -> TensorProto:
        fan = np.prod(shape[1:]) if len(shape) > 1 else 4
        values = rng.normal(0, 1 / np.sqrt(fan), shape).astype(np.float32)
        return numpy_helper.from_array(values, name)

    initializers = [
        weights("w1", 4, 2, 3, 3), weights("b1", 4),
        weights("w2", 4, 4, 3, 3), weights("b2", 4),
        weights("w3", 3, 36), weights("b3", 3),
    ]  # fmt: skip
    same = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], "conv1", **same),
        helper.make_node("Relu", ["c1"], ["a1"], "relu1"),
        helper.make_node("Conv", ["a1", "w2", "b2"], ["c2"], "conv2", **same),
        helper.make_node("Add", ["c2", "a1"], ["s2"], "add2"),
        helper.make_node("Relu", ["s2"], ["a2"], "relu2"),
        helper.make_node("MaxPool", ["a2"], ["p2"], "pool2", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p2"], ["f2"], "flatten"),
        helper.make_node("Gemm", ["f2", "w3", "b3"], ["logits"], "gemm", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, 6, 6])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="session")
def tiny_onnx() -> Callable[..., onnx.ModelProto]:
    return make_tiny_onnx


@pytest.fixture(scope="session")
def tiny_data() -> np.ndarray:
    """48 inputs of the tiny model in 0..1."""
    return np.random.default_rng(1).random((48, 2, 6, 6), np.float32)


@pytest.fixture(scope="session")
def tiny_artifact(tiny_data: np.ndarray) -> spikec.Artifact:
    """The tiny model compiled for T = 4. Do not change it."""
    return spikec.compile(make_tiny_onnx(), tiny_data, timesteps=4, samples=32)


@pytest.fixture
def register_engine(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Simulate], None]:
    """Registers a function as an engine, for one test."""

    def register(name: str, simulate: Simulate) -> None:
        kind = type(name, (Engine,), {"name": name, "simulate": staticmethod(simulate)})
        monkeypatch.setitem(BACKENDS, name, kind)

    return register


@pytest.fixture
def graph_text() -> str:
    """A small integer graph with values."""
    return INT_GRAPH


INT_GRAPH = """\
graph @tiny <stage=int, steps=4> {
  param @x.scale : f64[] = 0.5
  param @x.offset : f64[] = 0.0
  param @c.w : i8[2,1,2,2] = [[[[1, -2], [3, 4]]], [[[5, 0], [-7, 8]]]]
  param @n.theta : i24[2] = [10, 20]
  param @n.v0 : i24[] = 5
  param @d.w : i8[2,8] = [[1, 1, 1, 1, -1, -1, -1, -1], [0, 2, 0, 2, 0, 2, 0, 2]]
  param @o.bias : i24[2] = [1, -1]
  %x : u8[1,3,3] = input() <scale=@x.scale, offset=@x.offset> from "image"
  %c : i24[2,2,2] = conv(%x) <w=@c.w, strides=[1, 1], pads=[0, 0, 0, 0], dilations=[1, 1], groups=1>
  %n : spike[2,2,2] = integrate(%c) <theta=@n.theta, v0=@n.v0> from "Relu_1"
  %f : spike[8] = reshape(%n) <shape=[8]>
  %d : i24[2] = dense(%f) <w=@d.w> from "Gemm_2"
  %o : i24[2] = accumulate(%d) <bias=@o.bias>
  return %o
}
"""
