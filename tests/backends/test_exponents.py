"""Weight exponents: each engine shifts the sums of a synapse, Lava with a synapse per exponent."""

from dataclasses import replace

import numpy as np
import pytest
from lava_nets import Net, assert_equal, runs_lava

from spikec.backends import engine
from spikec.backends.lava.planner import plan_network
from spikec.ir import InvalidGraph, Param, op_of, parse, unsigned
from spikec.runtime.check import Comparison, traced_layers
from spikec.runtime.interpreter import simulate as reference

SMALL = """
graph @small <stage=int, steps=2> {
  param @d.w : i8[2,2] = [[1, 2], [3, -4]]
  param @d.exponent : u5[2] = [0, 5]
  param @n.theta : i24[2] = [20, 300]
  param @n.v0 : i24[2] = [0, 0]
  param @e.w : i8[2] = [7, -3]
  param @e.exponent : u5[2] = [3, 3]
  %x : u8[2] = input() from "x"
  %d : i24[2] = dense(%x) <w=@d.w, exponent=@d.exponent>
  %n : spike[2] = integrate(%d) <theta=@n.theta, v0=@n.v0>
  %e : i24[2] = affine(%n) <w=@e.w, exponent=@e.exponent>
  %o : i24[2] = accumulate(%e)
  return %o
}
"""


def test_the_reference_counts_whole_units():
    graph = parse(SMALL)
    assert graph.weights(graph["d"]).tolist() == [[1, 2], [96, -128]]
    run = reference(graph, {"x": np.array([[10, 5]])}, None, ["n"])
    # 20 fires in both steps; 10 * 96 - 5 * 128 = 320 fires in both as well
    assert run.traces["n"].potentials[:, 0].tolist() == [[0, 20], [0, 40]]
    assert run.readout["o"][-1].tolist() == [[2 * 7 * 8, 2 * -3 * 8]]


@pytest.mark.parametrize("wrong", ["u5[1] = [3]", "i8[2] = [3, 3]", "u6[2] = [3, 3]"])
def test_exponents_are_one_per_output_channel(wrong):
    with pytest.raises(InvalidGraph, match="exponent must be"):
        parse(SMALL.replace("u5[2] = [3, 3]", wrong))


def network():
    """A convolution, a join and a dense synapse, with exponents that differ between channels."""
    net = Net(4, steps=4)
    a = net.integrate(net.conv(net.input(2, 5, 5), 6, (3, 3), pads=(1, 1, 1, 1)), 9000, 6)
    b = net.conv(a, 6, (3, 3), 3, pads=(1, 1, 1, 1))
    skip = net.add("affine", a, net.shape(a), w=net.weights(6))
    joined = net.add("add", f"{b} {skip}", net.shape(a))
    c = net.signed(joined, 900)
    d = net.dense(net.flatten(c), 4)
    net.readout(d)
    graph = net.graph()
    exponents = {skip: [3, 0, 1, 3, 2, 0], b: [0, 2, 2, 0, 0, 1], d: [4, 4, 4, 4]}
    made = {f"{name}.exponent": Param.of(values, unsigned(5)) for name, values in exponents.items()}
    nodes = [
        replace(node, params={**node.params, "exponent": f"{node.name}.exponent"})
        if node.name in exponents else node for node in graph.nodes
    ]  # fmt: skip
    return graph.with_nodes(nodes, made), net.feeds(5), (b, skip, d)


@pytest.mark.parametrize("name", ["fast", "onnx"])
def test_engines_agree(name):
    graph, feeds, _ = network()
    layers = traced_layers(graph)
    want, got = (engine(which)(graph, feeds, None, layers) for which in ("reference", name))
    comparison = Comparison()
    comparison.add(graph, {"reference": want, name: got}, 0)
    assert comparison.equal, comparison.first
    assert sum(int(abs(t.spikes).sum()) for t in want.traces.values() if t.spikes is not None) > 50


def test_lava_has_a_synapse_for_each_exponent():
    graph, _, (conv, skip, dense) = network()
    plan = plan_network(graph)
    count = {name: sum(key.startswith(name) for key in plan.processes) for name in (conv, skip)}
    assert count == {conv: 3, skip: 4}
    assert [key for key in plan.processes if key.startswith(dense)] == [dense]


@runs_lava
@pytest.mark.lava
def test_lava_agrees():
    graph, feeds, synapses = network()
    assert all(op_of(graph[name]).weighted for name in synapses)
    assert_equal(graph, {name: x[:2] for name, x in feeds.items()})
