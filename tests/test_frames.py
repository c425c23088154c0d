"""Inputs with a frame for each step: step t takes frame t, and every engine says the same."""

from __future__ import annotations

import re
import subprocess

import numpy as np
import onnx
import pytest

import spikec
from spikec.cli import main
from spikec.driver.frames import framed_inputs, with_frames
from spikec.driver.model import Model
from spikec.ir import InvalidData, InvalidGraph, UsageError, parse
from spikec.runtime import fast
from spikec.runtime.interpreter import forward, simulate

STEPS = 5
SUMS = """
graph @sums <stage=int, steps=3> {
  param @a.w : i8[] = 2
  param @b.w : i8[] = 1
  %x : u8[2] = frames() from "events"
  %c : u8[2] = input() from "constant"
  %a : i24[2] = affine(%x) <w=@a.w>
  %b : i24[2] = affine(%c) <w=@b.w>
  %s : i24[2] = add(%a, %b)
  %o : i24[2] = accumulate(%s)
  return %o
}
"""


@pytest.fixture
def cli_of(capsys):
    """Runs a command that must succeed; returns all that it prints."""

    def call(*arguments):
        with pytest.raises(SystemExit) as done:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert done.value.code == 0, captured.err
        return captured.out + captured.err

    return call


def events(samples=24, seed=0):
    """Counts of events (samples, STEPS, 2, 6, 6): more of them in later frames."""
    rng = np.random.default_rng(seed)
    rates = np.linspace(0.1, 1.0, STEPS).reshape(-1, 1, 1, 1)
    return rng.poisson(rates * rng.uniform(0, 1, (samples, 1, 2, 6, 6))).astype(np.float32)


@pytest.fixture(scope="module")
def artifact(tiny_onnx):
    return spikec.compile(tiny_onnx(), events(), frames="x", progress=False)


@pytest.mark.parametrize("run", [simulate, fast.simulate], ids=["reference", "fast"])
def test_step_t_takes_frame_t(run):
    frames = np.array([[[1, 0], [0, 10], [100, 0], [7, 7]]])
    feeds = {"x": frames, "c": np.array([[1, 0]])}
    readout = run(parse(SUMS), feeds).readout["o"]
    assert readout[:, 0].tolist() == [[3, 0], [4, 20], [205, 20]]
    assert (run(parse(SUMS), feeds, 2).readout["o"] == readout[:2]).all()
    with pytest.raises(InvalidData, match="'events' has 4 frames per sample; 5 time steps") as e:
        run(parse(SUMS), feeds, 5)
    assert e.value.hint == "give 5 frames, or run (or compile for) --timesteps 4"


def test_the_number_of_frames_is_t(artifact):
    assert artifact.graph.steps == STEPS
    assert framed_inputs(artifact.graph) == ["x"]
    assert artifact.stored.manifest["frames"] == ["x"]
    assert [n for n in artifact.report.notes if "frame" in n] == [
        "input 'x' takes a frame in each step; the ANN sees the mean over them"
    ]


@pytest.mark.parametrize("engine", ["fast", "onnx", "c"])
def test_engines_are_equal(artifact, engine):
    result = artifact.check(events(3, 1), ("reference", engine))
    assert result["equal"], result["first_difference"]


def test_random_frames_are_checked_where_there_are_no_data(artifact):
    from spikec.driver import random_inputs

    data = random_inputs(artifact.graph, 2)
    assert data.feeds["x"].shape == (2, STEPS, 2, 6, 6)
    assert artifact.check(data)["equal"]


def test_the_ann_sees_the_mean(tiny_onnx):
    model = Model.load(tiny_onnx(), frames=["x"])
    plain, x = Model.load(tiny_onnx()), events(4)
    wanted = plain.logits({"x": x.mean(axis=1)})
    np.testing.assert_allclose(model.logits({"x": x}), wanted, rtol=1e-5, atol=1e-6)
    found = forward(model.graph, {"x": x})[model.graph.outputs[0]]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_frames_that_are_all_alike_are_a_constant_input(tiny_onnx, tiny_data):
    """The network is the one of constant inputs, and so is what it computes."""
    frames = np.repeat(tiny_data[:, None], 4, axis=1)
    with_time, without = (
        spikec.compile(tiny_onnx(), x, timesteps=4, frames=names, samples=24, progress=False)
        for x, names in ((frames, ["x"]), (tiny_data, []))
    )
    text = with_time.graph.to_text().replace("frames()", "input()")
    assert text == without.graph.to_text()
    np.testing.assert_array_equal(with_time.run(frames[:8]), without.run(tiny_data[:8]))


def test_the_order_of_frames_matters_to_the_network_alone(artifact):
    x = events(8, 2)
    assert (artifact.run(x) != artifact.run(x[:, ::-1])).any()
    forth, back = (artifact.evaluate(y, progress=False).results[0].outputs[0]
                   for y in (x, x[:, ::-1]))  # fmt: skip
    assert forth.relative_error != back.relative_error


def test_an_input_code_holds_single_frames(tiny_onnx):
    """Counts up to 30 in one frame, whose mean is far smaller."""
    x = events()
    x[:, 0] *= 30
    art = spikec.compile(tiny_onnx(), x, frames="x", progress=False)
    assert art.clipped(art.dataset(x)) == (0, x.size)
    assert art.doubts(art.dataset(x)) == []


