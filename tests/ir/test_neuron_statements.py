"""What each neuron states of itself holds; a new one joins by being there."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikec.ir.neuron import Membrane, Needs, Sign
from spikec.ir.op import Op
from spikec.ir.ops import OPS
from spikec.ir.ops.neurons import is_offered, neuron_for, neurons
from spikec.runtime import fast

STEPS = 6
NEURONS = neurons()


def variants(kind: type[Op]) -> list[Op]:
    """A neuron with each value of its flags."""
    flags = [name for name, attribute in kind.schema().items() if attribute.kind is bool]
    return [kind.of(dict.fromkeys(flags, value)) for value in ((False, True) if flags else (0,))]


ALL = [neuron for name in NEURONS for neuron in variants(NEURONS[name])]


def named(neuron) -> str:
    return f"{neuron.name}-{neuron.sign.name}"


def params_of(neuron, rng, channels=3):
    """Params of integers; potentials besides theta and v0 as shares of theta, as passes start."""
    theta = rng.integers(1, 60, channels)
    params = {"theta": theta, "v0": rng.integers(-60, 60, channels)}
    params["bias"] = rng.integers(-9, 10, channels)
    for role, spec in neuron.params.items():
        if spec.share is not None:
            params[role] = np.rint(theta * spec.share * rng.uniform(0.7, 1.3)).astype(np.int64)
        elif spec.kind == "number":
            params[role] = rng.integers(1, 4, channels)
    return neuron.admissible(params)


def currents_of(rng, batch=4, inputs=5, channels=3):
    """Currents (steps, batch, channels) of signed spikes whose net sum is never negative.

    Returns them with the bounds of a single step and of the mean.
    """
    sent = np.zeros((STEPS, batch, inputs), np.int64)
    for t in range(STEPS):
        wanted = rng.integers(-1, 2, (batch, inputs))
        sent[t] = np.where(sent[:t].sum(axis=0) + wanted < 0, 0, wanted)
    w = rng.integers(-20, 21, (channels, inputs))
    up, down = np.maximum(w, 0).sum(axis=1), np.minimum(w, 0).sum(axis=1)
    return sent @ w.T, (down - up, up - down), (down, up)


@pytest.mark.parametrize("neuron", ALL, ids=named)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_statements_hold(neuron, seed):
    rng = np.random.default_rng(seed)
    params = params_of(neuron, rng)
    current, single, mean = currents_of(rng)
    payloads, potentials = neuron.scan([current], params, STEPS)

    low, high = neuron.payload.bounds
    assert payloads.min() >= (0 if neuron.sign is Sign.UNSIGNED else low)
    assert payloads.max() <= high
    if neuron.sign is not Sign.FREE:
        assert payloads.cumsum(axis=0).min() >= 0

    spread = neuron.spread_params(params, (3,), current)
    before = neuron.before_reset(potentials, payloads, spread)
    bounds = neuron.potential_bounds(single, mean, spread, STEPS)
    if bounds is not None:
        for seen in (before, potentials):
            assert (seen >= bounds[0]).all()
            assert (seen <= bounds[1]).all()
    reach = neuron.reach(mean, spread, STEPS)
    if reach is not None:
        assert (np.abs(before) <= reach).all()
        assert (np.abs(potentials) <= reach).all()

    for parallel in (True, False):
        found = fast.scan(neuron, current, params, STEPS, True, parallel)
        assert (found[0] == payloads).all()
        assert (found[1] == potentials).all()


@pytest.mark.parametrize("neuron", ALL, ids=named)
def test_charging_never_falls_where_potential_or_current_rises(neuron):
    params = neuron.spread_params(
        params_of(neuron, np.random.default_rng(0)), (3,), np.zeros(3, int)
    )
    v, current = np.arange(-99, 100)[:, None, None], np.arange(-30, 31)[None, :, None]
    charged = neuron.charge(np.broadcast_to(v, (199, 61, 3)), current, params)
    assert (np.diff(charged, axis=0) >= 0).all()
    assert (np.diff(charged, axis=1) >= 0).all()


@pytest.mark.parametrize("neuron", ALL, ids=named)
def test_the_search_judges_neurons_by_their_own_rule(neuron):
    from spikec.runtime.fast.scans import Drawn, errors_of_rule

    rng = np.random.default_rng(1)
    shares = {role: np.float32(share) for role, share in neuron.shares().items()}
    shares |= {r: np.float32(1) for r, spec in neuron.params.items() if spec.kind == "number"}
    drawn = Drawn(
        *(rng.normal(0.3, 0.5, s).astype(np.float32) for s in ((4, 2, 50), (2, 50), (2, 50))), 4
    )
    theta = rng.uniform(0.3, 1, (2, 3)).astype(np.float32)
    v0 = rng.uniform(0, 1, (2, 4)).astype(np.float32)
    found = fast.rate_errors(neuron, drawn, theta, v0, shares)
    assert found == pytest.approx(errors_of_rule(neuron, drawn, theta, v0, shares), rel=1e-4)


@pytest.mark.parametrize("name", sorted(OPS))
def test_every_param_has_a_kind_that_fits(name):
    op = OPS[name]
    kinds = {role: spec.kind for role, spec in op.params.items()}
    assert all(kind == "real" for kind in kinds.values()) or "real" not in kinds.values()
    if issubclass(op, Membrane):
        assert kinds.pop("scale") == "unit"
        assert kinds.pop("bias") == "current"
        assert set(kinds.values()) <= {"current", "potential", "number"}
        assert op.title
    if op.neuron:
        others = {role for role, kind in kinds.items() if kind == "potential"} - {"theta", "v0"}
        assert others == set(op.shares()), "a pass must know what it starts with"


@pytest.mark.parametrize("gathers", [False, True])
@pytest.mark.parametrize("levels", [1, 4])
@pytest.mark.parametrize("sign", list(Sign))
def test_what_passes_may_ask_for(sign, levels, gathers):
    needs = Needs(sign, gathers, levels)
    offers = [NEURONS[name].offer(needs) for name in NEURONS]
    offers = [offer for offer in offers if offer is not None]
    assert len(offers) <= 1
    for offer in offers:
        assert neuron_for(needs) == offer
        assert is_offered(offer, needs)
        assert (offer.sign, offer.gathers, offer.payload.levels) == (sign, gathers, levels)
