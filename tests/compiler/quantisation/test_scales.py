import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikec.compiler.quantisation.scales import Chosen, ScaleGroups


def test_a_synapse_alone_uses_all_its_levels():
    groups = ScaleGroups()
    groups.add("a", np.array([1.27, 2.54]))
    assert groups.choose(dict.fromkeys(groups.members, 127))["a"] == pytest.approx([0.01, 0.02])


def test_currents_that_meet_share_a_scale_per_channel():
    groups = ScaleGroups()
    a, b = groups.add("a", np.array([1.0, 8.0])), groups.add("b", np.array([4.0, 2.0]))
    groups.same(a, b)
    scales = groups.choose(dict.fromkeys(groups.members, 4))
    assert scales["a"].tolist() == scales["b"].tolist() == [1, 2]


def test_factors_after_a_synapse_are_part_of_its_scale():
    groups = ScaleGroups()
    a, b = groups.add("a", np.array([1.0, 1.0])), groups.add("b", np.array([1.0, 1.0]))
    half = Chosen(b.synapse, np.array([0.5, 2.0]))
    groups.same(a, half)
    scales = groups.choose(dict.fromkeys(groups.members, 1))
    assert np.allclose(scales["a"], scales["b"] * half.factor)
    assert (scales["a"] >= 1).all()
    assert (scales["b"] >= 1).all()


def test_uniform_spreads_to_all_that_meet():
    groups = ScaleGroups()
    a, b = groups.add("a", np.array([1.0, 3.0])), groups.add("b", np.array([2.0, 1.0]))
    groups.make_uniform(b)
    groups.same(a, b)
    assert {k: v.tolist() for k, v in groups.choose(dict.fromkeys(groups.members, 1)).items()} == {
        "a": [3, 3],
        "b": [3, 3],
    }


def test_floors_hold_and_move_with_their_group():
    groups = ScaleGroups()
    a, b = groups.add("a", np.array([1.0, 1.0])), groups.add("b", np.array([1.0, 1.0]))
    groups.at_least(b, np.array([5.0, 0.1]))
    groups.same(a, b)
    assert groups.choose(dict.fromkeys(groups.members, 1))["a"].tolist() == [5, 1]


def test_channels_without_weights_get_a_usable_scale():
    groups = ScaleGroups()
    groups.add("a", np.array([0.0, 4.0]))
    groups.add("b", np.array([0.0]))
    scales = groups.choose(dict.fromkeys(groups.members, 2))
    assert scales["a"].tolist() == [2, 2]
    assert scales["b"].tolist() == [1]


@given(st.data())
def test_random_joins(data):
    """Equal scales where values meet, no weight beyond its levels, no floor broken."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    count, channels, levels = data.draw(st.integers(2, 6)), 3, 7
    groups = ScaleGroups()
    largest = [rng.uniform(0.1, 10, channels) for _ in range(count)]
    values = [groups.add(f"s{i}", w) for i, w in enumerate(largest)]
    ties, floors = [], []
    for _ in range(data.draw(st.integers(0, 8))):
        i, j = (data.draw(st.integers(0, count - 1)) for _ in range(2))
        kind = data.draw(st.sampled_from(["same", "floor", "uniform"]))
        if kind == "same":
            connected = groups.members[f"s{i}"].group == groups.members[f"s{j}"].group
            factor = np.ones(()) if connected else rng.uniform(0.5, 2, channels)
            right = Chosen(f"s{j}", factor)
            if not connected:
                groups.same(values[i], right)
                ties.append((values[i], right))
        elif kind == "floor":
            smallest = rng.uniform(0.1, 5, channels)
            groups.at_least(values[i], smallest)
            floors.append((values[i], smallest))
    scales = groups.choose(dict.fromkeys(groups.members, levels))
    for left, right in ties:
        assert np.allclose(scales[left.synapse] * left.factor, scales[right.synapse] * right.factor)
    for i, w in enumerate(largest):
        assert (w / scales[f"s{i}"] <= levels * (1 + 1e-9)).all()
    for value, smallest in floors:
        assert (scales[value.synapse] >= smallest * (1 - 1e-9)).all()
