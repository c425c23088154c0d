"""What commands have in common: help, quiet, and one clear error for whatever goes wrong."""

import json
import re

import numpy as np
import onnx
import pytest

import spikec
from spikec.cli import main


@pytest.mark.parametrize("command", ["compile", "run", "check", "eval", "inspect", "opt", "passes",
                                     "targets", "ops", "demo"])  # fmt: skip
def test_every_command_has_help_with_examples(command, cli):
    code, out, _ = cli(command, "--help")
    assert code == 0
    assert f"spikec {command}" in out
    assert "Examples" in out
    flat = re.sub(r"\x1b\[[0-9;]*m", "", out)
    assert "--debug" in flat
    if command != "opt":
        assert "--json" in flat
        assert "--quiet" in flat


def test_quiet_prints_the_one_result(files, cli, tmp_path):
    compiling = ("compile", files.model, "--calib", files.calib, "-o", tmp_path / "o")
    for arguments, result in (
        ((*compiling, "--samples", 4), rf"wrote {tmp_path}/o \(T = 8, 4 layers, target numpy\)"),
        (("run", files.out, "--data", files.test), r"48 samples, T = 4, engine fast: accuracy .*%"),
        (("check", files.out, "--limit", 1), "equal: 0 spikes and 0 potentials differ"),
        (("eval", files.out, "--data", files.test, "--limit", 4), "4 samples, T = 4: accuracy .*%"),
        (("inspect", files.model), "supported"),
    ):
        code, out, err = cli(*arguments, "--quiet")
        assert (code, err) == (0, "")
        assert re.fullmatch(result + "\n", out), out
    code, out, err = cli("passes", "--quiet")
    assert (code, err) == (0, "")
    assert "fold" in out.splitlines()


