"""`run`, and `demo`."""

import re

import numpy as np
import pytest


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


def test_inputs_outside_the_calibrated_range_are_reported(files, cli, tmp_path, tiny_data):
    np.savez(tmp_path / "loud.npz", x=tiny_data * 3)
    code, _, err = cli("run", files.out, "--data", tmp_path / "loud.npz")
    assert code == 0
    assert re.search(r"warning: \d+ of 3456 input values lie outside", err)


@pytest.mark.slow
def test_demo(as_json):
    found = as_json("demo", "--target", "numpy", "--limit", 300)
    assert found["equal"] is True
    assert [r["timesteps"] for r in found["results"]] == [1, 2, 4, 8]
    assert found["results"][-1]["accuracy"] >= found["ann_accuracy"] - 0.02
    assert found["spikes_compared"] > 0
    assert found["seconds"] < 120
