"""Compile refuses a network that loses much to rounding."""

import json

import pytest

import spikec
from spikec import RangeError
from spikec.driver.gate import check_rounding, is_far
from spikec.report.schema import Loss, OutputLoss, PassEntry, Report


def report(outputs=(), figures=None):
    both = {"float": 0.9, "int": 0.9}
    loss = Loss(20, True, both, 0.0, both, [], [], list(outputs), "relu2")
    entries = [PassEntry("quantise", {}, [], figures or {})]
    return Report(model="m.onnx", timesteps=8, operators={}, passes=entries, layers=[], loss=loss)


@pytest.mark.parametrize(
    ("real", "whole", "far"),
    [(0.1, 0.19, False), (0.1, 0.21, True), (0.0, 0.049, False), (0.0, 0.051, True)],
)
def test_an_output_may_be_half_as_far_again_and_a_bit(real, whole, far):
    out = OutputLoss("y", real, whole)
    assert is_far(out) == far
    if not far:
        assert check_rounding(report([out]), allowed=False) is None
        return
    with pytest.raises(RangeError, match=r"output 'y' is .* from the ANN.*lost in %relu2") as error:
        check_rounding(report([out]), allowed=False)
    assert "--allow-rounding-loss" in error.value.hint
    assert f"{whole:.2f}" in check_rounding(report([out]), allowed=True)


def test_weights_that_are_rounded_away_are_told():
    figures = {"conv": {"weight_error": 0.9}, "a": {"rounding_noise": 5.0},
               "b": {"rounding_noise": 40.0}}  # fmt: skip
    with pytest.raises(RangeError, match=r"weights of %b are rounded 40.0 times") as error:
        check_rounding(report(figures=figures), allowed=False)
    assert "state is too narrow" in error.value.hint


def test_wide_sums_may_round_their_weights_a_little():
    figures = {"conv": {"weight_error": 0.05}, "a": {"rounding_noise": 5.0}}
    assert check_rounding(report(figures=figures), allowed=False) is None


def test_plain_rounding_is_no_loss():
    figures = {"conv": {"weight_error": 0.4}, "a": {"rounding_noise": 1.4}}  # 2 bits, say
    assert check_rounding(report(figures=figures), allowed=False) is None


def test_a_narrow_state_is_refused_and_nothing_written(tiny_onnx, tiny_data, tmp_path):
    narrow = tmp_path / "narrow.json"
    narrow.write_text(json.dumps({"state_bits": 12}))
    options = {"timesteps": 4, "samples": 32, "hardware": narrow}
    with pytest.raises(RangeError, match="rounding to integers loses too much") as error:
        spikec.compile(tiny_onnx(), tiny_data, **options)
    assert "%" in error.value.message
    art = spikec.compile(tiny_onnx(), tiny_data, allow_rounding_loss=True, **options)
    assert "%relu1" in art.stored.manifest["rounding_loss"]
    assert art.stored.manifest["rounding_loss"] in art.report.warnings
    assert art.stored.manifest["rounding_loss"].startswith("rounding to integers loses much")


def test_a_sound_network_is_not_doubted(tiny_onnx, tiny_data):
    art = spikec.compile(tiny_onnx(), tiny_data, timesteps=4, samples=32)
    (out,) = art.report.loss.outputs
    assert (out.output, out.float_error > 0) == ("logits", True)
    assert "rounding_loss" not in art.stored.manifest
