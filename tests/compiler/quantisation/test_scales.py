"""Scales that currents share, weight exponents, and grids."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikec.compiler.quantisation.scales import (
    MOST_EXPONENT,
    NOTHING,
    Conflict,
    Current,
    Scales,
    grid_of,
)

ONE = np.ones(())


def steps(scales, *currents, **options):
    """Scale, exponent and the step of the weights, of each current's variables."""
    choice = scales.choose(**options)
    found = [(choice.scale[c.variable], choice.exponent[c.variable]) for c in currents]
    return [(scale, exponent, scale * 2.0**exponent) for scale, exponent in found]


def rows(*largest, others=0.7123):
    """Weights of channels with these largest ones, on no grid."""
    return np.array([[value, -others * value, 0.5311 * value] for value in largest])


def test_a_synapse_alone_uses_all_its_levels():
    scales = Scales()
    ((scale, exponent, _),) = steps(scales, scales.add(rows(1.27, 2.54), 127, 1))
    assert scale == pytest.approx([0.01, 0.02])
    assert not exponent.any()


def test_currents_that_meet_share_a_scale_and_a_wide_one_is_shifted():
    scales = Scales()
    wide, narrow = scales.add(rows(8.0), 127, 1), scales.add(rows(0.1), 127, 255)
    scales.unify(wide.variable, narrow.variable, ONE)
    (scale, exponent, step), (same, none, fine) = steps(scales, wide, narrow)
    assert scale == same
    assert exponent > none
    assert 8 / 127 <= step[0] < 2 * 8 / 127
    assert 0.1 / 127 <= fine[0] < 2 * 0.1 / 127


def test_a_narrow_branch_need_not_be_finer_than_what_the_wide_one_loses():
    scales = Scales()
    wide, narrow = scales.add(rows(8.0), 127, 1), scales.add(rows(0.1), 127, 1)
    scales.unify(wide.variable, narrow.variable, ONE)
    assert not scales.choose().exponent.any()


def test_what_meets_does_without_exponents_where_these_gain_little():
    scales = Scales()
    left, right = scales.add(rows(1.0), 127, 1), scales.add(rows(0.8), 127, 1)
    scales.unify(left.variable, right.variable, ONE)
    for scale, exponent, _ in steps(scales, left, right):
        assert scale == pytest.approx([1 / 127])
        assert not exponent.any()


def test_factors_after_a_synapse_are_part_of_its_scale():
    scales = Scales()
    left, right = scales.add(rows(1.0, 1.0), 1, 1), scales.add(rows(1.0, 1.0), 1, 1)
    scales.unify(left.variable, right.variable, 1 / np.array([0.5, 2.0]))
    (a, _, _), (b, _, _) = steps(scales, left, right)
    assert a == pytest.approx(b * [0.5, 2.0])


def test_two_ratios_at_once_are_a_conflict():
    scales = Scales()
    left, right = scales.add(rows(1.0), 1, 1), scales.add(rows(1.0), 1, 1)
    scales.unify(left.variable, right.variable, ONE)
    scales.unify(left.variable, right.variable, ONE)
    with pytest.raises(Conflict):
        scales.unify(left.variable, right.variable, np.array(2.0))


def test_elements_that_are_always_zero_join_nothing():
    scales = Scales()
    left, right = scales.add(rows(1.0, 1.0), 1, 1), scales.add(rows(5.0, 5.0), 1, 1)
    scales.unify(np.array([NOTHING, left.variable[1]]), right.variable, ONE)
    assert scales.root(0) != scales.root(2)
    assert scales.root(1)[0] == scales.root(3)[0]


def test_proven_limits_hold_and_seen_ones_instead_where_those_cost_too_much():
    scales = Scales()
    current = scales.add(rows(127.0), 127, 1)
    scales.require(current, (1,), {"proven": np.array([5.0]), "seen": np.array([0.25])})
    assert scales.choose().unproven.all()
    ((strict, _, _),) = steps(scales, current)
    ((loose, _, _),) = steps(scales, current, checked=True)
    assert strict == 5
    assert loose == 1


def test_small_thresholds_make_scales_finer_by_whole_bits():
    scales = Scales()
    current = scales.add(rows(127.0), 127, 1)
    scales.require(current, (1, 2), {"smallest": np.array([9.0])})
    ((scale, exponent, step),) = steps(scales, current)
    assert (scale[0], exponent[0], step[0]) == (1 / 8, 3, 1)


