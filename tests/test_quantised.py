"""Networks trained with quantisation stay what they are: their levels are the spikes' levels."""

from pathlib import Path

import numpy as np
import pytest
from onnx import helper, numpy_helper

import spikec
from spikec.compiler.onnx import import_model, load_model
from spikec.runtime.interpreter import forward

N = helper.make_node
QONNX = "qonnx.custom_op.general"
BREVITAS = sorted((Path(__file__).parent / "onnx" / "data").glob("brevitas*.onnx"))


def error(found, wanted):
    """Root mean square of the difference over the standard deviation."""
    return float(np.sqrt(np.mean((found - wanted) ** 2)) / wanted.std())


def binary_network():
    """Two layers of signs, on integers."""
    rng = np.random.default_rng(0)
    constants = {"w": rng.choice([-1, 1], (16, 32)), "v": rng.choice([-1, 1], (32, 32)),
                 "u": rng.normal(size=(32, 4)), "b": rng.normal(size=32), "s": [1.0]}  # fmt: skip
    nodes = [N("MatMul", ["x", "w"], ["a"]), N("BipolarQuant", ["a", "s"], ["p"], domain=QONNX),
             N("MatMul", ["p", "v"], ["c"]), N("Add", ["c", "b"], ["d"]),
             N("BipolarQuant", ["d", "s"], ["q"], domain=QONNX),
             N("MatMul", ["q", "u"], ["y"])]  # fmt: skip
    graph = helper.make_graph(
        nodes, "binary",
        [helper.make_tensor_value_info("x", 1, ["N", 16])],
        [helper.make_tensor_value_info("y", 1, ["N", 4])],
        [numpy_helper.from_array(np.asarray(a, np.float32), n) for n, a in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model, rng.integers(-4, 5, (150, 16)).astype(np.float32)


@pytest.mark.parametrize("schedule", ["synchronous", "layerwise"])
def test_a_binary_network_needs_one_step(schedule):
    model, x = binary_network()
    graph = import_model(load_model(model)[0]).require()
    want = forward(graph, {"x": x[90:]})[graph.outputs[0]]
    art = spikec.compile(model, x[:90], timesteps=1, schedule=schedule)
    assert error(art.run(x[90:], stage="float"), want) < 1e-5
    found = art.run(x[90:])
    assert error(found, want) < 0.02
    assert np.array_equal(found.argmax(axis=1), want.argmax(axis=1))


@pytest.mark.slow
@pytest.mark.parametrize("path", BREVITAS, ids=lambda path: path.stem)
def test_a_brevitas_network_is_its_own_layerwise_network(path):
    x = np.random.default_rng(0).uniform(0, 1, (60, 1, 28, 28)).astype(np.float32)
    art = spikec.compile(path, x[:40], timesteps=15, schedule="layerwise")
    graph = import_model(load_model(path)[0]).require()
    want = forward(graph, {graph.inputs[0].name: x[40:]})[graph.outputs[0]]
    assert error(art.run(x[40:], stage="float"), want) < 1e-4
    assert sum(node.type.dtype.kind == "spike" for node in art.graph if node.params) == 2
