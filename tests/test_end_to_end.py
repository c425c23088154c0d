"""The main job on the bundled network and images, through the Python API."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import spikec
from spikec.ir import op_of, parse, same_values

MODEL = "fashion_resnet8.onnx"
IMAGES = 300


@pytest.fixture(scope="module")
def model(examples) -> Path:
    return examples / MODEL


@pytest.fixture(scope="module")
def art(model, images) -> spikec.Artifact:
    return spikec.compile(model, calib=images["x_calib"], timesteps=8, samples=96)


@pytest.fixture(scope="module")
def ann(model, images) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": images["x"][:IMAGES].astype(np.float32)})[0]


def accuracy(outputs, images) -> float:
    return float((outputs.argmax(axis=1) == images["y"][: len(outputs)]).mean())


def test_accuracy_is_within_two_points_of_the_ann(art, ann, images):
    logits = art.run(images["x"][:IMAGES])
    assert logits.shape == (IMAGES, 10)
    assert logits.dtype == np.float64
    assert accuracy(ann, images) > 0.9
    assert accuracy(logits, images) >= accuracy(ann, images) - 0.02
    assert (logits.argmax(axis=1) == ann.argmax(axis=1)).mean() > 0.93
    assert np.corrcoef(logits.reshape(-1), ann.reshape(-1))[0, 1] > 0.97


def test_the_ann_interpreter_is_onnxruntime(model, ann, images):
    from spikec.compiler.onnx import import_model, load_model
    from spikec.runtime.interpreter import forward

    graph = import_model(*load_model(model)).require()
    found = forward(graph, {graph.inputs[0].name: images["x"][:32].astype(np.float32)})
    assert np.allclose(found[graph.outputs[0]], ann[:32], atol=1e-3)


def test_the_integer_network_is_close_to_the_float_one(art, images):
    x = images["x"][:100]
    real, coded = art.run(x, stage="float"), art.run(x)
    assert (real.argmax(axis=1) == coded.argmax(axis=1)).mean() >= 0.95


def test_the_engines_are_one(art, images):
    found = art.check(images["x"][:3], engines=["reference", "fast"])
    assert found["equal"], found["first_difference"]
    assert sum(layer["spikes_compared"] for layer in found["layers"]) > 500_000
    x = images["x"][:3]
    assert (art.run(x, engine="reference") == art.run(x, engine="fast")).all()


def test_everything_in_the_integer_network_is_an_integer(art):
    for node in art.graph:
        roles = [role for role in node.params if not op_of(node).params[role].is_unit]
        for role in roles:
            assert art.graph.array(node, role).dtype.kind in "iu"
        assert node.type.dtype.is_integer


def test_the_python_interface(art, model, images, tmp_path):
    art.save(tmp_path / "out")
    again = spikec.load(tmp_path / "out")
    x = images["x"][:4]
    assert (again.run(x) == art.run(x)).all()
    assert (again.run({"image": x}) == art.run(x)).all()
    assert (again.run([x[:2], x[2:]]) == art.run(x)).all()
    assert parse(art.graph.to_text()) == art.graph
    assert same_values(spikec.ir.parse(art.graph.to_text(values=True)), art.graph)
    assert art.run(x, timesteps=1).shape == (4, 10)
    for wrong in (0, -1):
        with pytest.raises(spikec.UsageError, match="timesteps must be at least 1"):
            art.run(x, timesteps=wrong)
    with pytest.raises(spikec.UsageError, match="did you mean timesteps"):
        spikec.compile(model, x, step=3)
    with pytest.raises(spikec.UsageError, match="timesteps must be at least 1"):
        spikec.compile(model, x, timesteps=0)
    with pytest.raises(spikec.InvalidData, match="the model expects"):
        art.run(x[:, 0])
    with pytest.raises(spikec.BackendError, match="unknown engine"):
        art.run(x, engine="brian")


def test_models_come_as_path_bytes_or_proto(model, images):
    sources = [model, str(model), model.read_bytes(), onnx.load(model)]
    settings = {"timesteps": 2, "samples": 8, "dni": "off", "snm": "off"}
    arts = [spikec.compile(s, calib=images["x_calib"], **settings) for s in sources]
    x = images["x"][:8]
    for art in arts[1:]:
        assert (art.run(x) == arts[0].run(x)).all()
        assert art.stored.manifest["model"]["sha256"] == arts[0].stored.manifest["model"]["sha256"]


def test_calibration_data_come_in_three_ways(model, images):
    x = images["x_calib"][:8]
    settings = {"timesteps": 2, "dni": "off", "snm": "off"}
    ways = [x, {"image": x}, [x[:3], x[3:]], ({"image": b} for b in (x[:3], x[3:]))]
    graphs = [spikec.compile(model, calib=way, **settings).graph for way in ways]
    assert all(same_values(graph, graphs[0]) for graph in graphs[1:])


def digest(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*")) if p.is_file()
    }  # fmt: skip


def test_the_same_inputs_give_the_same_bytes(model, images, tmp_path):
    for name in ("a", "b"):
        art = spikec.compile(model, calib=images["x_calib"], timesteps=4, samples=32, seed=7)
        art.save(tmp_path / name)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")


SWITCHES = [
    {"dni": "off"},
    {"dni": "half"},
    {"snm": "off"},
    {"snm": "on"},
    {"dni": "off", "snm": "off", "bias_correction": "off"},
    {"threshold": "per-layer"},
    {"weight_bits": 4},
    {"pass_pipeline": "fold,relay,observe,qcfs{percentile=99.9 v0=zero},quantise"},
]


@pytest.mark.parametrize("switches", SWITCHES, ids=lambda s: " ".join(map(str, s.values())))
def test_switches(model, images, switches):
    art = spikec.compile(model, calib=images["x_calib"], timesteps=4, samples=24, **switches)
    ops = {node.op for node in art.graph}
    if switches.get("snm") == "on":
        assert "integrate" not in ops
    if switches.get("snm") == "off":
        assert "integrate_signed" not in ops
    for node in art.graph:
        if switches.get("weight_bits") == 4 and op_of(node).weighted:
            assert np.abs(art.graph.array(node, "w")).max() <= 7
    if "threshold" in switches:
        for node in art.stored.float_graph:
            if op_of(node).neuron:
                assert np.ptp(art.stored.float_graph.array(node, "theta")) < 1e-4
    logits = art.run(images["x"][:100])
    assert np.isfinite(logits).all()
    assert art.check(images["x"][:1])["equal"]
    if "off" not in switches.values() and "pass_pipeline" not in switches:
        assert accuracy(logits, images) > (0.6 if switches.get("weight_bits") else 0.8)


def test_each_mechanism_pays(model, images):
    """What the conversion promises: calibrated thresholds and potentials beat the baseline."""
    x = images["x"][:150]

    def score(**settings):
        art = spikec.compile(model, calib=images["x_calib"], timesteps=4, samples=48, **settings)
        return accuracy(art.run(x), images)

    usual = score(pass_pipeline="fold,relay,observe,qcfs{percentile=99.9 v0=zero},quantise")
    assert score() > usual + 0.05


def test_more_steps_are_better(model, images):
    x = images["x"][:150]
    scores = []
    for steps in (1, 8):
        art = spikec.compile(model, calib=images["x_calib"], timesteps=steps, samples=32)
        scores.append(accuracy(art.run(x), images))
    assert scores[1] > scores[0]


@pytest.mark.slow
def test_a_network_trained_with_qcfs(examples, images):
    path = examples / "fashion_qcfs_vgg.onnx"
    art = spikec.compile(path, calib=images["x_calib"], timesteps=4, samples=64)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    x = images["x"][:IMAGES]
    reference = session.run(None, {"image": x.astype(np.float32)})[0]
    assert accuracy(art.run(x), images) >= accuracy(reference, images) - 0.02
    assert art.check(x[:1])["equal"]


@pytest.mark.slow
def test_accuracy_on_all_images(model, images):
    art = spikec.compile(model, calib=images["x_calib"], timesteps=8)
    assert accuracy(art.run(images["x"]), images) >= 0.937 - 0.01


def test_layers_are_reported_by_their_onnx_nodes(art, model):
    names = {node.name for node in onnx.load(model).graph.node}
    for layer in art.report.layers:
        assert layer.onnx_node in names, layer
    json.dumps(art.report.to_json(), allow_nan=False)
