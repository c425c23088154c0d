"""Neurons against a direct transcription of their equations in Python integers."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikec.ir import OPS


def integrate(currents, theta, v0, bias):
    """v += I + bias; s = [v >= theta]; v -= theta s."""
    v, spikes, potentials = v0, [], []
    for current in currents:
        v = v + current + bias
        s = 1 if v >= theta else 0
        v = v - theta * s
        spikes.append(s)
        potentials.append(v)
    return spikes, potentials


def integrate_signed(currents, theta, v0, bias, theta_neg, free):
    """The same with s = -1 if v < theta_neg and n > 0; n += s."""
    v, n, spikes, potentials = v0, 0, [], []
    for current in currents:
        v = v + current + bias
        if v >= theta:
            s = 1
        elif v < theta_neg and (free or n > 0):
            s = -1
        else:
            s = 0
        v = v - theta * s
        n = n + s
        spikes.append(s)
        potentials.append(v)
    return spikes, potentials


SMALL = st.integers(-40, 40)
LARGE = st.integers(-(2**30), 2**30)


@st.composite
def layers(draw):
    """Currents (steps or 1, batch 2, channels 2, width 2) and params of every allowed shape."""
    value = draw(st.sampled_from([SMALL, LARGE]))
    steps = draw(st.integers(1, 7))
    rows = draw(st.sampled_from([1, steps]))

    def array(*shape):
        many = draw(st.lists(value, min_size=1, max_size=8))
        return np.resize(np.array(many, np.int64), shape)

    shape = st.sampled_from([(), (2,), (2, 2)])
    params = {
        "theta": np.abs(array(*draw(shape))) + 1,
        "v0": array(*draw(shape)),
        "theta_neg": -np.abs(array(*draw(shape))),
    }
    if draw(st.booleans()):
        params["bias"] = array(*draw(shape))
    return array(rows, 2, 2, 2), params, steps


def at(array, place):
    """A param's value at a neuron (channel, x)."""
    if array.ndim == 0:
        return int(array)
    return int(array[place[0]]) if array.ndim == 1 else int(array[place])


def transcribed(current, params, steps, free):
    spikes = np.zeros((steps, *current.shape[1:]), int)
    potentials = np.zeros_like(spikes)
    for n, *place in np.ndindex(*current.shape[1:]):
        where = (slice(None), n, *place)
        series = [int(c) for c in current[where]] * (1 if len(current) == steps else steps)
        p = {role: at(array, tuple(place)) for role, array in params.items()}
        base = (series, p["theta"], p["v0"], p.get("bias", 0))
        out = integrate(*base) if free is None else integrate_signed(*base, p["theta_neg"], free)
        spikes[where], potentials[where] = out
    return spikes, potentials


@pytest.mark.parametrize("free", [None, False, True])
def test_neurons_follow_their_equations(free):
    @given(layers())
    @settings(max_examples=60)
    def inner(case):
        current, params, steps = case
        spikes, potentials = transcribed(current, params, steps, free)
        given_params = {k: v for k, v in params.items() if free is not None or k != "theta_neg"}
        op = OPS["integrate"]() if free is None else OPS["integrate_signed"].of({"free": free})
        found = op.scan([current], given_params, steps)
        assert (found[0] == spikes).all()
        assert (found[1] == potentials).all()

    inner()


@given(layers())
def test_the_net_count_of_a_neuron_with_memory_is_never_negative(case):
    current, params, steps = case
    spikes, _ = OPS["integrate_signed"].of({"free": False}).scan([current], params, steps)
    assert (spikes.cumsum(axis=0) >= 0).all()


@given(layers())
def test_charge_is_conserved(case):
    current, params, steps = case
    spikes, potentials = transcribed(current, params, steps, False)
    for n, *place in np.ndindex(*current.shape[1:]):
        where = (n, *place)
        rows = current[(slice(None), *where)]
        total = int(rows.sum()) * (1 if len(rows) == steps else steps)
        p = {role: at(array, tuple(place)) for role, array in params.items()}
        put_in = total + steps * p.get("bias", 0) + p["v0"]
        assert put_in == potentials[(-1, *where)] + p["theta"] * spikes[(slice(None), *where)].sum()


@given(st.integers(1, 1000), st.integers(-1500, 3000), st.integers(1, 64))
def test_qcfs_identity(theta, a, steps):
    """IF with constant input: sum(s) = clip(floor((T a + v0) / theta), 0, T) for v0 = theta/2."""
    theta, v0 = 2 * theta, theta
    current = np.full((1, 1, 1), a)
    params = {"theta": np.array(theta), "v0": np.array(v0)}
    spikes, _ = OPS["integrate"]().scan([current], params, steps)
    exact = math.floor(Fraction(steps * a + v0, theta))
    assert spikes.sum() == min(max(exact, 0), steps)


@given(st.integers(1, 200), st.integers(-300, 600), st.integers(1, 32))
def test_an_if_neuron_computes_the_qcfs_op(half, a, levels):
    lam = 2 * half
    current = np.full((1, 1, 1), a)
    params = {"theta": np.array(lam), "v0": np.array(half)}
    spikes, _ = OPS["integrate"]().scan([current], params, levels)
    attrs = {"levels": levels, "shift": 0.5, "rounding": "floor"}
    # exact multiples of the step stay exact in float64 only where L divides lambda
    y = OPS["qcfs"].of(attrs).run([np.full((1, 1), float(a))], {"lambda": np.array(float(lam))})
    rate = spikes.sum() * lam / levels
    tie = Fraction(a * levels, lam) + Fraction(1, 2)
    if tie.denominator != 1 or lam % levels == 0:
        assert rate == pytest.approx(float(y[0, 0]))


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=9), st.integers(-9, 9))
def test_readout_accumulates(currents, bias):
    current = np.array(currents).reshape(-1, 1, 1)
    out, potentials = OPS["accumulate"]().scan([current], {"bias": np.array(bias)}, len(currents))
    expected = [sum(currents[: t + 1]) + (t + 1) * bias for t in range(len(currents))]
    assert out.reshape(-1).tolist() == expected == potentials.reshape(-1).tolist()


def test_firing_at_the_threshold_is_firing():
    params = {"theta": np.array(10), "v0": np.array(0)}
    spikes, potentials = OPS["integrate"]().scan([np.full((1, 1, 1), 10)], params, 2)
    assert spikes.reshape(-1).tolist() == [1, 1]
    assert potentials.reshape(-1).tolist() == [0, 0]


def test_a_potential_at_theta_neg_does_not_fire():
    params = {"theta": np.array(10), "v0": np.array(10), "theta_neg": np.array(-5)}
    current = np.array([0, -5, -1]).reshape(3, 1, 1)
    spikes, _ = OPS["integrate_signed"].of({"free": False}).scan([current], params, 3)
    assert spikes.reshape(-1).tolist() == [1, 0, -1]
