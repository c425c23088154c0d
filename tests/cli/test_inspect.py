"""`inspect` of a model: what `compile` with the same options would refuse, before calibration."""

import json

import pytest

from spikec.driver import inspecting

NIR = "nir{allow_lossy=reset+v0+time+integers}"


def test_a_supported_model_shows_what_it_becomes(files, as_json):
    found = as_json("inspect", files.model, "--target", "onnx", "--timesteps", 2)
    assert (found["supported"], found["unsupported"]) == (True, [])
    assert found["resources"]["neurons"] > 0
    assert found["layers"][0]["op"] == "input"


def test_what_a_target_cannot_hold_is_found_without_data(files, cli, as_json, fails, tmp_path):
    found = as_json("inspect", files.model, "--target", NIR, "--snm", "off", code=1)
    assert found["supported"] is False
    (refusal,) = found["unsupported"]
    assert set(refusal) == {"node", "op", "reason", "hint"}
    assert refusal["node"]
    assert refusal["op"] == "MaxPool"
    data = ("--calib", files.calib, "-o", tmp_path / "out")
    compiled = fails("compile", files.model, *data, "--target", NIR, "--snm", "off")
    assert refusal["reason"] in compiled
    code, out, _ = cli("inspect", files.model, "--target", NIR, "--snm", "off")
    assert code == 1
    assert "Not supported" in out


def test_hardware_that_is_too_narrow(files, as_json, tmp_path):
    narrow = tmp_path / "narrow.json"
    narrow.write_text(json.dumps({"chips": 1, "cores_per_chip": 1, "neurons_per_core": 2}))
    options = ("--hardware", narrow, "--require-fit")
    (refusal,) = as_json("inspect", files.model, *options, code=1)["unsupported"]
    assert "core" in refusal["reason"]


@pytest.mark.parametrize(
    ("option", "value"), [("--timesteps", 0), ("--target", "tpu"), ("--set", "dni.depth=3")]
)
def test_wrong_options_are_wrong_usage(files, cli, option, value):
    code, _, err = cli("inspect", files.model, option, value)
    assert code == 2
    assert err


def test_whatever_else_goes_wrong_is_told(files, as_json, monkeypatch):
    def broken(*_):
        raise IndexError("list index out of range")

    monkeypatch.setattr(inspecting, "compile_network", broken)
    (refusal,) = as_json("inspect", files.model, code=1)["unsupported"]
    assert refusal["reason"] == "internal error: IndexError: list index out of range"
