"""`--shape`: sizes that a model leaves open."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import spikec

N = helper.make_node


@pytest.fixture
def open_model(tmp_path):
    """A small convolutional network of any image size, and images."""
    rng = np.random.default_rng(0)
    constants = {"w": rng.normal(size=(4, 2, 3, 3)), "v": rng.normal(size=(4, 3))}
    nodes = [N("Conv", ["x", "w"], ["a"]), N("Relu", ["a"], ["b"]),
             N("GlobalAveragePool", ["b"], ["c"]), N("Flatten", ["c"], ["d"]),
             N("MatMul", ["d", "v"], ["y"])]  # fmt: skip
    graph = helper.make_graph(
        nodes, "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, "H", "W"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(a.astype(np.float32), n) for n, a in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "open.onnx")
    x = rng.uniform(0, 1, (24, 2, 7, 6)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x)
    return tmp_path / "open.onnx", tmp_path / "data.npz", x


def test_open_sizes_are_asked_for_and_can_be_given(open_model, cli, as_json, fails, tmp_path):
    model, data, _ = open_model
    assert "`--shape x=1,2,H,W`" in fails("inspect", model)
    layers = as_json("inspect", model, "--shape", "x=1,2,7,6")["layers"]
    assert layers[0]["shape"] == [2, 7, 6]
    code, _, err = cli("compile", model, "--calib", data, "-o", tmp_path / "out", "-q",
                       "--timesteps", "4", "--shape", "x=1,2,7,6")  # fmt: skip
    assert code == 0, err
    found = as_json("eval", tmp_path / "out", "--data", data, "--model", model)
    assert found["results"][0]["agreement"] > 0.5
    assert as_json("check", tmp_path / "out", "--data", data, "--model", model)["equal"]


def test_in_python(open_model):
    model, _, x = open_model
    art = spikec.compile(model, x, timesteps=2, shape={"x": (1, 2, 7, 6)})
    assert art.run(x).shape == (24, 3)
    assert art.stored.manifest["shapes"] == {"x": [1, 2, 7, 6]}


@pytest.mark.parametrize("text", ["x", "x=", "x=1,2,H,W", "=1,2", "x=1,-2,3"])
def test_other_text(text, open_model, fails):
    assert f"--shape {text}: write NAME=1,3,224,224" in fails(
        "inspect", open_model[0], "--shape", text
    )
