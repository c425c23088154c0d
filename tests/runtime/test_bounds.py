"""No simulated value leaves the bounds that are computed without running anything."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikec.ir import parse, spread
from spikec.ir.neuron import soft_reach
from spikec.runtime.bounds import intervals
from spikec.runtime.interpreter import simulate

TEXT = """
graph @net <stage=int, steps={steps}> {{
  param @x.scale : f64[] = 1
  param @a.w : i24[4,2] = {a}
  param @n.theta : i24[4] = {theta}
  param @n.v0 : i24[4] = {v0}
  param @n.neg : i24[] = {neg}
  param @n.bias : i24[4] = {bias}
  param @b.w : i24[3,4] = {b}
  param @m.theta : i24[] = {theta2}
  param @m.v0 : i24[] = {start2}
  param @m.neg : i24[] = 0
  param @m.bias : i24[3] = {bias2}
  %x : u4[2] = input() <scale=@x.scale>
  %a : i24[4] = dense(%x) <w=@a.w>
  %n : spike[4] = {first}(%a) <theta=@n.theta, v0=@n.v0, bias=@n.bias{more}>
  %b : i24[3] = dense(%n) <w=@b.w>
  %m : spike[3] = {second}(%b) <theta=@m.theta, v0=@m.v0, bias=@m.bias{more2}>
  %p : spike[3] = reshape(%m) <shape=[3]>
  %s : i24[3] = add(%p, %b)
  %o : i24[3] = accumulate(%s)
  return %o
}}
"""
KINDS = st.sampled_from(
    [("integrate", ""), ("integrate_signed", "theta_neg=@{}.neg, free=false"),
     ("integrate_signed", "theta_neg=@{}.neg, free=true")]
)  # fmt: skip


@st.composite
def networks(draw):
    def ints(low, high, *shape):
        many = draw(st.lists(st.integers(low, high), min_size=1, max_size=6))
        return np.resize(many, shape).tolist()

    (first, more), (second, more2) = draw(KINDS), draw(KINDS)
    text = TEXT.format(
        steps=draw(st.integers(1, 10)), a=ints(-9, 9, 4, 2), theta=ints(1, 60, 4),
        v0=ints(-30, 30, 4), neg=draw(st.integers(-40, 0)), bias=ints(-20, 20, 4),
        b=ints(-9, 9, 3, 4), theta2=draw(st.integers(1, 9)), start2=draw(st.integers(-9, 9)),
        bias2=ints(-9, 9, 3), first=first, second=second,
        more=f", {more.format('n')}" if more else "",
        more2=f", {more2.format('m')}" if more2 else "",
    )  # fmt: skip
    return parse(text)


def check(graph, x) -> None:
    layers = ("n", "m")
    weights = {name: graph.array(graph[name], "w").astype(float) for name in ("a", "b")}
    bounds = intervals(graph.nodes, weights)
    run = simulate(graph, {"x": x}, None, layers)
    steps = np.arange(1, graph.steps + 1).reshape(-1, 1, 1)
    counts = {name: run.traces[name].spikes.astype(int).cumsum(axis=0) for name in layers}
    counts["x"] = x * steps
    counts["a"] = counts["x"] @ graph.array(graph["a"], "w").T.astype(int)
    counts["b"] = counts["n"] @ graph.array(graph["b"], "w").T.astype(int)
    counts["s"] = counts["m"] + counts["b"]
    for name, total in counts.items():
        low, high = bounds[name]
        assert (total >= low * steps).all(), name
        assert (total <= high * steps).all(), name
    for name in layers:
        node = graph[name]
        p = {role: spread(graph.array(node, role).astype(float), node.type.shape)
             for role in ("theta", "v0", "bias")}  # fmt: skip
        reach = soft_reach(bounds[node.inputs[0]], p, graph.steps)
        after = run.traces[name].potentials
        before = after + p["theta"] * run.traces[name].spikes
        assert (np.abs(after) <= reach).all(), name
        assert (np.abs(before) <= reach).all(), name


@given(networks(), st.integers(0, 2**32 - 1))
@settings(max_examples=400)
def test_no_value_leaves_its_bounds(graph, seed):
    rng = np.random.default_rng(seed)
    check(graph, rng.choice([0, 1, 7, 15], (6, 2)))


def test_a_neuron_that_only_loses_after_it_fired():
    """Retracted input and a negative bias pull a potential further down than from its start."""
    text = """