def test_units_of_readouts_are_small_beside_the_largest_weight():
    scales = Scales()
    current = scales.add(rows(7.0, 0.1), 7, 1)
    scales.unify(np.array([0]), np.array([1]), ONE)
    scales.resolve(current)
    ((scale, _, step),) = steps(scales, current)
    assert scale.tolist() == [1 / 16, 1 / 16]
    assert step[0] == 1


def test_channels_without_weights_get_a_usable_scale():
    scales = Scales()
    some, none = scales.add(rows(0.0, 4.0), 2, 1), scales.add(rows(0.0), 2, 1)
    (scale, *_), (other, *_) = steps(scales, some, none)
    assert scale == pytest.approx([2, 2])
    assert other == pytest.approx([2])


@given(st.integers(0, 2**32 - 1), st.integers(1, 127), st.integers(1, 9))
def test_grids_are_found(seed, levels, taps):
    rng = np.random.default_rng(seed)
    whole = rng.integers(-levels, levels + 1, (5, taps))
    step = 10.0 ** rng.uniform(-3, 3, 5)
    weights = (whole * step[:, None]).astype(np.float32).astype(np.float64)
    grid = grid_of(weights, levels)
    used = whole.any(axis=1)
    assert (grid[~used] == 0).all()
    multiples = weights[used] / grid[used, None]
    assert np.abs(multiples - np.rint(multiples)).max(initial=0) < 1e-4
    assert (np.abs(multiples) < levels + 0.5).all()
    assert (grid[used] >= step[used] * (1 - 1e-4)).all()


def test_weights_on_no_grid_have_none():
    assert (grid_of(np.random.default_rng(0).normal(size=(9, 40)), 127) == 0).all()


def test_a_branch_on_a_grid_stays_on_it():
    scales = Scales()
    whole = np.array([[7, -3, 5]])
    coarse = scales.add(whole * 0.37, 127, 100)
    other = scales.add(rows(4.0), 127, 1)
    scales.unify(coarse.variable, other.variable, ONE)
    (_, _, step), _ = steps(scales, coarse, other)
    multiples = whole * 0.37 / step
    assert multiples == pytest.approx(np.rint(multiples), abs=1e-9)


@given(st.data())
def test_random_joins(data):
    """Equal scales where values meet, no weight beyond its levels, no limit broken."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    count, channels, levels = data.draw(st.integers(2, 6)), 3, 7
    scales = Scales()
    weights = [rng.normal(size=(channels, 4)) * 10 ** rng.uniform(-2, 2) for _ in range(count)]
    currents = [scales.add(w, levels, 1) for w in weights]
    ties, limits = [], []
    for _ in range(data.draw(st.integers(0, 8))):
        i, j = (data.draw(st.integers(0, count - 1)) for _ in range(2))
        if data.draw(st.booleans()):
            left, right = currents[i].variable, currents[j].variable
            roots = [[scales.root(int(v))[0] for v in side] for side in (left, right)]
            if not any(a == b for a, b in zip(*roots, strict=True)):
                ratio = rng.uniform(0.5, 2, channels)
                scales.unify(left, right, ratio)
                ties.append((left, right, ratio))
        else:
            finest = rng.uniform(0.001, 5, channels)
            scales.require(currents[i], (channels,), {"proven": finest})
            limits.append((currents[i].variable, finest))
    choice = scales.choose()
    for left, right, ratio in ties:
        assert choice.scale[left] * ratio == pytest.approx(choice.scale[right])
    for current, w in zip(currents, weights, strict=True):
        step = choice.scale[current.variable] * 2.0 ** choice.exponent[current.variable]
        assert (np.abs(w).max(axis=1) / step <= levels * (1 + 1e-6)).all()
    for variable, finest in limits:
        assert (choice.scale[variable] >= finest * (1 - 1e-9)).all()
    assert choice.exponent.min() >= 0
    assert choice.exponent.max() <= MOST_EXPONENT


def test_a_current_has_one_unit_per_channel_or_per_element():
    current = Current(np.array([4, 5]), np.array([[1.0, 2.0], [3.0, 4.0]]))
    variable, gain = current.spread((2, 2))
    assert variable.tolist() == [[4, 4], [5, 5]]
    assert gain.tolist() == [[1, 2], [3, 4]]
