"""`compile`: what it writes and says, and what stops it."""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper


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
    assert code == 0
    assert "Time per pass" in out
    assert "relu1" in out
    assert out.endswith(f"wrote {tmp_path / 'o'} (T = 8, 4 layers, target numpy)\n")
    assert "note: room on" in err
    assert "note: only in simulation: max pooling (running maximum of spike counts" in err
    assert "a chip could do average pooling, or a stride in the convolution before it" in err
    assert "note: on a chip these need microcode with their rule: " in err
    names = sorted(p.name for p in (tmp_path / "ir").iterdir())
    assert names[0].startswith("01-")
    assert any(name.endswith("-fold.spk") for name in names)
    assert any(name.endswith("-quantise.spk") for name in names)


def test_compile_with_another_pipeline(files, as_json, tmp_path):
    text = "fold,relay,observe,qcfs{per=layer},quantise{bits=4}"
    found = as_json("compile", files.model, "--calib", files.calib, "-o", tmp_path / "o",
                    "--pass-pipeline", text, "--no-verify-each", "--samples", 4,
                    "--allow-rounding-loss")  # fmt: skip
    assert [p["name"] for p in found["passes"]] == ["fold", "relay", "observe", "qcfs", "quantise"]
    manifest = json.loads((tmp_path / "o" / "manifest.json").read_text())
    assert manifest["passes"] == text.split(",")


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


def test_unsupported_operator(compiling, tmp_path, model_of):
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


def test_missing_calibration(files, fails, tmp_path):
    error = fails("compile", files.model, "-o", tmp_path / "o")
    assert "needs calibration data\n  hint: give --calib CALIB.npz" in error


@pytest.mark.parametrize(
    ("option", "value"),
    [("--dni", "maybe"), ("--snm", "maybe"), ("--threshold", "per-pixel"),
     ("--bias-correction", "maybe")],
)  # fmt: skip
def test_switches_take_only_their_values(files, compiling, option, value):
    error = compiling(files.model, option, value)
    assert f"'{value}' is not one of '" in error


@pytest.mark.parametrize(
    "arguments",
    [("--timesteps", "0"), ("--timesteps", "eight"), ("--weight-bits", "1"),
     ("--weight-bits", "16"), ("--samples", "0"), ("--bogus", "1")],
)  # fmt: skip
def test_bad_usage(files, compiling, arguments):
    error = compiling(files.model, *arguments)
    assert arguments[0] in error
    assert "hint: see `spikec compile --help`" in error


def test_a_pipeline_that_stops_early(files, compiling):
    error = compiling(files.model, "--pass-pipeline", "fold,observe")
    assert "does not end at stage int: end it with quantise" in error


def test_another_directory_is_not_overwritten(files, fails, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    error = fails("compile", files.model, "--calib", files.calib, "-o", tmp_path, "--samples", 2)
    assert "exists and is not an artifact; nothing was written" in error
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_nir_names_what_it_would_lose_and_takes_what_is_accepted(files, cli, fails, tmp_path):
    pytest.importorskip("nir")
    model = Path(__file__).parents[2] / "examples" / "fashion_qcfs_vgg.onnx"
    calib = tmp_path / "calib.npz"
    np.savez(calib, x=np.random.default_rng(0).random((8, 1, 28, 28), np.float32))
    common = ("compile", model, "--calib", calib, "--timesteps", "2", "--samples", "16",
              "--snm", "off", "-q")  # fmt: skip
    error = fails(*common, "-o", tmp_path / "strict", "--target", "nir")
    assert not (tmp_path / "strict").exists()
    accepting = re.search(r"--target '(nir{.*})'", error).group(1)
    code, _, _ = cli(*common, "-o", tmp_path / "out", "--target", accepting)
    assert code == 0
    assert (tmp_path / "out" / "nir" / "network.nir").is_file()


def test_a_recipe_is_written_and_read_and_options_come_before_it(files, as_json, tmp_path):
    common = ("compile", files.model, "--calib", files.calib)
    first = as_json(*common, "-o", tmp_path / "a", "--timesteps", 2, "--samples", 4,
                    "--set", "observe.bins=64", "--set", "layer:conv1.weight_bits=5")  # fmt: skip
    recipe = json.loads((tmp_path / "a" / "recipe.json").read_text())
    assert recipe == {"samples": 4, "timesteps": 2,
                      "set": ["observe.bins=64", "layer:conv1.weight_bits=5"]}  # fmt: skip
    again = as_json(*common, "-o", tmp_path / "b", "--recipe", tmp_path / "a")
    assert again["passes"] == first["passes"]
    other = as_json(*common, "-o", tmp_path / "c", "--recipe", tmp_path / "a", "--timesteps", 3)
    assert (other["timesteps"], len(other["passes"])) == (3, len(first["passes"]))


@pytest.mark.parametrize(
    ("typed", "error"),
    [
        (("--max-loss", "1.5"), "--max-loss must be from 0 up to 1 (a share), not 1.5"),
        (
            ("--payload-bits", "3"),
            "--payload-bits 3 is for graded spikes\n  hint: give --spikes graded too",
        ),
        (
            ("--frames", "x", "--max-loss", "0.1"),
            "--max-loss chooses T, and frames give it: step t takes frame t\n"
            "  hint: leave out --max-loss, or try a smaller T, such as --timesteps 4",
        ),
    ],
)
def test_errors_name_options_as_they_are_typed(typed, error, files, cli, tmp_path):
    for command in (["compile", files.model, "-o", tmp_path / "o"], ["inspect", files.model]):
        assert cli(*command, *typed) == (2, "", f"error: {error}\n")
