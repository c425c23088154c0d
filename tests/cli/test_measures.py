"""Outputs that are classes, and those that are numbers, each with a measure of its own."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import spikec
from spikec import UsageError
from spikec.driver.measures import (
    Output,
    accuracy,
    agreement,
    deviation,
    losses,
    outputs_of,
)
from spikec.driver.model import Model
from spikec.options import read_metrics

HEAD = Output("scores", (3,), "argmax", slice(0, 3))
PIXELS = Output("mask", (2, 1, 2), "argmax", slice(3, 7))
VALUE = Output("value", (1,), "relative", slice(7, 8))
OUTPUTS = [HEAD, PIXELS, VALUE]


def values(scores, pixels, value):
    return np.concatenate([np.eye(3)[scores], np.asarray(pixels, float), np.c_[value]], axis=1)


ANN = values([0, 1], [[1, 1, 0, 0], [0, 0, 1, 1]], [1.0, 3.0])
FOUND = values([0, 2], [[1, 0, 0, 1], [0, 0, 1, 1]], [1.5, 3.0])


def test_each_output_has_its_own_figures():
    head, mask, value = (out.result(FOUND, ANN) for out in OUTPUTS)
    assert (head.agreement, mask.agreement, value.agreement) == (0.5, 0.75, None)
    assert value.relative_error == pytest.approx(np.sqrt(0.125))
    assert (value.max_error, value.correlation) == (0.5, pytest.approx(1.0))
    assert [out.name for out in (head, mask, value)] == ["scores", "mask", "value"]


def test_a_sample_loses_classes_or_accuracy_of_its_numbers():
    assert losses(OUTPUTS, FOUND, ANN).tolist() == [(0 + 0.5 + 0.5) / 3, 1 / 3]
    assert losses([VALUE], ANN + 99, ANN).tolist() == [1.0, 1.0]
    assert agreement(OUTPUTS, FOUND, ANN) == (0.5 + 0.75) / 2
    assert agreement([VALUE], FOUND, ANN) is None


def test_labels_name_the_classes_of_the_one_output_that_has_them():
    assert accuracy(OUTPUTS, FOUND, np.array([0, 1])) == 0.5
    other = Output("again", (3,), "argmax", slice(0, 3))
    assert accuracy([HEAD, other], FOUND, np.array([0, 1])) is None
    assert accuracy([VALUE], FOUND, np.array([0, 1])) is None
    assert accuracy([HEAD], FOUND, None) is None


def test_the_deviation_of_an_output_that_hardly_varies_is_no_unit():
    wanted = np.full((4, 1), 10.0)
    assert deviation(wanted + 0.1, wanted) == pytest.approx(0.1 / 0.5)


def test_what_is_stated_of_outputs():
    assert read_metrics(["a=argmax", "b/c=relative"]) == {"a": "argmax", "b/c": "relative"}
    for wrong in ("a", "a=mean", "=argmax"):
        with pytest.raises(UsageError, match="OUTPUT=argmax or OUTPUT=relative"):
            read_metrics([wrong])


@pytest.fixture
def policy():
    """A stem with two heads: scores, and an action within bounds."""
    rng = np.random.default_rng(0)
    weights = {"a": (8, 4), "b": (3, 8), "c": (2, 8)}
    constants = [
        numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)
        for name, shape in weights.items()
    ]
    nodes = [
        helper.make_node("Gemm", ["x", "a"], ["h"], transB=1),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "b"], ["scores"], transB=1),
        helper.make_node("Gemm", ["r", "c"], ["free"], transB=1),
        helper.make_node("Tanh", ["free"], ["action"]),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "policy", [info("x", TensorProto.FLOAT, ["N", 4])],
        [info("scores", TensorProto.FLOAT, ["N", 3]), info("action", TensorProto.FLOAT, ["N", 2])],
        constants,
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def test_bounded_numbers_are_no_classes_unless_they_are_said_to_be(policy):
    ann = Model.load(policy)
    assert [out.metric for out in ann.outputs({})] == ["argmax", "relative"]
    assert [out.metric for out in ann.outputs({"action": "argmax"})] == ["argmax", "argmax"]
    with pytest.raises(UsageError, match="no output 'act' for a metric") as error:
        outputs_of(ann.graph, ann.imported.logits, {"act": "argmax"}, ann.graph)
    assert "action" in error.value.hint


def test_a_network_with_two_heads_through_all_commands(policy, tmp_path, cli, as_json):
    x = np.random.default_rng(1).uniform(0, 1, (96, 4)).astype(np.float32)
    data, model, out = tmp_path / "x.npz", tmp_path / "policy.onnx", tmp_path / "out"
    np.savez(data, x=x)
    onnx.save(policy, model)
    compiled = as_json("compile", model, "--calib", data, "--timesteps", 16, "-o", out)
    assert [loss["output"] for loss in compiled["loss"]["outputs"]] == ["scores", "action"]
    assert spikec.load(out).stored.manifest["metrics"] == {"scores": "argmax", "action": "relative"}
    predictions = tmp_path / "p.npz"
    assert cli("run", out, "--data", data, "-o", predictions)[0] == 0
    with np.load(predictions) as arrays:
        assert {name: a.shape for name, a in arrays.items()} == {
            "scores": (96, 3), "action": (96, 2)
        }  # fmt: skip
    (result,) = as_json("eval", out, "--data", data, "--model", model)["results"]
    scores, action = result["outputs"]
    assert scores["agreement"] == result["agreement"] > 0.8
    assert action["agreement"] is None
    assert 0 < action["relative_error"] < 0.5
    checked = as_json("check", out, "--data", data, "--model", model, "--metric", "scores=relative")
    assert [v["metric"] for v in checked["model"]["outputs"]] == ["relative", "relative"]
    assert checked["model"]["agreement"] is None
    code, text, _ = cli("eval", out, "--data", data, "--model", model)
    assert code == 0
    assert "action off by" in text
    assert cli("report", out)[0] == 0


def test_a_number_is_not_right_because_it_is_the_only_one(policy):
    """A network with one output and no classes needs as many steps as its error demands."""
    for node in policy.graph.node:
        if node.output[0] == "free":
            node.output[0] = "action"
    del policy.graph.node[2], policy.graph.node[3], policy.graph.output[0]
    x = np.random.default_rng(1).uniform(0, 1, (400, 4)).astype(np.float32)
    metric = {"action": "relative"}
    art = spikec.compile(policy, x, max_loss=0.15, metric=metric, progress=False)
    assert art.graph.steps > 1
    rough, *_, chosen = art.report.steps_tried[:1] + [
        row for row in art.report.steps_tried if row.timesteps == art.graph.steps
    ]
    assert rough.loss > 0.15 >= chosen.loss
    assert rough.agreement is None


# Networks of all kinds, small and with random weights


def network(kind):
    """A network with its inputs (name, shape) and its outputs (name, shape)."""
    rng = np.random.default_rng(3)
    image, constants = ("x", (2, 8, 8)), {}
    nodes = [helper.make_node("Conv", ["x", "stem"], ["c"], pads=[1] * 4),
             helper.make_node("Relu", ["c"], ["r"])]  # fmt: skip
    shapes = {"stem": (8, 2, 3, 3)}
    if kind == "regressor":
        shapes |= {"v": (1, 512)}
        nodes += [helper.make_node("Flatten", ["r"], ["f"]),
                  helper.make_node("Gemm", ["f", "v"], ["price"], transB=1)]  # fmt: skip
        outputs = {"price": (1,)}
    elif kind == "detector":
        shapes |= {"boxed": (4, 8, 1, 1), "classed": (3, 8, 1, 1)}
        constants = {"four": np.array([0, 64, 4]), "three": np.array([0, 64, 3])}
        for made, weights, size in (("boxes", "boxed", "four"), ("scores", "classed", "three")):
            nodes += [
                helper.make_node("Conv", ["r", weights], [f"{made}.map"]),
                helper.make_node("Transpose", [f"{made}.map"], [f"{made}.last"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"{made}.last", size], [made]),
            ]
        nodes.append(helper.make_node("Softmax", ["scores"], ["classes"], axis=-1))
        outputs = {"boxes": (64, 4), "classes": (64, 3)}
    elif kind == "segmenter":
        shapes |= {"pixels": (4, 8, 1, 1)}
        nodes += [helper.make_node("Conv", ["r", "pixels"], ["mask"])]
        outputs = {"mask": (4, 8, 8)}
    else:
        nodes += [helper.make_node("Flatten", ["r"], ["f"])]
        outputs = {f"digit{k}": (10,) for k in range(1, 6)}
        for name in outputs:
            shapes[f"{name}.w"] = (10, 512)
            nodes.append(helper.make_node("Gemm", ["f", f"{name}.w"], [name], transB=1))
    constants |= {
        name: (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        for name, shape in shapes.items()
    }
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, kind, [info("x", TensorProto.FLOAT, ["N", *image[1]])],
        [info(name, TensorProto.FLOAT, ["N", *shape]) for name, shape in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.mark.parametrize(
    ("kind", "metrics", "more"),
    [
        ("regressor", {"price": "relative"}, []),
        ("detector", {"boxes": "relative", "scores": "argmax"}, []),
        ("segmenter", {"mask": "relative"}, []),
        ("segmenter", {"mask": "argmax"}, ["--metric", "mask=argmax"]),
        ("captcha", {f"digit{k}": "argmax" for k in range(1, 6)}, []),
    ],
)
def test_networks_of_all_kinds_are_judged_by_output(kind, metrics, more, tmp_path, cli, as_json):
    x = np.random.default_rng(4).uniform(0, 1, (40, 2, 8, 8)).astype(np.float32)
    data, model, out = tmp_path / "x.npz", tmp_path / "m.onnx", tmp_path / "out"
    np.savez(data, x=x)
    onnx.save(network(kind), model)
    code, text, _ = cli("compile", model, "--calib", data, "--timesteps", 16, "-o", out, *more)
    assert code == 0
    assert all(name in text for name in metrics) == (len(metrics) > 1 or "relative" in str(metrics))
    (result,) = as_json("eval", out, "--data", data, "--model", model)["results"]
    found = {figures["name"]: figures for figures in result["outputs"]}
    assert {name: figures["metric"] for name, figures in found.items()} == metrics
    for figures in found.values():
        assert (figures["agreement"] or 1.0) > 0.7
        assert figures["correlation"] > 0.9
    assert cli("run", out, "--data", data, "-o", tmp_path / "p.npz")[0] == 0
    with np.load(tmp_path / "p.npz") as arrays:
        assert set(arrays) - {"logits"} == set(metrics)
    code, text, _ = cli("check", out, "--data", data, "--model", model, "--limit", 8)
    assert code == 0
    assert all(name in text for name in metrics) == (metrics != {"mask": "argmax"})
    assert cli("report", out)[0] == 0
    page = (out / "report.html").read_text()
    assert ("its numbers" in page) == ("relative" in metrics.values())
    assert ("its classes" in page) == ("argmax" in metrics.values() and len(metrics) > 1)


def test_classes_may_be_pointed_to(tmp_path, cli):
    x = np.random.default_rng(4).uniform(0, 1, (40, 2, 8, 8)).astype(np.float32)
    data, model, out = tmp_path / "x.npz", tmp_path / "m.onnx", tmp_path / "out"
    np.savez(data, x=x)
    onnx.save(network("segmenter"), model)
    assert cli("compile", model, "--calib", data, "-o", out, "-q")[0] == 0
    _, _, said = cli("eval", out, "--data", data, "--model", model)
    assert ("judged by their numbers: mask; where channels (of two axes the last one) are classes, "
            "say --metric mask=argmax") in said  # fmt: skip
    _, _, said = cli("eval", out, "--data", data, "--model", model, "--metric", "mask=argmax")
    assert "judged by their numbers" not in said


def test_labels_that_are_numbers_are_explained(files, fails, tmp_path):
    data = tmp_path / "y.npz"
    np.savez(data, x=np.load(files.calib)["x"], y=np.linspace(0, 1, 48))
    assert "outputs that are no classes are compared with the ANN's (--model)" in fails(
        "eval", files.out, "--data", data
    )
