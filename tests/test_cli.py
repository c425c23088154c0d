"""Every command: results, JSON keys, exit codes, and one clear error for whatever goes wrong."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from spikec.cli import main


class Files:
    """A tiny model, its data and its artifact."""

    def __init__(self, folder: Path, model: onnx.ModelProto, data: np.ndarray) -> None:
        self.folder = folder
        self.model, self.calib = folder / "tiny.onnx", folder / "calib.npz"
        self.test, self.out = folder / "test.npz", folder / "out"
        self.unlabelled = folder / "x.npy"
        onnx.save(model, self.model)
        np.savez(self.calib, x=data)
        labels = np.arange(len(data)) % 3
        np.savez(self.test, x=data, y=labels)
        np.save(self.unlabelled, data)


@pytest.fixture(scope="module")
def files(tmp_path_factory, tiny_onnx, tiny_data, tiny_artifact):
    found = Files(tmp_path_factory.mktemp("cli"), tiny_onnx(), tiny_data)
    code = run(["compile", found.model, "--calib", found.calib, "-o", found.out, "-q",
                "--timesteps", "4", "--samples", "32"])  # fmt: skip
    assert code == 0
    return found


def run(arguments) -> int:
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    return caught.value.code


@pytest.fixture
def cli(capsys):
    """Runs a command; returns exit code, stdout and stderr."""

    def call(*arguments):
        capsys.readouterr()
        code = run(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def as_json(cli):
    """Runs a command with --json; stdout must hold one object and nothing else."""

    def call(*arguments, code=0):
        found, out, err = cli(*arguments, "--json")
        assert found == code, err
        assert out.count("\n") == 1
        return json.loads(out)

    return call


@pytest.fixture
def fails(cli):
    """Runs a command that must fail with exit code 2 and one clear error; returns it."""

    def call(*arguments):
        code, out, err = cli(*arguments)
        assert code == 2, err
        assert out == ""
        assert "Traceback" not in err
        assert "internal error" not in err
        assert err.count("error:") == 1
        return err[err.index("error:") :]

    return call


# What each command does.


def test_compile(files, as_json, tmp_path):
    found = as_json("compile", files.model, "--calib", files.calib, "-o", tmp_path / "o",
                    "--timesteps", 2, "--samples", 8)  # fmt: skip
    assert {"out", "timesteps", "layers", "warnings", "seconds"} <= set(found)
    assert found["out"] == str(tmp_path / "o")
    assert found["timesteps"] == 2
    assert found["layers"]
    assert {"name", "op", "onnx_node", "shape", "neurons"} <= set(found["layers"][0])
    assert found["seconds"] > 0
    assert (tmp_path / "o" / "manifest.json").is_file()


def test_compile_shows_tables_and_times(files, cli, tmp_path):
    code, out, err = cli("compile", files.model, "--calib", files.calib, "-o", tmp_path / "o",
                         "--samples", 4, "--time-passes", "--dump-ir", tmp_path / "ir")  # fmt: skip
    assert (code, out) == (0, "")
    assert "Time per pass" in err
    assert "relu1" in err
    assert f"wrote {tmp_path / 'o'}" in err
    names = sorted(p.name for p in (tmp_path / "ir").iterdir())
    assert names[0].startswith("01-")
    assert any(name.endswith("-fold.spk") for name in names)
    assert any(name.endswith("-quantise.spk") for name in names)


def test_compile_with_another_pipeline(files, as_json, tmp_path):
    text = "fold,relay,observe,qcfs{per=layer},quantise{bits=4}"
    found = as_json("compile", files.model, "--calib", files.calib, "-o", tmp_path / "o",
                    "--pass-pipeline", text, "--no-verify-each", "--samples", 4)  # fmt: skip
    assert [p["name"] for p in found["passes"]] == ["fold", "relay", "observe", "qcfs", "quantise"]
    manifest = json.loads((tmp_path / "o" / "manifest.json").read_text())
    assert manifest["passes"] == text.split(",")


def test_run(files, as_json, tmp_path):
    found = as_json("run", files.out, "--data", files.test, "-o", tmp_path / "p.npz", "--limit", 5)
    assert found["samples"] == 5
    assert len(found["predictions"]) == 5
    with np.load(tmp_path / "p.npz", allow_pickle=False) as written:
        assert written.files == ["logits"]
        assert written["logits"].shape == (5, 3)
        assert written["logits"].argmax(axis=1).tolist() == found["predictions"]
    assert [p.name for p in tmp_path.iterdir()] == ["p.npz"]


@pytest.mark.parametrize("engine", ["reference", "fast"])
def test_run_with_traces(files, as_json, tmp_path, engine):
    as_json("run", files.out, "--data", files.unlabelled, "-o", tmp_path / "p.npz", "--limit", 3,
            "--engine", engine, "--trace")  # fmt: skip
    with np.load(tmp_path / "p.npz", allow_pickle=False) as written:
        assert written["relu1.spikes"].shape == (4, 3, 4, 6, 6)
        assert written["relu1.potentials"].shape == (4, 3, 4, 6, 6)
        assert {name.rpartition(".")[2] for name in written.files} == {
            "logits", "spikes", "potentials"
        }  # fmt: skip


def test_engines_and_stages_give_predictions(files, as_json):
    args = ("run", files.out, "--data", files.test)
    fast, reference = as_json(*args), as_json(*args, "--engine", "reference")
    assert fast["predictions"] == reference["predictions"]
    assert 0 <= as_json(*args, "--stage", "float")["accuracy"] <= 1


def test_check(files, as_json):
    found = as_json("check", files.out, "--data", files.test, "--limit", 4)
    assert {"engines", "samples", "timesteps", "layers", "equal", "first_difference"} <= set(found)
    assert found["engines"] == ["reference", "fast"]
    assert (found["samples"], found["timesteps"]) == (4, 4)
    assert found["equal"] is True
    assert found["first_difference"] is None
    for layer in found["layers"]:
        assert set(layer) == {"name", "spikes_compared", "spikes_differing",
                              "potentials_compared", "potentials_differing"}  # fmt: skip


def test_check_without_data_and_with_the_model(files, as_json):
    assert as_json("check", files.out)["samples"] == 4
    found = as_json("check", files.out, "--data", files.test, "--model", files.model)
    assert 0 <= found["model"]["agreement"] <= 1


def test_check_exits_1_on_a_difference(files, cli, as_json, monkeypatch):
    from dataclasses import replace

    from spikec.backends import BACKENDS
    from spikec.ir import Param
    from spikec.runtime.fast import simulate

    def odd(graph, feeds, steps=None, trace=()):
        changed = {
            name: Param.of(p.array + 1, p.type.dtype)
            for name, p in graph.params.items()
            if name.endswith(".v0")
        }
        return simulate(graph.with_params(changed), feeds, steps, trace)

    monkeypatch.setitem(BACKENDS, "odd", replace(BACKENDS["fast"], simulate=odd))
    args = ("check", files.out, "--data", files.test, "--engines", "reference,odd")
    found = as_json(*args, code=1)
    first = found["first_difference"]
    assert set(first) >= {"layer", "neuron", "step", "values"}
    assert (first["layer"], first["step"]) == (found["layers"][0]["name"], 1)
    code, _, err = cli(*args)
    assert code == 1
    assert "first difference: layer %relu1, neuron [0, 0, 0], step 1, sample 0 (reference: " in err


def test_eval(files, as_json):
    found = as_json("eval", files.out, "--data", files.test, "--model", files.model,
                    "--timesteps", "4,1,2")  # fmt: skip
    assert {"samples", "ann_accuracy", "results", "layers"} <= set(found)
    assert [r["timesteps"] for r in found["results"]] == [1, 2, 4]
    for result in found["results"]:
        assert {"timesteps", "accuracy", "agreement", "spikes_per_neuron_step", "effective_acs",
                "effective_macs", "dense", "seconds_per_sample"} <= set(result)  # fmt: skip
        assert 0 <= result["accuracy"] <= 1
        assert 0 <= result["agreement"] <= 1
        assert 0 <= result["spikes_per_neuron_step"] <= 1
        assert result["effective_acs"] + result["effective_macs"] <= result["dense"]
    macs = [r["effective_macs"] for r in found["results"]]
    assert macs == pytest.approx([macs[0], 2 * macs[0], 4 * macs[0]])


def test_eval_without_labels(files, as_json):
    found = as_json("eval", files.out, "--data", files.unlabelled, "--model", files.model)
    assert found["ann_accuracy"] is None
    assert found["results"][0]["accuracy"] is None
    assert 0 <= found["results"][0]["agreement"] <= 1
    assert as_json("eval", files.out, "--data", files.unlabelled)["results"][0]["agreement"] is None


def test_inputs_outside_the_calibrated_range_are_reported(files, cli, tmp_path, tiny_data):
    np.savez(tmp_path / "loud.npz", x=tiny_data * 3)
    code, _, err = cli("run", files.out, "--data", tmp_path / "loud.npz")
    assert code == 0
    assert re.search(r"warning: \d+ of 3456 input values lie outside", err)


def test_inspect(files, as_json):
    for path, resources in ((files.model, False), (files.out, True)):
        found = as_json("inspect", path)
        assert {"supported", "unsupported", "operators", "layers", "resources"} <= set(found)
        assert found["supported"] is True
        assert found["operators"] == {"Conv": 2, "Relu": 2, "Add": 1, "MaxPool": 1, "Flatten": 1,
                                      "Gemm": 1}  # fmt: skip
        assert (found["resources"] is not None) == resources


def test_inspect_of_an_unsupported_model(as_json, cli, tmp_path):
    onnx.save(
        model_of([helper.make_node("LRN", ["x"], ["y"], "norm", size=3)]), tmp_path / "m.onnx"
    )
    found = as_json("inspect", tmp_path / "m.onnx")
    assert found["supported"] is False
    (refusal,) = found["unsupported"]
    assert set(refusal) == {"node", "op", "reason", "hint"}
    assert (refusal["node"], refusal["op"]) == ("norm", "LRN")


def test_opt(cli, tmp_path, graph_text):
    (tmp_path / "g.spk").write_text(graph_text)
    code, out, err = cli("opt", tmp_path / "g.spk", "--verify-roundtrip")
    assert (code, out, err) == (0, graph_text, "")
    code, out, _ = cli("opt", tmp_path / "g.spk", "--no-values")
    assert "param @c.w : i8[2,1,2,2]\n" in out


@pytest.mark.parametrize("command", ["passes", "targets", "ops"])
def test_lists(command, cli, as_json):
    found = as_json(command)
    assert all(row["name"] and row["doc"] for row in found[command])
    code, out, err = cli(command)
    assert code == 0
    assert found[command][0]["name"] in out + err


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


@pytest.mark.slow
def test_demo(as_json):
    found = as_json("demo", "--target", "numpy", "--limit", 300)
    assert found["equal"] is True
    assert [r["timesteps"] for r in found["results"]] == [1, 2, 4, 8]
    assert found["results"][-1]["accuracy"] >= found["ann_accuracy"] - 0.02
    assert found["spikes_compared"] > 0
    assert found["seconds"] < 120


def test_quiet_says_nothing(files, cli, tmp_path):
    for arguments in (
        ("compile", files.model, "--calib", files.calib, "-o", tmp_path / "o", "--samples", 4),
        ("run", files.out, "--data", files.test),
        ("check", files.out, "--limit", 1),
        ("eval", files.out, "--data", files.test, "--limit", 4),
        ("inspect", files.model),
        ("passes",),
    ):
        assert cli(*arguments, "--quiet") == (0, "", "")


def test_quiet_json_is_only_json(files, cli):
    code, out, err = cli("inspect", files.model, "--quiet", "--json")
    assert (code, err) == (0, "")
    json.loads(out)


# What can go wrong.


def model_of(nodes, shape=("N", 2, 6, 6), out=("N", 2, 6, 6), initializers=()) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        list(initializers),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def compiling(files, fails, tmp_path):
    def call(model, *more, calib=files.calib):
        out = tmp_path / "out"
        error = fails("compile", model, "--calib", calib, "-o", out, *more)
        assert not out.exists()
        assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
        return error

    return call


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.9, -1])
def test_truncated_onnx(compiling, examples, tmp_path, keep):
    data = (examples / "fashion_resnet8.onnx").read_bytes()
    size = int(len(data) * keep) if isinstance(keep, float) else keep
    (tmp_path / "cut.onnx").write_bytes(data[:size])
    assert compiling(tmp_path / "cut.onnx").startswith("error: cut.onnx: ")


def test_not_onnx_at_all(compiling, tmp_path):
    (tmp_path / "m.onnx").write_text("a letter to my grandmother")
    assert "m.onnx: not a valid ONNX model" in compiling(tmp_path / "m.onnx")
    (tmp_path / "d.onnx").mkdir()
    assert "is a directory, not an ONNX file" in compiling(tmp_path / "d.onnx")
    assert "no such file" in compiling(tmp_path / "none.onnx")


def test_unsupported_operator(compiling, tmp_path):
    onnx.save(
        model_of([helper.make_node("LRN", ["x"], ["y"], "norm1", size=3)]), tmp_path / "m.onnx"
    )
    error = compiling(tmp_path / "m.onnx")
    assert error.startswith("error: m.onnx: 1 node cannot be converted:\n  norm1 (LRN): ")
    assert "hint: " in error


def test_nan_weight(compiling, tmp_path, tiny_onnx):
    model = tiny_onnx()
    weights = numpy_helper.to_array(model.graph.initializer[0]).copy()
    weights[0, 0, 0, 0] = np.nan
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "w1"))
    onnx.save(model, tmp_path / "nan.onnx")
    error = compiling(tmp_path / "nan.onnx")
    assert "w1" in error or "conv1" in error
    assert "NaN" in error


BAD_DATA = {
    "holds NaN or infinite values": {"x": np.full((2, 2, 6, 6), np.nan)},
    "has shape [2, 3, 6, 6], the model expects (N, 2, 6, 6)": {"x": np.zeros((2, 3, 6, 6))},
    "holds no array for input 'x'": {},
    "holds no samples": {"x": np.zeros((0, 2, 6, 6))},
    "cannot be read as .npz or .npy: Object arrays cannot be loaded": {
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


def test_labels_that_do_not_fit(files, fails, tmp_path, tiny_data):
    np.savez(tmp_path / "bad.npz", x=tiny_data, y=np.zeros(3))
    error = fails("eval", files.out, "--data", tmp_path / "bad.npz")
    assert "y has shape [3] and type float64; expected 48 integers" in error


def test_missing_files(files, fails, compiling, tmp_path):
    none = tmp_path / "none.npz"
    assert f"{none}: no such file" in compiling(files.model, calib=none)
    assert f"{none}: no such file" in fails("run", files.out, "--data", none)
    assert "no such artifact directory" in fails("run", tmp_path / "no", "--data", files.test)
    assert "none.spk" in fails("opt", tmp_path / "none.spk")
    assert "no such file" in fails("inspect", tmp_path / "none.onnx")
    assert "manifest.json is missing" in fails("inspect", tmp_path)


def test_missing_calibration(files, fails, tmp_path):
    error = fails("compile", files.model, "-o", tmp_path / "o")
    assert "needs calibration data\n  hint: give --calib CALIB.npz" in error


def test_unknown_names(files, fails, compiling):
    for engine in ("tpu", ""):
        error = fails("run", files.out, "--data", files.test, "--engine", engine)
        assert f"unknown engine '{engine}'\n  hint: one of " in error
    assert "unknown engine 'tpu'" in fails("check", files.out, "--engines", "fast,tpu")
    assert "unknown target 'tpu'\n  hint: one of " in compiling(files.model, "--target", "tpu")
    assert "unknown pass 'melt'\n  hint: one of " in compiling(
        files.model, "--pass-pipeline", "fold,melt"
    )
    assert "stage must be one of int, float, not 'ann'" in fails(
        "run", files.out, "--data", files.test, "--stage", "ann"
    )


@pytest.mark.parametrize(
    ("option", "value"),
    [("--dni", "maybe"), ("--snm", "maybe"), ("--threshold", "per-pixel"),
     ("--bias-correction", "maybe")],
)  # fmt: skip
def test_switches_take_only_their_values(files, compiling, option, value):
    error = compiling(files.model, option, value)
    assert "must be one of" in error
    assert f"'{value}'" in error


@pytest.mark.parametrize(
    "arguments",
    [("--timesteps", "0"), ("--timesteps", "eight"), ("--weight-bits", "1"),
     ("--weight-bits", "16"), ("--samples", "0"), ("--bogus", "1")],
)  # fmt: skip
def test_bad_usage(files, compiling, arguments):
    error = compiling(files.model, *arguments)
    assert arguments[0] in error
    assert "hint: see `spikec compile --help`" in error


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


def test_a_pipeline_that_stops_early(files, compiling):
    error = compiling(files.model, "--pass-pipeline", "fold,observe")
    assert "does not end at stage int: end it with quantise" in error


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


def test_another_directory_is_not_overwritten(files, fails, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    error = fails("compile", files.model, "--calib", files.calib, "-o", tmp_path, "--samples", 2)
    assert "exists and is not an artifact; nothing was written" in error
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_text_with_an_error(fails, tmp_path):
    (tmp_path / "g.spk").write_text("graph @g <stage=ann, steps=0> {\n  %x : f32[2] = input(\n}")
    assert "g.spk:3:1: expected" in fails("opt", tmp_path / "g.spk")
    (tmp_path / "g.spk").write_bytes(b"\xff\xfe\x00")
    assert "g.spk" in fails("opt", tmp_path / "g.spk")
    assert "g.spk" in fails("inspect", tmp_path / "g.spk")


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


# In a process of its own.

SPIKEC = [sys.executable, "-m", "spikec"]


def test_a_process_prints_results_to_a_pipe(files):
    done = subprocess.run([*SPIKEC, "inspect", files.model, "--json"], capture_output=True,
                          text=True, check=True)  # fmt: skip
    assert json.loads(done.stdout)["supported"] is True


def test_a_process_fails_with_code_2_and_debug_shows_why(tmp_path):
    command = [*SPIKEC, "inspect", tmp_path / "none.onnx"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "error: none.onnx: no such file: " + f"{tmp_path / 'none.onnx'}\n"
    done = subprocess.run([*command, "--debug"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Traceback" in done.stderr
    assert "InvalidModel" in done.stderr


def test_a_closed_pipe_is_no_error(tmp_path, graph_text):
    (tmp_path / "g.spk").write_text(graph_text)
    script = f"{sys.executable} -m spikec opt {tmp_path / 'g.spk'} | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
    assert done.stderr == ""


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize(
    ("number", "existing"),
    [(signal.SIGINT, False), (signal.SIGTERM, True)],
    ids=["new", "existing"],
)
def test_an_interrupted_compile_leaves_nothing_half_written(
    examples, images, files, tmp_path, number, existing
):
    out = tmp_path / "out"
    if existing:
        import shutil

        shutil.copytree(files.out, out)
    np.savez(tmp_path / "calib.npz", x=images["x_calib"])
    process = subprocess.Popen(
        [*SPIKEC, "compile", examples / "fashion_resnet8.onnx", "-o", out, "--calib",
         tmp_path / "calib.npz", "--dump-ir", tmp_path / "ir", "--quiet"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=tmp_path,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list((tmp_path / "ir").glob("02-*")) and time.monotonic() < deadline:
        time.sleep(0.02)
        assert process.poll() is None
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 2
    assert stdout == ""
    assert stderr == "error: interrupted; nothing half-written is left\n"
    left = {p.name for p in tmp_path.iterdir()}
    assert left == {"calib.npz", "ir"} | ({"out"} if existing else set())
    if existing:
        assert run(["inspect", out, "--quiet"]) == 0


def test_nir_names_what_it_would_lose_and_takes_what_is_accepted(files, cli, fails, tmp_path):
    pytest.importorskip("nir")
    model = Path(__file__).parents[1] / "examples" / "fashion_qcfs_vgg.onnx"
    calib = tmp_path / "calib.npz"
    np.savez(calib, x=np.random.default_rng(0).random((8, 1, 28, 28), np.float32))
    common = ("compile", model, "--calib", calib, "--timesteps", "2", "--samples", "16",
              "--target", "nir", "--snm", "off", "-q")  # fmt: skip
    error = fails(*common, "-o", tmp_path / "strict")
    assert "--allow-lossy" in error
    assert not (tmp_path / "strict").exists()
    names = re.search(r"--allow-lossy ([a-z0-9,]+)", error).group(1)
    code, _, _ = cli(*common, "-o", tmp_path / "out", "--allow-lossy", names)
    assert code == 0
    assert (tmp_path / "out" / "nir" / "network.nir").is_file()
    error = fails("compile", files.model, "--calib", files.calib, "-o", tmp_path / "no",
                  "--allow-lossy", "reset")  # fmt: skip
    assert "allow_lossy is for target nir" in error
