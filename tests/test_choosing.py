"""Choosing T by loss, and judging passes on validation data."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spikec
from spikec.cli import main
from spikec.driver.choosing import _smallest, is_enough
from spikec.driver.judging import Judge, hold_out
from spikec.driver.measures import Output
from spikec.report.schema import Judged
from spikec.runtime.data import Dataset

MODEL = "fashion_resnet8.onnx"
CLASSES, PAIR = (Output("y", (size,), "argmax", slice(0, size)) for size in (3, 2))


@given(st.integers(1, 200), st.integers(1, 200))
def test_the_smallest_number_is_found_with_few_trials(first, limit):
    tried = []

    def holds(steps):
        tried.append(steps)
        return steps >= first

    assert _smallest(holds, limit) == (first if first <= limit else None)
    assert len(tried) == len(set(tried)) <= 2 * np.log2(limit) + 3
    assert max(tried) <= limit


def test_held_out_samples_are_not_calibrated_on():
    x = np.arange(100.0)[:, None]
    calib, held = hold_out(Dataset({"x": x}, np.arange(100)), 64, 0)
    assert len(calib) == 64
    assert len(held) == 36
    assert not set(calib.labels) & set(held.labels)
    assert (calib.feeds["x"][:, 0] == calib.labels).all()
    assert [len(part) for part in hold_out(Dataset({"x": x}), 1000, 0)] == [75, 25]


def test_a_loss_is_of_accuracy_or_else_of_agreement():
    ann = np.eye(3)[[0, 1, 2, 0]]
    found = np.eye(3)[[0, 1, 1, 1]]
    data = Dataset({"x": np.zeros((4, 1))}, np.array([0, 1, 1, 0]))
    labelled = Judge(data, ann, [CLASSES]).judge(found)
    assert labelled["accuracy"] == 0.75
    assert labelled["agreement"] == 0.5
    assert labelled["loss"] == 0.0
    assert labelled["standard_error"] == pytest.approx(np.std([0, 0, -1, 1]) / 2)
    unlabelled = Judge(Dataset(data.feeds), ann, [CLASSES]).judge(found)
    assert unlabelled["accuracy"] is None
    assert unlabelled["loss"] == 0.5


def judged(lost: int, samples: int) -> Judged:
    net = np.eye(2)[(np.arange(samples) < lost).astype(int)]
    data = Dataset({"x": np.zeros((samples, 1))})
    return Judged(**Judge(data, np.eye(2)[np.zeros(samples, int)], [PAIR]).judge(net))


@pytest.mark.parametrize(
    ("lost", "samples", "limit", "enough"),
    [
        (0, 1000, 0.01, True), (7, 1000, 0.01, True), (9, 1000, 0.01, False),
        (0, 64, 0.01, True),   # too few to show it: what they do not rule out is taken
        (1, 64, 0.01, True), (4, 64, 0.01, False),
        (1, 1000, 0.0, False),
    ],
)  # fmt: skip
def test_a_bound_decides_and_few_samples_do_not_refuse_by_noise(lost, samples, limit, enough):
    assert is_enough(judged(lost, samples), limit) == enough


def test_the_bound_is_never_quite_the_loss():
    none = judged(0, 98)
    assert (none.loss, none.standard_error) == (0, 0)
    assert none.bound == pytest.approx(np.sqrt(0.01 * 0.99 / 100))


def test_the_smallest_t_that_loses_little_is_compiled(examples, images, tmp_path, capsys):
    calib = tmp_path / "calib.npz"
    np.savez(calib, x=images["x"][:182], y=images["y"][:182])
    out = tmp_path / "out"
    arguments = ["compile", str(examples / MODEL), "--calib", str(calib), "-o", str(out)]
    arguments += ["--samples", "32", "--max-timesteps", "4", "--json", "--quiet"]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--max-loss", "0.1"])
    assert ended.value.code == 0
    found = json.loads(capsys.readouterr().out)
    tried = {row["timesteps"]: row for row in found["steps_tried"]}
    chosen = found["timesteps"]
    assert tried[chosen]["bound"] <= 0.1
    assert all(row["bound"] > 0.1 for steps, row in tried.items() if steps < chosen)
    assert tried[chosen]["samples"] == 150
    assert spikec.load(out).graph.steps == chosen
    assert spikec.load(out).report.to_json()["steps_tried"] == found["steps_tried"]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--max-timesteps", "1", "--max-loss", "0", "-o", str(tmp_path / "no")])
    assert ended.value.code == 2
    assert "no T up to 1 loses at most 0.00%; T = 1 loses least" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_each_pass_is_judged_on_validation_data(examples, images):
    art = spikec.compile(
        examples / MODEL,
        calib=images["x_calib"],
        validation=images["x"][:100],
        samples=32,
        timesteps=2,
    )
    judged = {p.name: p.judged for p in art.report.passes if p.judged}
    assert list(judged) == [
        "qcfs", "reconstruct", "bias", "dni", "snm", "quantise", "correct", "range", "place"
    ]  # fmt: skip
    assert judged["snm"].agreement > judged["qcfs"].agreement
    assert judged["quantise"].samples == 100
    assert judged["quantise"].accuracy is None


def test_bad_limits_are_refused(examples, images):
    x = images["x_calib"][:4]
    for given_, text in (
        ({"max_loss": 1.5}, "max_loss must be from 0 up to 1"),
        ({"max_loss": 0.1, "max_timesteps": 0}, "max_timesteps must be at least 1"),
    ):
        with pytest.raises(spikec.UsageError, match=text):
            spikec.compile(examples / MODEL, calib=x, **given_)
    with pytest.raises(spikec.PassError, match="needs calibration data"):
        spikec.compile(examples / MODEL, max_loss=0.1)


def test_doubtful_calibration_data_are_a_warning(tiny_onnx, tiny_data):
    def warned(x):
        return spikec.compile(tiny_onnx(), calib=x, timesteps=2).report.warnings

    assert warned(tiny_data[:3]) == [
        "only 3 calibration samples: thresholds will fit them by chance"
    ]
    assert warned(np.repeat(tiny_data[:1], 20, 0)) == ["all calibration samples are the same"]
    assert warned(tiny_data[:20]) == []
