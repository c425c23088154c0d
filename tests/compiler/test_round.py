"""Weights that are rounded during calibration."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spikec
from spikec.compiler.passes.round import _compensated


@given(st.integers(4, 7), st.integers(2, 12), st.integers(0, 999))
def test_rounded_weights_make_up_for_one_another(bits, taps, seed):
    rng = np.random.default_rng(seed)
    most = (1 << (bits - 1)) - 1
    mixed = rng.normal(size=(taps, taps)) + 2 * rng.normal(size=(taps, 1))
    inputs = rng.normal(size=(400, taps)) @ mixed
    power = inputs.T @ inputs / len(inputs)
    rows = rng.normal(size=(16, taps))
    rows *= most / np.abs(rows).max(axis=1, keepdims=True)
    made = _compensated(rows, power, most)
    assert (made == np.rint(made)).all()
    assert (np.abs(made).max(axis=1) == most).all()

    def lost(found):
        return float((((found - rows) @ inputs.T) ** 2).sum())

    assert lost(made) <= 1.05 * lost(np.rint(rows))


@pytest.mark.parametrize("model", ["fashion_resnet8.onnx", "fashion_qcfs_vgg.onnx"])
def test_four_bits_are_nearly_enough(examples, images, model):
    x, y = images["x"][:300], images["y"][:300]

    def compiled(bits, **more):
        return spikec.compile(examples / model, calib=images["x_calib"], timesteps=4,
                              samples=64, weight_bits=bits, **more)  # fmt: skip

    fine, coarse = compiled(8), compiled(4)
    scores = [float((art.run(x).argmax(axis=1) == y).mean()) for art in (fine, coarse)]
    assert scores[1] > scores[0] - 0.03
    quantise = next(p for p in coarse.report["passes"] if p["name"] == "quantise")
    rounded = next(p for p in coarse.report["passes"] if p["name"] == "round")
    assert len(rounded["layers"]) >= 6
    errors = [v["weight_error"] for v in quantise["layers"].values() if "weight_error" in v]
    assert np.median(errors) < 1e-3
    names = [p["name"] for p in fine.report["passes"]]
    assert "round" not in names
