"""Graded spikes: their type, and their neuron against its equation in Python integers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikec.ir import OPS, SPIKE, DType, InvalidGraph, ParseError, parse
from spikec.ir.types import spikes
from spikec.runtime.fast import scan

GRAPH = """graph @g <stage=int, steps=3> {{
  param @w : i8[2,2] = [[3, -2], [1, 4]]
  param @theta : i24[] = 2
  param @fire : i24[] = 2
  param @v0 : i24[] = 1
  %x : u8[2] = input()
  %c : i24[2] = dense(%x) <w=@w>
  %s : {type}[2] = integrate_graded(%c) <theta=@theta, fire=@fire, v0=@v0{attrs}>
  %d : i24[2] = dense(%s) <w=@w>
  %y : i24[2] = accumulate(%d)
  return %y
}}"""


@pytest.mark.parametrize("levels", range(2, 9))
def test_type_name_bounds_and_storage(levels):
    dtype = DType.parse(f"spike{levels}")
    assert dtype == spikes(levels)
    assert str(dtype) == f"spike{levels}"
    assert (dtype.levels, dtype.is_graded) == (levels, True)
    assert dtype.bounds == (-(2 ** (levels - 1)), 2 ** (levels - 1))
    info = np.iinfo(dtype.storage)
    assert info.min <= dtype.bounds[0]
    assert dtype.bounds[1] <= info.max


def test_unit_events_stay_what_they_are():
    assert spikes(1) == SPIKE == DType.parse("spike")
    assert (str(SPIKE), SPIKE.bounds, SPIKE.is_graded) == ("spike", (-1, 1), False)


@pytest.mark.parametrize("name", ["spike1", "spike0", "spike9", "spike12", "spikes"])
def test_other_names_are_no_types(name):
    with pytest.raises(ParseError):
        DType.parse(name)


def test_text_round_trip():
    text = GRAPH.format(type="spike3", attrs=", levels=3, free=false")
    graph = parse(text)
    assert parse(graph.to_text()) == graph


@pytest.mark.parametrize(
    ("type_", "attrs", "what"),
    [
        ("spike", ", levels=3, free=false", "spike3"),
        ("spike4", ", levels=3, free=false", "spike3"),
        ("spike3", ", levels=1, free=false", "2 to 8"),
        ("spike3", ", levels=9, free=false", "2 to 8"),
    ],
)
def test_the_verifier_wants_the_type_of_the_levels(type_, attrs, what):
    with pytest.raises(InvalidGraph, match=what):
        parse(GRAPH.format(type=type_, attrs=attrs))


def transcribed(currents, theta, fire, v0, bias, levels, free):
    """One neuron; the payload is found by trying all from the largest on."""
    v, n, payloads, potentials = v0, 0, [], []
    for current in currents:
        v += current + bias
        units = [2**k for k in reversed(range(levels))]
        up = [u for u in units if v >= fire * u]
        down = [u for u in units if v < -fire * u and (free or n >= u)]
        p = up[0] if up else -down[0] if down else 0
        v -= theta * p
        n += p
        payloads.append(p)
        potentials.append(v)
    return payloads, potentials


@st.composite
def neurons(draw):
    size = draw(st.sampled_from([30, 100_000]))
    values = st.integers(-size, size)
    positive = st.integers(1, max(2, size // 20))
    steps = draw(st.integers(1, 8))
    currents = draw(st.lists(values, min_size=steps, max_size=steps))
    rest = (draw(positive), draw(positive), draw(values), draw(values))
    return currents, *rest, draw(st.integers(2, 8)), draw(st.booleans())


@given(neurons())
def test_the_op_and_the_kernel_follow_the_equation(case):
    currents, theta, fire, v0, bias, levels, free = case
    payloads, potentials = transcribed(*case)
    current = np.array(currents, np.int64).reshape(-1, 1, 1)
    params = {"theta": theta, "fire": fire, "v0": v0, "bias": bias}
    params = {role: np.array(value) for role, value in params.items()}
    op = OPS["integrate_graded"](free, levels)
    meant = op.scan([current], params, len(currents))
    for parallel in (True, False):
        compiled = scan(op, current, params, len(currents), True, parallel)
        for found in (meant, compiled):
            assert found[0].ravel().tolist() == payloads
            assert found[1].ravel().tolist() == potentials


@given(neurons())
def test_the_memory_holds(case):
    payloads, _ = transcribed(*case)
    assert case[-1] or min(np.cumsum(payloads)) >= 0
    assert set(map(abs, payloads)) <= {0, *(2**k for k in range(case[-2]))}


@given(neurons())
def test_firing_at_half_of_theta_or_later_never_raises_the_potential(case):
    currents, theta, fire, v0, bias, levels, free = case
    fire = max(fire, -(-theta // 2))
    payloads, potentials = transcribed(currents, theta, fire, v0, bias, levels, free)
    before = [v + theta * p for v, p in zip(potentials, payloads, strict=True)]
    assert all(abs(v) <= abs(b) for v, b in zip(potentials, before, strict=True))


@pytest.mark.parametrize(("v0", "payload"), [(12, 4), (11, 2), (6, 2), (5, 1), (3, 1), (2, 0)])
def test_ties_fire(v0, payload):
    assert transcribed([0], 4, 3, v0, 0, 3, False)[0] == [payload]


@pytest.mark.parametrize(("v0", "payload"), [(-3, 0), (-4, -1), (-6, -1), (-7, -2), (-99, -4)])
def test_negative_ties_do_not_fire(v0, payload):
    assert transcribed([0], 4, 3, v0, 0, 3, True)[0] == [payload]


def test_pooled_sums_change_by_any_integer():
    """Net sums of two neurons: 4 then 4 against 0 then 7: the maximum rises by 4, then by 3."""
    trains = np.array([[4, 0], [0, 4], [0, 2], [0, 1]]).reshape(4, 1, 1, 2)
    attrs = {"kernel": (2,), "strides": (1,), "pads": (0, 0), "dilations": (1,)}
    found, best = OPS["max_pool_count"].of(attrs).scan([trains], {}, 4)
    assert found.ravel().tolist() == [4, 0, 2, 1]
    assert best.ravel().tolist() == [4, 4, 6, 7]
