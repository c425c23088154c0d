"""Weights that are rounded during calibration."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spikec
from spikec.compiler.calibration import reconstruct
from spikec.compiler.calibration.layer import Synapse
from spikec.compiler.quantisation.round import _compensated, _rounded
from spikec.ir import OPS, Node, TensorType, signed


def drawn(bits, taps, seed):
    """Rows whose largest weight is on the grid, and correlated inputs."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(taps, taps)) + 2 * rng.normal(size=(taps, 1))
    inputs = rng.normal(size=(400, taps)) @ mixed
    rows = rng.normal(size=(16, taps))
    most = (1 << (bits - 1)) - 1
    return rows * most / np.abs(rows).max(axis=1, keepdims=True), inputs, most


@given(st.integers(2, 7), st.integers(2, 12), st.integers(0, 999))
def test_rounded_weights_are_on_the_grid_and_keep_its_size(bits, taps, seed):
    rows, inputs, most = drawn(bits, taps, seed)
    made = _compensated(rows, inputs.T @ inputs / len(inputs), most)
    assert (made == np.rint(made)).all()
    assert (np.abs(made).max(axis=1) == most).all()


@pytest.mark.parametrize("bits", [4, 5, 6])
def test_rounded_weights_make_up_for_one_another(bits):
    found = nearest = 0.0
    for seed in range(30):
        rows, inputs, most = drawn(bits, 8, seed)
        made = _compensated(rows, inputs.T @ inputs / len(inputs), most)
        found += float((((made - rows) @ inputs.T) ** 2).sum())
        nearest += float((((np.rint(rows) - rows) @ inputs.T) ** 2).sum())
    assert found < 0.6 * nearest


@pytest.mark.parametrize("model", ["fashion_resnet8.onnx", "fashion_qcfs_vgg.onnx"])
def test_four_bits_are_nearly_enough(examples, images, model):
    x, y = images["x"][:300], images["y"][:300]

    def compiled(bits, **more):
        return spikec.compile(examples / model, calib=images["x_calib"], timesteps=4,
                              samples=64, weight_bits=bits, **more)  # fmt: skip

    fine, coarse = compiled(8), compiled(4)
    scores = [float((art.run(x).argmax(axis=1) == y).mean()) for art in (fine, coarse)]
    assert scores[1] > scores[0] - 0.03
    quantise = next(p for p in coarse.report.passes if p.name == "quantise")
    rounded = next(p for p in coarse.report.passes if p.name == "round")
    assert len(rounded.layers) >= 6
    errors = [v["weight_error"] for v in quantise.layers.values() if "weight_error" in v]
    assert np.median(errors) < 1e-3
    names = [p.name for p in fine.report.passes]
    assert "round" not in names


def test_too_many_inputs_are_left_alone_and_rounded_to_the_nearest(
    tiny_onnx, tiny_data, monkeypatch
):
    monkeypatch.setattr(reconstruct, "MOST_TAPS", 20)
    art = spikec.compile(tiny_onnx(), tiny_data, timesteps=4, samples=32, weight_bits=4)
    passes = {p.name: p for p in art.report.passes}
    large = [node.name for node in art.graph if node.op in ("conv", "dense")][1:]
    assert len(large) == 2
    assert passes["reconstruct"].notes == [
        f"%{name} has too many inputs to refit its weights" for name in large
    ]
    assert passes["round"].notes == [
        f"%{name} has too many inputs: rounded to the nearest" for name in large
    ]
    figures = passes["reconstruct"].layers
    assert [name for name in figures if "ridge" in figures[name]] in ([], ["relu1"])
    errors = [passes["quantise"].layers[name]["weight_error"] for name in large]
    assert max(errors) < 1e-6


def test_inputs_of_other_units_are_made_up_for_as_well():
    """Integers are weights times units, so that what a step of one costs goes by its input's."""
    found = nearest = 0.0
    for seed in range(30):
        rows, inputs, most = drawn(4, 8, seed)
        unit = 4.0 ** np.random.default_rng(seed).integers(-3, 4, 8)
        node = Node("d", OPS["dense"](), ("x",), TensorType(signed(24), (16,)))
        synapse = Synapse(node, inputs * unit, rows / unit, unit)
        step = np.abs(rows).max(axis=1) / most
        w = _rounded(synapse, (inputs * unit).T @ (inputs * unit) / len(inputs), step, most)
        plain = _rounded(synapse, None, step, most)
        want = inputs * unit @ synapse.weights.T
        found += float(((inputs * unit @ w.T - want) ** 2).sum())
        nearest += float(((inputs * unit @ plain.T - want) ** 2).sum())
    assert found < 0.6 * nearest
