"""The loss budget of a compiled network, and warnings about inputs."""

import dataclasses
import json

import numpy as np
import pytest

import spikec
from spikec.driver.losses import advice
from spikec.report.page import build
from spikec.report.schema import LayerLoss


@pytest.fixture(scope="module")
def art(tiny_onnx, tiny_data):
    return spikec.compile(tiny_onnx(), tiny_data, timesteps=4, samples=32)


def test_the_loss_is_that_of_samples_not_calibrated_on(art, tiny_data):
    loss = art.report.loss
    assert (loss.samples, loss.held_out) == (16, True)
    drawn = np.random.default_rng(0).choice(48, 32, replace=False)
    rest = np.delete(tiny_data, drawn, axis=0)
    ann = art.model.logits({art.model.graph.inputs[0].name: rest})
    for stage in ("float", "int"):
        y = art.run(rest, stage=stage)
        assert loss.agreement[stage] == (y.argmax(axis=1) == ann.argmax(axis=1)).mean()
        error = np.linalg.norm(y - ann) / np.linalg.norm(ann)
        assert loss.relative_error[stage] == pytest.approx(error)
    assert 0 < loss.standard_error < 0.2
    assert {layer.layer for layer in loss.worst_layers} == {"relu1", "relu2", "gemm.out"}
    errors = [layer.error for layer in loss.worst_layers]
    assert errors == sorted(errors, reverse=True)
    assert all(0 <= layer.rounding <= layer.error for layer in loss.worst_layers)


def test_without_samples_to_spare_those_of_calibration_are_measured(tiny_onnx, tiny_data):
    loss = spikec.compile(tiny_onnx(), tiny_data, timesteps=2).report.loss
    assert (loss.samples, loss.held_out) == (48, False)
    validated = spikec.compile(tiny_onnx(), tiny_data[:24], timesteps=2,
                               validation=tiny_data[24:]).report.loss  # fmt: skip
    assert (validated.samples, validated.held_out) == (24, True)


def test_the_page_and_json_say_it(art):
    page = build(art.report)
    assert "Where the loss comes from" in page
    assert f"{art.report.loss.agreement['int']:.1%}" in page
    kept = json.loads(json.dumps(art.report.to_json()["loss"]))
    assert {"samples", "agreement", "standard_error"} <= set(kept)
    assert set(kept["agreement"]) == {"float", "int"}


def test_advice_names_the_part_that_costs_most():
    layers = [LayerLoss("a", 0.3, 0.01), LayerLoss("b", 0.2, 0.15)]
    (text,) = advice(8, {"float": 0.1, "int": 0.12}, 100, layers)
    assert text.startswith("spikes instead of activations cost 10.0% of the classes, most in %a")
    assert "--timesteps 16" in text
    (text,) = advice(8, {"float": 0.01, "int": 0.1}, 100, layers)
    assert text.startswith("rounding to integers costs 9.0% of the classes, most in %b")
    assert advice(8, {"float": 0.0, "int": 0.01}, 100, layers) == []
    (text,) = advice(8, {"float": 0.5, "int": 0.5}, 100, [], "deviation of the outputs")
    assert text.startswith("spikes instead of activations cost 50.0% of the deviation")


def test_inputs_in_another_range_are_doubted(art, tiny_data):
    assert art.doubts(art.dataset(tiny_data[:4])) == []
    (doubt,) = art.doubts(art.dataset(tiny_data / 255))
    assert doubt.startswith("inputs 'x' span ")
    assert doubt.endswith("are they scaled alike?")
    (doubt,) = art.doubts(art.dataset(tiny_data * 3))
    assert "input values lie outside the calibrated input range" in doubt
    evaluation = dataclasses.asdict(art.evaluate(tiny_data / 255))
    assert any("are they scaled alike?" in note for note in evaluation["notes"])
