"""`eval`."""

import numpy as np
import pytest


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


def test_labels_that_do_not_fit(files, fails, tmp_path, tiny_data):
    np.savez(tmp_path / "bad.npz", x=tiny_data, y=np.zeros(3))
    error = fails("eval", files.out, "--data", tmp_path / "bad.npz")
    assert "y has shape [3] and type float64; expected 48 integers" in error


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (
            [1, 2, 3],
            "labels run from 1 to 3, the classes of 'logits' from 0 to 2: subtract 1 from y",
        ),
        (
            [0, 1, 7],
            "16 of 48 labels are none of the classes 0 to 2 of 'logits': they count as wrong",
        ),
        ([0, 1, 2], None),
    ],
)
def test_labels_that_are_no_classes_are_noticed(labels, said, files, cli, tmp_path):
    data, out = tmp_path / "y.npz", tmp_path / "out"
    np.savez(data, x=np.load(files.calib)["x"], y=np.resize(labels, 48))
    for command in (
        ("eval", files.out, "--data", data),
        ("run", files.out, "--data", data),
        ("check", files.out, "--data", data, "--model", files.model, "--limit", "48"),
        ("compile", files.model, "--calib", files.calib, "--validation", data, "-o", out),
    ):
        code, _, err = cli(*command)
        assert code == 0, err
        assert (said in err) if said else "labels" not in err
