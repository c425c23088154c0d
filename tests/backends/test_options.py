"""Options of backends: read, checked before work, kept in the manifest, and used."""

import json
from dataclasses import replace

import pytest

import spikec
from spikec.backends import BACKENDS, Engine, Target, engine, names_of, target
from spikec.runtime import artifact as store


def test_targets_and_engines():
    assert set(names_of(Target)) == {"c", "lava", "nir", "numpy", "onnx", "verilog"}
    assert set(names_of(Engine)) == {"c", "fast", "lava", "onnx", "reference", "verilog"}
    assert all(BACKENDS[name].name == name for name in BACKENDS)


def test_options_are_kept_in_the_manifest_and_choose_the_engine(tiny_artifact, tmp_path):
    stock = {"name": "lava", "options": target("lava{neuron=stock}").options}
    manifest = {**tiny_artifact.stored.manifest, "target": stock}
    art = spikec.Artifact(replace(tiny_artifact.stored, manifest=manifest))
    art.save(tmp_path / "out")
    stored = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert stored["format"] == store.FORMAT
    assert stored["target"] == {
        "name": "lava",
        "options": {"neuron": "stock", "precision": "fixed", "seconds": 600},
    }
    loaded = spikec.load(tmp_path / "out")
    assert str(loaded.target) == "lava{neuron=stock}"
    if BACKENDS["lava"]().unavailable() is None:
        assert str(loaded.engine("lava")) == "lava{neuron=stock}"
        assert str(loaded.engine("lava{precision=floating}")) == "lava{precision=floating}"


def test_a_manifest_of_format_1_is_read(tiny_artifact, tmp_path):
    tiny_artifact.save(tmp_path / "out")
    path = tmp_path / "out" / "manifest.json"
    old = {**json.loads(path.read_text()), "format": 1, "target": "lava",
           "lava_neuron": "stock", "allow_lossy": []}  # fmt: skip
    path.write_text(json.dumps(old))
    loaded = spikec.load(tmp_path / "out")
    assert str(loaded.target) == "lava{neuron=stock}"
    loaded.save(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "manifest.json").read_text())["format"] == store.FORMAT


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lava{neuron=theirs}", "option 'neuron' of target 'lava' must be one of own, stock"),
        ("lava{nueron=own}", "target 'lava' has no option 'nueron'\n  hint: did you mean neuron?"),
        ("numpy{x=1}", "target 'numpy' has no option 'x'"),
        ("nir{allow_lossy=all}", "unknown loss 'all'"),
        ("lva", "unknown target 'lva'\n  hint: did you mean lava? one of "),
    ],
)
def test_bad_options_are_refused_before_any_work(text, message):
    with pytest.raises(spikec.SpikecError) as raised:
        spikec.compile(b"never read", target=text)
    assert message in str(raised.value)


def test_an_engine_that_holds_integers_refuses_the_float_network(tiny_artifact, tiny_data):
    with pytest.raises(spikec.BackendError, match="engine 'onnx' runs integers only"):
        tiny_artifact.run(tiny_data[:1], engine="onnx", stage="float")


def test_engines_take_options_as_well():
    with pytest.raises(spikec.SpikecError, match="engine 'fast' has no option 'threads'"):
        engine("fast{threads=2}")
