"""Payload bits under a budget."""

import re

import numpy as np
import pytest

import spikec
from spikec import driver
from spikec.compiler.calibration.budget import _cheapest, _Choice, _frontier, _mean
from spikec.compiler.passes import Record
from spikec.driver.compiling import beyond_budget
from spikec.ir import PassError
from spikec.ir.neuron import Needs, Sign
from spikec.ir.ops.neurons import neuron_for
from spikec.runtime.data import make_dataset
from spikec.runtime.metrics import payload_bits

MODEL = "fashion_resnet8.onnx"


def choices(spikes: float) -> list[_Choice]:
    """Noise falls by four with each bit, and more bits send more spikes."""
    return [_Choice(b, b, 4.0**-b, spikes * (1 - 0.5**b)) for b in range(1, 9)]


@pytest.mark.parametrize("budget", [1.5, 2.0, 3.3, 5.0, 7.9])
def test_the_mean_keeps_the_budget_and_sensitive_layers_get_more(budget):
    taken = _cheapest([choices(100.0)] * 3, [1.0, 100.0, 10000.0], budget)
    assert _mean(taken) <= budget
    bits = [choice.bits for choice in taken]
    assert bits == sorted(bits)
    assert bits[-1] > bits[0]


def test_layers_that_send_little_get_more():
    many, few = _cheapest([choices(1000.0), choices(10.0)], [1.0, 1.0], 4.0)
    assert few.bits > many.bits


def test_a_wide_budget_gives_all_bits():
    assert [c.bits for c in _cheapest([choices(1.0)] * 2, [1.0, 1.0], 8.0)] == [8, 8]


def test_errors_fall_with_the_budget_to_those_of_all_bits():
    errors = _frontier([choices(100.0), choices(10.0)], [1.0, 100.0])
    assert list(errors) == list(range(1, 10))
    assert list(errors.values()) == sorted(errors.values(), reverse=True)
    assert errors[9] == pytest.approx(101 * 4.0**-8)


def test_budgets_below_what_spikes_need_are_not_listed():
    wide = [[c for c in choices(1.0) if c.bits >= 3]] * 2
    assert list(_frontier(wide, [1.0, 1.0])) == list(range(3, 10))


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"payload": "integer", "payload_budget": 3}, 1),
        ({"payload": "integer", "payload_budget": 4, "schedule": "layerwise"}, 2),
        ({"payload_budget": 2.5}, 2),
    ],
    ids=["integer", "windows", "power2"],
)
def test_spikes_carry_the_budget(examples, images, options, steps):
    art = spikec.compile(
        examples / MODEL, images["x_calib"], timesteps=steps, samples=32, spikes="graded", **options
    )
    x = images["x"][:64]
    found = driver.evaluate(art, make_dataset(x, art.graph), model=examples / MODEL).results[0]
    assert not any("budget" in line for line in art.report.warnings)
    notes = next(p.notes for p in art.report.passes if p.name == "budget")
    assert re.search(r"by budget: .*3 bits [\d.e-]+, 4 bits [\d.e-]+", notes[-1])
    mean = found.payload_bits / found.spikes
    assert 0.8 * options["payload_budget"] < mean <= options["payload_budget"]
    kinds = {str(n.type.dtype) for n in art.graph if n.type.dtype.is_spike}
    assert len(kinds) > 1
    assert found.agreement > 0.85
    assert art.check(x[:1], ("reference", "fast"))["equal"]


def test_spikes_beyond_the_budget_are_told_of():
    planned, swept = Record("budget", {"bits": 3.0}), Record("payload", {})
    swept.layer("a", spikes=10.0, spike_bits=4)
    swept.layer("b", spikes=30.0, spike_bits=3)
    assert beyond_budget([planned, swept]) == [
        "spikes carry 3.25 bits on average on the calibration data, the budget is 3; "
        "--payload-budget 2.8 leaves room"
    ]
    swept.layer("b", spike_bits=2)
    assert beyond_budget([planned, swept]) == []
    assert beyond_budget([swept]) == []


def test_a_budget_below_what_spikes_need_is_refused(examples, images):
    with pytest.raises(PassError) as error:
        spikec.compile(
            examples / MODEL, images["x_calib"], timesteps=2, samples=8, spikes="graded",
            payload="integer", payload_budget=1.5, reconstruct="off",
        )  # fmt: skip
    assert error.value.message == "pass budget: a budget of 1.5 bits is below what spikes need: 2"
    assert error.value.hint == "a budget of at least 2 bits"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"payload_budget": 3.0}, "payload_budget=3.0 is for graded spikes"),
        (
            {"spikes": "graded", "payload_budget": 3.0, "payload_bits": 4},
            "payload_budget chooses the bits of each layer, payload_bits gives them to all",
        ),
        ({"spikes": "graded", "payload_budget": 0.5}, "payload_budget must be at least 1, not 0.5"),
    ],
)
def test_options_that_cannot_be(given, message):
    with pytest.raises(spikec.UsageError) as error:
        driver.Options(**given)
    assert error.value.message == message


def test_integers_carry_their_width():
    """In one step nothing is taken back, so that the sign is left out."""
    unsigned = neuron_for(Needs(Sign.TAKES_BACK, bits=5))
    free = neuron_for(Needs(Sign.FREE, bits=5))
    window = neuron_for(Needs(Sign.UNSIGNED, gathers=True, bits=5))
    assert [payload_bits(n, 1) for n in (unsigned, free, window)] == [5, 5, 5]
    assert [payload_bits(n, 4) for n in (unsigned, free, window)] == [6, 5, 5]


def test_a_float_scan_of_windows_is_the_rule():
    """As calibration runs them, on currents that are no integers."""
    from spikec.runtime import fast

    rng = np.random.default_rng(0)
    for needs in (
        Needs(Sign.UNSIGNED, gathers=True, bits=4),
        Needs(Sign.FREE, gathers=True, radix=True),
        Needs(Sign.UNSIGNED, gathers=True),
        Needs(Sign.TAKES_BACK, bits=3),
    ):
        neuron = neuron_for(needs)
        current = rng.normal(0.3, 1, (4, 8, 3)).astype(np.float32)
        params = {role: np.float32(share) for role, share in (("v0", 0.2), ("bias", 0.1))}
        params["theta"] = np.array([0.3, 0.5, 0.9], np.float32)
        given = {**params, **{r: params["theta"] * s for r, s in neuron.shares().items()}}
        spread = {role: np.broadcast_to(p, (3,)).astype(np.float32) for role, p in given.items()}
        payloads, _ = fast.scan(neuron, current, spread, 4, keep=False)
        assert (payloads == neuron.scan([current], spread, 4)[0]).all()
