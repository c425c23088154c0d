"""Single options of passes and layers, and recipes that make the same network again."""

import json
import shlex

import numpy as np
import pytest

import spikec
from spikec.cli import main
from spikec.ir import same_values
from spikec.options import Options, read_recipe


def names_of(**settings):
    return [str(part) for step in Options.of(settings).passes() for part in step.parts]


def test_one_option_of_one_pass_is_set():
    plain, changed = names_of(), names_of(set=["dni.samples=8192", "observe.bins=64"])
    differing = [(a, b) for a, b in zip(plain, changed, strict=True) if a != b]
    assert differing == [("observe", "observe{bins=64}"), ("dni", "dni{samples=8192}")]
    assert names_of(set={"dni.samples": 8192, "observe.bins": 64}) == changed
    assert "observe{bins=64}" in names_of(pass_pipeline="observe,qcfs", set=["observe.bins=64"])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("dni.samples", "--set takes PASS.OPTION=VALUE, such as dni.samples=8192, not 'dni.sam"),
        ("dni=3", "--set takes PASS.OPTION=VALUE"),
        ("dnj.samples=3", "the pipeline has no pass 'dnj'\n  hint: did you mean dni?"),
        ("dni.sample=3", "pass 'dni' has no option 'sample'\n  hint: did you mean samples?"),
        ("dni.samples=many", "option 'samples' of pass 'dni' must be an integer, not 'many'"),
        ("layer:conv1.theta=3", "a layer's own option is weight_bits\n  hint: not theta"),
    ],
)
def test_what_cannot_be_set_is_refused_before_any_work(setting, message):
    with pytest.raises(spikec.SpikecError) as raised:
        spikec.compile(b"never read", set=[setting])
    assert message in str(raised.value)


@pytest.fixture(scope="module")
def art(tiny_onnx, tiny_data):
    return spikec.compile(
        tiny_onnx(), tiny_data, timesteps=2, samples=16, snm="off",
        set=["layer:conv1.weight_bits=4", "layer:gemm.weight_bits=6"],
    )  # fmt: skip


def test_layers_have_bits_of_their_own(art, tiny_data):
    types = {n.name: art.graph.params[n.params["w"]].type.dtype
             for n in art.graph.nodes if "w" in n.params}  # fmt: skip
    assert {name: str(types[name]) for name in ("conv1", "conv2", "gemm")} == {
        "conv1": "i4", "conv2": "i8", "gemm": "i6"
    }  # fmt: skip
    for name, most in (("conv1", 7), ("gemm", 31)):
        assert np.abs(art.graph.array(art.graph[name], "w")).max() == most
    assert art.check(tiny_data[:4])["equal"]


def test_a_layer_that_is_not_there_gets_a_suggestion(tiny_onnx, tiny_data):
    with pytest.raises(spikec.PassError) as raised:
        spikec.compile(tiny_onnx(), tiny_data[:8], set=["layer:conv3.weight_bits=4"])
    assert raised.value.message == "pass quantise: no layer 'conv3' has weights"
    assert raised.value.hint.startswith("did you mean conv")
    with pytest.raises(spikec.PassError, match="weights of 9 bits for 'conv1': 2 to 8"):
        spikec.compile(tiny_onnx(), tiny_data[:8], set=["layer:conv1.weight_bits=9"])


def test_a_recipe_makes_the_same_network_again(art, tiny_onnx, tiny_data, tmp_path):
    art.save(tmp_path / "out")
    recipe = json.loads((tmp_path / "out" / "recipe.json").read_text())
    assert recipe == {"timesteps": 2, "samples": 16, "snm": "off",
                      "set": ["layer:conv1.weight_bits=4", "layer:gemm.weight_bits=6"]}  # fmt: skip
    for source in (tmp_path / "out", tmp_path / "out" / "recipe.json"):
        again = spikec.compile(tiny_onnx(), tiny_data, recipe=source)
        assert same_values(again.graph, art.graph)
    assert spikec.load(tmp_path / "out").stored.recipe == recipe
    assert spikec.compile(tiny_onnx(), tiny_data, recipe=tmp_path / "out",
                          timesteps=3).graph.steps == 3  # fmt: skip


def test_the_report_names_the_command_that_makes_the_same(tiny_onnx, tiny_data, tmp_path):
    model, calib = tmp_path / "m.onnx", tmp_path / "c.npz"
    model.write_bytes(tiny_onnx().SerializeToString())
    np.savez(calib, x=tiny_data)
    given = {"timesteps": 3, "set": ["dni.samples=64", "observe.bins=64"], "weight_bits": 6}
    made = spikec.compile(str(model), calib=str(calib), progress=False, **given)
    words = shlex.split(made.report.provenance["command"])
    assert words[:3] == ["spikec", "compile", "m.onnx"]
    places = {"m.onnx": model, "CALIB": calib, "OUT": tmp_path / "out"}
    with pytest.raises(SystemExit) as done:
        main([str(places.get(word, word)) for word in words[1:]])
    assert done.value.code == 0
    assert same_values(spikec.load(tmp_path / "out").graph, made.graph)


def test_a_recipe_that_cannot_be_read(tmp_path):
    (tmp_path / "r.json").write_text("[1]")
    with pytest.raises(spikec.UsageError, match=r"r\.json: expected object, got array"):
        read_recipe(tmp_path / "r.json")
    (tmp_path / "r.json").write_text("{")
    with pytest.raises(spikec.UsageError, match="input data was truncated"):
        read_recipe(tmp_path / "r.json")
    (tmp_path / "r.json").write_text('{"set": 5, "timesteps": 4}')
    with pytest.raises(spikec.UsageError, match=r"r\.json: set: expected array, got int"):
        read_recipe(tmp_path / "r.json")
    (tmp_path / "r.json").write_text('{"timestep": 3}')
    with pytest.raises(spikec.UsageError, match="has no option 'timestep'"):
        spikec.compile(b"", recipe=tmp_path / "r.json")