def test_fewer_steps_than_frames_read_the_first_ones(tiny_onnx, artifact):
    x = events()
    art = spikec.compile(tiny_onnx(), x, frames="x", timesteps=3, progress=False)
    assert art.graph.steps == 3
    assert art.report.warnings == ["of 5 frames the first 3 are read"]
    np.testing.assert_array_equal(art.run(x), art.run(x[:, :3]))
    evaluation = art.evaluate(x, progress=False)
    assert "of 5 frames the first 3 are read" in evaluation.notes
    assert evaluation.results[0].outputs == (
        art.evaluate(x[:, :3], progress=False).results[0].outputs
    )
    read = artifact.evaluate(x, timesteps=[1, STEPS], progress=False)
    assert [r.timesteps for r in read.measured] == [1, STEPS]


def test_what_makes_no_sense_is_refused(tiny_onnx, artifact):
    x, model = events(), tiny_onnx()
    with pytest.raises(UsageError, match="no input 'image' for frames") as error:
        spikec.compile(model, x, frames="image", progress=False)
    assert error.value.hint == "one of x"
    with pytest.raises(InvalidData, match="has 5 frames per sample; 8 time steps take one each"):
        spikec.compile(model, x, frames="x", timesteps=8, progress=False)
    with pytest.raises(InvalidData, match=r"has shape \[24, 2, 6, 6\], the model expects \(N, "
                                          r"frames, 2, 6, 6\)"):  # fmt: skip
        spikec.compile(model, x[:, 0], frames="x", progress=False)
    with pytest.raises(UsageError, match="max_loss chooses T, and frames give it"):
        spikec.compile(model, x, frames="x", max_loss=0.1, progress=False)
    for options in ({"schedule": "layerwise"}, {"code": "radix", "schedule": "layerwise"}):
        with pytest.raises(InvalidGraph, match="adds up all steps before it fires") as caught:
            spikec.compile(model, x, frames="x", progress=False, **options)
        assert caught.value.hint == "frames need --schedule synchronous and --code rate"
    with pytest.raises(InvalidData, match="has 4 frames per sample; 5 time steps"):
        artifact.run(x[:, :4])


def test_sources_of_frames(artifact):
    x = events(4)
    assert len(artifact.dataset(list(x))) == 4
    batches = artifact.dataset([(x[:2], np.array([0, 1])), (x[2:], np.array([2, 0]))])
    assert batches.feeds["x"].shape == x.shape
    assert batches.labels.tolist() == [0, 1, 2, 0]


def test_commands(tiny_onnx, tmp_path, cli_of):
    model, data, out = tmp_path / "m.onnx", tmp_path / "x.npz", tmp_path / "out"
    onnx.save(tiny_onnx(), model)
    np.savez(data, frames_of_events=events(), y=np.arange(24) % 3)
    compiled = cli_of("compile", model, "--calib", data, "--frames", "x", "-o", out)
    assert "input 'x' takes a frame in each step" in compiled
    assert f"T = {STEPS}," in compiled
    for command in (
        ("inspect", model, "--frames", "x"),
        ("run", out, "--data", data, "-o", tmp_path / "p.npz"),
        ("run", out, "--data", data, "--engine", "c", "--frames", "x", "--limit", 2),
        ("check", out, "--data", data, "--model", model, "--limit", 4),
        ("trace", out, "--data", data, "--limit", 2, "-o", tmp_path / "t", "--arrays"),
        ("trace", "--verify", tmp_path / "t", "--engine", "fast"),
        ("trace", out, "--data", data, "--limit", 2, "-o", tmp_path / "h", "--format", "hex"),
        ("report", out),
    ):
        cli_of(*command)
    shown = cli_of("eval", out, "--data", data, "--model", model, "--timesteps", "1,5")
    assert "the ANN sees the mean over them" in shown
    assert np.load(tmp_path / "t" / "input.npz")["x"].shape == (2, STEPS, 2, 6, 6)


def test_an_artifact_of_constant_inputs_reads_frames_where_that_is_said(tiny_artifact, tmp_path):
    art = spikec.Artifact(tiny_artifact.stored)
    art.take_frames(["x"])
    x = events(3)[:, :4] / 8
    assert art.run(x).shape == (3, 3)
    assert framed_inputs(tiny_artifact.graph) == []
    with pytest.raises(UsageError, match="no input 'y' for frames"):
        art.take_frames(["y"])


def test_the_emitted_programs_read_frames(artifact, tmp_path, tiny_onnx):
    """C by samples and by steps, and the ONNX model: from real frames to real outputs."""
    import onnxruntime

    from spikec.backends import target

    x = events(3, 4)
    wanted = artifact.run(x)
    np.save(tmp_path / "x.npy", x)
    target("c").emit(artifact.graph, tmp_path)
    target("onnx").emit(artifact.graph, tmp_path)
    subprocess.run(["make", "-s", "CFLAGS=-O1"], cwd=tmp_path, check=True)
    for flags in ([], ["--steps"]):
        ran = subprocess.run(["./network", *flags, "x.npy"], cwd=tmp_path, check=True,
                             capture_output=True, text=True)  # fmt: skip
        found = [[float(v) for v in line.split()] for line in ran.stdout.splitlines()]
        np.testing.assert_array_equal(np.array(found), wanted)
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx")
    assert session.get_inputs()[0].shape == ["N", STEPS, 2, 6, 6]
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], wanted)


def test_graphs_say_what_they_take(artifact):
    text = artifact.graph.to_text()
    assert re.search(r"%x +: u8\[2,6,6\] = frames\(\)", text)
    assert parse(text).to_text() == text
    assert with_frames(artifact.graph, []) is artifact.graph
