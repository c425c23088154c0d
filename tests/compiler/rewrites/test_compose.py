"""Pooling that becomes part of the synapse behind it: the same integers."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import spikec
from spikec.compiler.passes import PASSES
from spikec.compiler.pipeline import Context, Record
from spikec.ir import parse, verify
from spikec.runtime.coding import encode
from spikec.runtime.data import make_dataset
from spikec.runtime.interpreter import simulate


def compose(graph):
    record = Record("compose", {})
    return PASSES["compose"]().run(graph, Context(), record), record


@pytest.fixture(scope="module")
def compiled(examples, images):
    return spikec.compile(
        examples / "fashion_qcfs_vgg.onnx", calib=images["x_calib"], timesteps=2, samples=16
    )


def test_a_network_does_the_same_without_poolings(compiled, images):
    made, record = compose(compiled.graph)
    assert "sum_pool" in {node.op for node in compiled.graph}
    assert "sum_pool" not in {node.op for node in made}
    assert len(record.notes) == 3
    x = images["x"][:4]
    data = make_dataset(x, made)
    feeds = encode(made, data.feeds).feeds
    names = [node.name for node in made if node.op.startswith("integrate")]
    one, two = (simulate(graph, feeds, trace=names) for graph in (compiled.graph, made))
    for name in names:
        assert (one.traces[name].spikes == two.traces[name].spikes).all()
        assert (one.traces[name].potentials == two.traces[name].potentials).all()
    for name in made.outputs:
        assert (one.readout[name] == two.readout[name]).all()


NET = """
graph @net <stage=int, steps=3> {{
  param @x.scale : f64[] = 1
  param @c.w : i8[4,{per},{k},{k}]
  param @d.w : i8[3,{flat}]
  param @n.theta : i24[] = 9
  %x : u8[2,{size},{size}] = input() <scale=@x.scale>
  %p : i24[2,{a},{a}] = sum_pool(%x) <kernel=[{q},{q}], strides=[{s},{s}], pads=[{f},{f},{f},{f}], dilations=[1,1]>
  %c : i24[4,{b},{b}] = conv(%p) <w=@c.w, strides=[{t},{t}], pads=[{g},{g},{g},{g}], dilations=[{h},{h}], groups={groups}>
  %n : spike[4,{b},{b}] = integrate(%c) <theta=@n.theta, v0=@n.theta>
  %r : i24[4,1,1] = sum_pool(%n) <kernel=[{b},{b}], strides=[1,1], pads=[0,0,0,0], dilations=[1,1]>
  %m : i24[4] = reshape(%r) <shape=[4]>
  %d : i24[3] = dense(%m) <w=@d.w>
  %o : i24[3] = accumulate(%d)
  return %o
}}
"""  # noqa: E501


@given(
    st.integers(5, 9), st.integers(1, 3), st.integers(1, 3), st.integers(0, 1),
    st.integers(1, 3), st.integers(1, 2), st.integers(0, 2), st.integers(1, 2),
    st.sampled_from([1, 2]), st.integers(0, 99), st.booleans(),
)  # fmt: skip
def test_all_windows_keep_every_potential(size, q, s, f, k, t, g, h, groups, seed, small):
    a = (size + 2 * f - q) // s + 1
    b = (a + 2 * g - h * (k - 1) - 1) // t + 1
    assume(f < q and b > 0)
    text = NET.format(size=size, q=q, s=s, f=f, k=k, t=t, g=g, h=h, groups=groups, a=a, b=b,
                      per=2 // groups, flat=4)  # fmt: skip
    rng, graph = np.random.default_rng(seed), parse(text)
    most = 20 if small else 127
    made = {
        name: replace(p, array=rng.integers(-most, most + 1, p.type.shape).astype(np.int8))
        for name, p in graph.params.items() if p.array is None
    }  # fmt: skip
    graph = verify(graph.with_params({**graph.params, **made}))
    composed, _ = compose(graph)
    verify(composed)
    assert "r" not in composed.by_name
    if f == 0 and q == s and g == 0:
        assert "p" not in composed.by_name
    feeds = {"x": rng.integers(0, 256, (2, 2, size, size))}
    one, two = (simulate(each, feeds, trace=["n"]) for each in (graph, composed))
    assert (one.traces["n"].potentials == two.traces["n"].potentials).all()
    assert (one.readout["o"] == two.readout["o"]).all()


def test_a_pooling_stays_where_a_window_would_see_padding():
    text = NET.format(size=7, q=2, s=2, f=0, k=3, t=1, g=1, h=1, groups=1, a=3, b=3, per=2, flat=4)
    graph = parse(text)
    made = {
        name: replace(p, array=np.ones(p.type.shape, np.int8))
        for name, p in graph.params.items() if p.array is None
    }  # fmt: skip
    composed, record = compose(verify(graph.with_params({**graph.params, **made})))
    assert "p" in composed.by_name
    assert record.notes == ["%r is part of synapse %d"]
