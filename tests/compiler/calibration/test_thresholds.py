import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikec.compiler.calibration.thresholds import best_thresholds, percentile_thresholds, qcfs


def test_qcfs_is_what_an_if_neuron_counts():
    for levels in (1, 3, 8):
        for theta in (0.5, 2.0):
            x = np.linspace(-1, 3, 41) + 1e-4
            v = np.full_like(x, theta / 2)
            count = np.zeros_like(x)
            for _ in range(levels):
                v += x
                fired = v >= theta
                count += fired
                v -= theta * fired
            assert np.allclose(qcfs(x, theta, levels), theta * count / levels)


def test_signed_qcfs_reaches_below_zero():
    assert qcfs(np.array([-9.0, -1.0, 9.0]), 2.0, 2, floor=-1.0).tolist() == [-2, -1, 2]


def values(low, high, hist):
    """The histogram as values at its bins' centres."""
    width = (high - low) / len(hist)
    return np.repeat(low + (np.arange(len(hist)) + 0.5) * width, hist)


@given(st.integers(0, 1000), st.sampled_from([1, 2, 4, 8]), st.booleans(), st.booleans())
def test_no_threshold_of_the_grid_is_better(seed, levels, shared, signed):
    rng = np.random.default_rng(seed)
    low = -rng.uniform(0.1, 3, 3) if signed else np.zeros(3)
    high = rng.uniform(0.1, 5, 3)
    hist = rng.integers(0, 6, (3, 16))
    hist[:, 5] += 1
    found = best_thresholds(low, high, hist, levels, shared)
    reach = np.maximum(high, -low)
    top = np.full(3, reach.max()) if shared else reach
    floor = -1.0 if signed else 0.0

    def error(c, theta):
        x = values(low[c], high[c], hist[c])
        return ((x - qcfs(x, theta, levels, floor)) ** 2).sum()

    grid = np.linspace(0.02, 1, 99)
    if shared:
        best = min(sum(error(c, r * top[0]) for c in range(3)) for r in grid)
        assert len(set(found.tolist())) == 1
        assert sum(error(c, found[c]) for c in range(3)) == pytest.approx(best)
    else:
        for c in range(3):
            best = min(error(c, r * top[c]) for r in grid)
            assert error(c, found[c]) == pytest.approx(best)


def test_two_levels_of_activation_are_met():
    hist = np.zeros((1, 100), int)
    hist[0, 49] = hist[0, 99] = 10
    (theta,) = best_thresholds(np.zeros(1), np.full(1, 2.0), hist, 2, False)
    assert qcfs(np.array([0.99, 1.99]), theta, 2).tolist() == pytest.approx([theta / 2, theta])
    assert theta == pytest.approx(2, abs=0.05)


def test_silent_channels_take_the_mean_of_the_others():
    hist = np.ones((3, 4), int)
    low, high = np.zeros(3), np.array([0.0, 2.0, 4.0])
    found = best_thresholds(low, high, hist, 4, False)
    assert found[0] == pytest.approx(found[1:].mean())
    nothing = best_thresholds(np.zeros(2), np.zeros(2), hist[:2], 4, False)
    assert nothing.tolist() == [1, 1]
    assert percentile_thresholds(np.zeros(2), np.zeros(2), hist[:2], 99.0).tolist() == [1, 1]


def test_percentiles():
    hist = np.ones((1, 100), int)
    one = np.ones(1)
    for percent in (50, 90, 99, 100):
        found = percentile_thresholds(0 * one, 10 * one, hist, percent)
        assert found[0] == pytest.approx(percent / 10)