def test_tables_go_to_stdout_and_are_never_cut(files, cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    code, out, err = cli("targets")
    assert (code, err) == (0, "")
    assert "A Lava project for Loihi 2, and Lava's fixed-point simulation of it." in out
    assert "neuron=own|stock, precision=fixed|floating" in out


def test_json_errors_are_objects(files, cli):
    code, out, err = cli("run", files.out, "--data", "none.npz", "--json")
    assert code == 2
    assert err == "error: none.npz: no such file\n"
    error = {"kind": "InvalidData", "message": "no such file", "loc": "none.npz", "hint": None}
    assert json.loads(out) == {"schema": 1, "error": error}
    code, out, _ = cli("run", files.out, "--json", "--bogus")
    assert (code, json.loads(out)["error"]["kind"]) == (2, "UsageError")


def test_the_version(cli):
    assert cli("--version") == (0, f"spikec {spikec.__version__}\n", "")


def test_quiet_json_is_only_json(files, cli):
    code, out, err = cli("inspect", files.model, "--quiet", "--json")
    assert (code, err) == (0, "")
    json.loads(out)


BAD_DATA = {
    "holds NaN or infinite values": {"x": np.full((2, 2, 6, 6), np.nan)},
    "has shape [2, 3, 6, 6], the model expects (N, 2, 6, 6)": {"x": np.zeros((2, 3, 6, 6))},
    "holds no array for input 'x'": {},
    "holds no samples": {"x": np.zeros((0, 2, 6, 6))},
    "cannot be read as .npz: 'x.npy' holds Python objects, not numbers": {
        "x": np.array([{}], dtype=object)
    },
}


@pytest.mark.parametrize("message", BAD_DATA)
@pytest.mark.parametrize("command", ["compile", "run", "check", "eval"])
def test_data_that_do_not_fit(files, fails, compiling, tmp_path, message, command):
    np.savez(tmp_path / "bad.npz", **BAD_DATA[message])
    if command == "compile":
        error = compiling(files.model, calib=tmp_path / "bad.npz")
    else:
        error = fails(command, files.out, "--data", tmp_path / "bad.npz")
    assert "bad.npz: " in error
    assert message in error


def test_missing_files(files, fails, compiling, tmp_path):
    none = tmp_path / "none.npz"
    assert f"{none}: no such file" in compiling(files.model, calib=none)
    assert f"{none}: no such file" in fails("run", files.out, "--data", none)
    assert "no such artifact directory" in fails("run", tmp_path / "no", "--data", files.test)
    assert "none.spk" in fails("opt", tmp_path / "none.spk")
    assert "no such file" in fails("inspect", tmp_path / "none.onnx")
    assert "manifest.json is missing" in fails("inspect", tmp_path)


def test_unknown_names(files, fails, compiling):
    for engine in ("tpu", ""):
        error = fails("run", files.out, "--data", files.test, "--engine", engine)
        assert f"unknown engine '{engine}'\n  hint: one of " in error
    assert "unknown engine 'tpu'" in fails("check", files.out, "--engines", "fast,tpu")
    assert "unknown target 'tpu'\n  hint: one of " in compiling(files.model, "--target", "tpu")
    assert "unknown pass 'melt'\n  hint: one of " in compiling(
        files.model, "--pass-pipeline", "fold,melt"
    )
    assert "'ann' is not one of 'int', 'float'" in fails(
        "run", files.out, "--data", files.test, "--stage", "ann"
    )


def test_more_bad_usage(files, fails):
    assert "No such command 'bogus'" in fails("bogus")
    assert "Missing argument" in fails("compile")
    assert "at least two" in fails("check", files.out, "--engines", "fast")
    assert "at least two" in fails("check", files.out, "--engines", "fast,fast")
    data = ("eval", files.out, "--data", files.test)
    assert "takes integers such as 1,2,4,8, not '1,two'" in fails(*data, "--timesteps", "1,two")
    assert "timesteps must be at least 1" in fails(*data, "--timesteps", "0")


def test_no_arguments_show_the_help(cli):
    code, out, err = cli()
    assert code == 2
    assert "Usage: spikec" in out + err
    assert "error" not in err


def test_another_model(files, fails, tmp_path, tiny_onnx):
    onnx.save(tiny_onnx(seed=5), tmp_path / "other.onnx")
    for command in ("eval", "check"):
        error = fails(command, files.out, "--data", files.test, "--model", tmp_path / "other.onnx")
        assert "the artifact was compiled from another model" in error


@pytest.mark.parametrize("name", ["weights.npz", "graph.spk", "manifest.json", "report.json"])
@pytest.mark.parametrize("command", ["run", "check", "eval", "inspect"])
def test_a_damaged_artifact(files, fails, tmp_path, name, command):
    import shutil

    shutil.copytree(files.out, tmp_path / "out")
    data = (tmp_path / "out" / name).read_bytes()
    (tmp_path / "out" / name).write_bytes(data[: len(data) // 2])
    more = () if command == "inspect" else ("--data", files.test)
    error = fails(command, tmp_path / "out", *more)
    assert str(tmp_path / "out") in error
    assert name in error


def test_a_place_that_cannot_be_written(files, fails, tmp_path):
    (tmp_path / "file").write_text("")
    error = fails("compile", files.model, "--calib", files.calib, "-o", tmp_path / "file" / "o",
                  "--samples", 2)  # fmt: skip
    assert str(tmp_path / "file") in error
    error = fails("run", files.out, "--data", files.test, "-o", tmp_path / "file" / "p.npz")
    assert str(tmp_path / "file") in error


def test_debug_shows_the_traceback(tmp_path):
    with pytest.raises(Exception, match="no such artifact directory") as caught:
        main(["run", "--debug", str(tmp_path / "x"), "--data", "x.npz"])
    assert type(caught.value).__name__ == "InvalidArtifact"


def test_debug_is_off_by_default(fails, tmp_path):
    assert fails("run", tmp_path, "--data", tmp_path).count("\n") <= 2