graph @net <stage=int, steps=8> {
  param @x.scale : f64[] = 1
  param @n.theta : i24[] = 2
  param @n.v0 : i24[] = 1
  param @n.neg : i24[] = 0
  param @b.w : i24[1] = [10]
  param @m.theta : i24[] = 5
  param @m.v0 : i24[] = 0
  param @m.bias : i24[] = -5
  %x : u4[1] = input() <scale=@x.scale>
  %n : spike[1] = integrate_signed(%x) <theta=@n.theta, v0=@n.v0, theta_neg=@n.neg, free=false>
  %b : i24[1] = affine(%n) <w=@b.w>
  %m : spike[1] = integrate(%b) <theta=@m.theta, v0=@m.v0, bias=@m.bias>
  %c : i24[1] = affine(%m) <w=@b.w>
  %o : i24[1] = accumulate(%c)
  return %o
}
"""
    graph = parse(text)
    low, high = intervals(graph.nodes, {"b": np.array([10.0]), "c": np.array([10.0])})["b"]
    train = np.array([1, 1, 1, 1, -1, -1, -1, -1])
    assert (low * np.arange(1, 9) <= 10 * train.cumsum()).all()
    v, least = 0, 0
    for spike in train:
        v += 10 * spike - 5
        v -= 5 * (v >= 5)
        least = min(least, v)
    p = {"theta": np.array(5.0), "v0": np.array(0.0), "bias": np.array(-5.0)}
    assert soft_reach((low, high), p, 8)[0] >= -least


@pytest.mark.parametrize("op", ["sum_pool", "max_pool_count"])
def test_bounds_of_pooling(op):
    text = f"""
graph @net <stage=int, steps=4> {{
  param @x.scale : f64[] = 1
  param @n.theta : i24[] = 2
  %x : u4[1,4] = input() <scale=@x.scale>
  %n : spike[1,4] = integrate(%x) <theta=@n.theta, v0=@n.theta>
  %p : {"i24" if op == "sum_pool" else "spike"}[1,2] = {op}(%n)
        <kernel=[2], strides=[2], pads=[0, 0], dilations=[1]>
  %o : i24[1,2] = accumulate(%p)
  return %o
}}
"""
    low, high = intervals(parse(text).nodes, {})["p"]
    assert low.tolist() == [[0, 0]]
    assert high.tolist() == ([[2, 2]] if op == "sum_pool" else [[1, 1]])


def test_pooled_digits_of_spikes_that_are_taken_back():
    """Each train's sum never falls below 0, that of the digits of their largest number does."""
    text = """
graph @net <stage=int, steps=5> {
  param @theta : i24[] = 10
  param @zero : i24[] = 0
  %x : i8[2,1] = input()
  %n : spike[2,1] = integrate_signed(%x) <theta=@theta, v0=@zero, theta_neg=@zero, free=false>
  %r : spike[2,1] = reshape(%n) <shape=[2,1]>
  %t : spike[1,2] = transpose(%r) <perm=[1,0]>
  %p : spike[1,1] = max_pool_radix(%t) <kernel=[2], strides=[1], pads=[0,0], dilations=[1]>
  %o : i24[1,1] = accumulate(%p)
  return %o
}
"""
    graph = parse(text)
    pooled = graph["p"].operation
    trains = np.array([[1, -1, 0, 0, 0], [0, 1, 1, -1, -1]])  # either neuron may send these
    digits, _ = pooled.scan([trains.T.reshape(5, 1, 1, 2)], {}, 5)
    assert digits.ravel().tolist() == [1, -1, 1, -1, -1]
    assert trains.cumsum(axis=1).min() == 0
    assert digits.sum() == -1
    low, _ = intervals(graph.nodes, {})["p"]
    assert low * 5 <= -1
