"""Lava's own ATRLIF in place of spikec's neuron: exact wherever the plan says so."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lava_nets import GEOMETRY, Net, assert_equal, runs_lava

import spikec
from spikec import driver
from spikec.backends.lava.planner import plan_network
from spikec.backends.lava.simulate import simulate
from spikec.demo import example
from spikec.ir import SPIKE, BackendError, Param, RangeError, parse, signed
from spikec.runtime.check import Comparison, traced_layers
from spikec.runtime.data import make_dataset
from spikec.runtime.interpreter import simulate as reference

pytestmark = pytest.mark.lava
I24 = signed(24)


def layered(seed: int, steps: int, theta: int, *, uniform: bool = False) -> Net:
    """A convolution, two dense layers and a skip path, behind spikes of an own neuron."""
    net = Net(seed, steps)
    first = net.signed(net.conv(net.input(2, 5, 5), 3, (3, 3), **GEOMETRY), 9000)
    second = stock(net, net.conv(first, 3, (3, 3), **GEOMETRY), theta, uniform=uniform)
    skip = net.add("affine", first, (3, 5, 5), w=net.weights(3))
    joined = net.add("add", f"{net.conv(second, 3, (3, 3), **GEOMETRY)} {skip}", (3, 5, 5))
    third = stock(net, joined, theta, uniform=uniform)
    net.readout(net.dense(net.flatten(third), 4))
    return net


def stock(net: Net, x: str, theta: int, *, uniform: bool) -> str:
    """A layer that does not fire before its first input."""
    shape = net.shape(x)
    thresholds = (
        np.full((), 2 * theta) if uniform else net.rng.integers(theta, 2 * theta, shape[:1])
    )
    state = {"theta": Param.of(thresholds, I24), "v0": net.values(-theta, theta, *shape),
             "bias": net.values(-theta // 64, theta // 4, shape[0])}  # fmt: skip
    state["v0"] = Param.of(np.minimum(state["v0"].array, theta - theta // 8), I24)
    return net.add("integrate", x, shape, SPIKE, **state)


@runs_lava
@pytest.mark.parametrize("tag", ["fixed_pt", "floating_pt"])
def test_stock_neurons_do_what_the_reference_does(tag: str) -> None:
    net = layered(21, 6, 200)
    graph = net.graph()
    assert len(plan_network(graph, neuron="stock").stock) == 2
    got = assert_equal(graph, net.feeds(3), tag=tag, neuron="stock")
    assert all(
        (trace.spikes == 1).any() for trace in got.traces.values() if trace.spikes is not None
    )
    assert_equal(graph, net.feeds(1), steps=3, tag=tag, neuron="stock")


@runs_lava
@settings(max_examples=3)
@given(st.integers(0, 1 << 30), st.integers(1, 8), st.integers(20, 4000), st.booleans())
def test_random_networks(seed: int, steps: int, theta: int, uniform: bool) -> None:
    net = layered(seed, steps, theta, uniform=uniform)
    assert_equal(net.graph(), net.feeds(1), neuron="stock")


@pytest.fixture(scope="module")
def trained() -> spikec.Artifact:
    with np.load(example("fashion_mnist_small.npz")) as images:
        calib = images["x_calib"][:32]
        return spikec.compile(example("fashion_qcfs_vgg.onnx"), calib, timesteps=4, snm="off")


@runs_lava
def test_a_trained_network(trained: spikec.Artifact) -> None:
    graph = trained.graph
    fits = plan_network(graph, neuron="stock").fits
    assert [name for name, fit in fits.items() if not fit.reason]
    with np.load(example("fashion_mnist_small.npz")) as images:
        data = make_dataset(images["x"][:2], graph)
    ((_, feeds),) = driver.encoded_blocks(graph, data)
    layers = traced_layers(graph)
    runs = {"reference": reference(graph, feeds, None, layers),
            "lava": simulate(graph, feeds, None, layers, neuron="stock")}  # fmt: skip
    comparison = Comparison()
    comparison.add(graph, runs, 0)
    assert comparison.equal, comparison.first_difference


def one_layer(theta: int, *, v0: int = 0, bias: int = 0, weight: int = 1, steps: int = 4) -> str:
    """Why the second layer of a small network keeps its own neuron."""
    net = Net(steps=steps)
    first = net.signed(net.dense(net.input(3), 40), 900)
    w = Param.of(np.full((2, 40), weight), signed(8))
    d = net.add("dense", first, (2,), w=w)
    state = {"theta": theta, "v0": v0, "bias": bias}
    params = {role: Param.of(value, I24) for role, value in state.items()}
    net.readout(net.add("integrate", d, (2,), SPIKE, **params))
    fits = plan_network(net.graph(), neuron="stock").fits
    return [fit.reason for fit in fits.values()][1]


def test_layers_that_keep_their_own_neuron_say_why() -> None:
    assert one_layer(100) == ""
    assert one_layer(100, bias=-60, v0=50) == ""
    assert one_layer(8192) == "a threshold of 8192 does not fit 13 bits"
    assert one_layer(100, v0=100) == "v0 fires before its first step"
    assert one_layer(100, bias=40000).startswith("a current of -40 to 40040 is not proven")
    assert one_layer(100, weight=127, steps=30).startswith("a sum of all input of ")
    fits = plan_network(layered(1, 4, 100).graph(), neuron="stock").fits
    assert [fit.reason for fit in fits.values()] == [
        "ATRLIF is not integrate_signed", "", "", "ATRLIF is not accumulate",
    ]  # fmt: skip


def test_an_unknown_neuron_is_refused() -> None:
    with pytest.raises(BackendError, match="one of own, stock"):
        plan_network(layered(1, 4, 100).graph(), neuron="lif")


@runs_lava
def test_samples_of_separate_runs_keep_their_numbers() -> None:
    graph = parse("""graph @wide <stage=int, steps=3> {
      param @d.w : i8[1,1] = [[1]]
      param @r.w : i8[1] = [100]
      param @n.th : i16[] = 100
      param @n.v0 : i16[] = 0
      %x : u8[1] = input()
      %d : i16[1] = dense(%x) <w=@d.w>
      %n : spike[1] = integrate(%d) <theta=@n.th, v0=@n.v0>
      %c : i8[1] = affine(%n) <w=@r.w>
      %r : i8[1] = accumulate(%c)
      return %r
    }""")
    assert plan_network(graph, neuron="stock").stock == ["n"]
    feeds = {"x": np.array([[30], [40], [101]], np.uint8)}
    with pytest.raises(RangeError, match=r"neuron \[0\], step 2, sample 2"):
        simulate(graph, feeds, neuron="stock")
