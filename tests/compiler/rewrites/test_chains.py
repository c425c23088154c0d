"""Rewrites take a time linear in the graph: work is counted in executed instructions, not timed."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from spikec.compiler.pipeline import Context, Pipeline, parse_pipeline
from spikec.ir import F32, Graph, Node, Param, TensorType, op_of, verify
from spikec.ir.ops.activations.relu import Relu
from spikec.ir.ops.input import Input
from spikec.ir.ops.max_pool import MaxPool
from spikec.ir.ops.routing.transpose import Transpose
from spikec.ir.ops.synapses.affine import Affine
from spikec.ir.ops.synapses.conv import Conv
from spikec.runtime.interpreter import forward

ROWS, COLUMNS = TensorType(F32, (2, 4)), TensorType(F32, (4, 2))
BLOCK = 5
"""Nodes of a block of the chain."""


def chain(blocks):
    """Convolutions of channels-last values, each followed by a normalisation and a rectifier."""
    nodes, params = [Node("x", Input(), (), COLUMNS, loc="x")], {}

    def add(op, type_, **arrays):
        name = f"{op.name}{len(nodes)}"
        params.update({f"{name}.{role}": Param.of(array) for role, array in arrays.items()})
        roles = {role: f"{name}.{role}" for role in arrays}
        nodes.append(Node(name, op, (nodes[-1].name,), type_, roles))

    window = Conv(strides=(1,), pads=(0, 0), dilations=(1,), groups=1)
    for _ in range(blocks):
        add(Transpose((1, 0)), ROWS)
        add(window, ROWS, w=np.eye(2).reshape(2, 2, 1))
        add(Affine(), ROWS, w=np.array([1.5, 0.5]), b=np.array([0.25, 0.0]))
        add(Transpose((1, 0)), COLUMNS)
        add(Relu(), COLUMNS)
    return verify(Graph("chain", "ann", 0, tuple(nodes), (nodes[-1].name,), params))


def instructions(work):
    """How many Python instructions some work executes."""
    count = 0

    def trace(frame, event, arg):
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def growth(work_on, sizes=(8, 16, 32)):
    """By how much more the second doubling of a chain adds than the first; 2 where linear."""
    first, second, third = (instructions(work_on(chain(size))) for size in sizes)
    return (third - second) / (second - first)


def test_growth_tells_linear_from_quadratic():
    def quadratic(graph):
        return lambda: [replace(node) for node in graph for _ in graph]

    def linear(graph):
        return lambda: [replace(node) for node in graph]

    assert growth(quadratic) > 3.5
    assert 1.9 < growth(linear) < 2.1


@pytest.mark.parametrize("name", ["channels_first", "quantisers", "linearise", "fold", "relay"])
def test_a_pass_is_linear_in_the_length_of_a_chain(name):
    passes = parse_pipeline(name)

    def work(graph):
        return lambda: Pipeline(passes).run(graph, Context())

    assert 1.8 < growth(work) < 2.2


def pooled(graph):
    """The chain with a max pooling before each rectifier."""
    nodes = []
    for node in graph:
        if isinstance(node.operation, Relu):
            window = MaxPool(kernel=(1,), strides=(1,), pads=(0, 0), dilations=(1,))
            nodes.append(Node(f"p{len(nodes)}", window, node.inputs, node.type))
            node = replace(node, inputs=(nodes[-1].name,))
        nodes.append(node)
    return verify(graph.with_nodes(nodes))


def test_exchanging_pools_and_rectifiers_is_linear():
    def work(graph):
        graph = pooled(graph)
        return lambda: Pipeline(parse_pipeline("relay")).run(graph, Context())

    assert 1.8 < growth(work) < 2.2


def test_rectifiers_pass_all_poolings_before_them():
    graph = pooled(chain(2))
    last = replace(graph[graph.outputs[0]], name="again", inputs=(graph.outputs[0],))
    graph = verify(graph.with_nodes([*graph.nodes, last], outputs=("again",)))
    found, _ = Pipeline(parse_pipeline("relay")).run(graph, Context())
    ops = [node.op for node in found]
    assert ops[-3:] == ["relu", "relu", "max_pool"]
    x = {"x": np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32)}
    (want,), (got,) = forward(graph, x).values(), forward(found, x).values()
    np.testing.assert_array_equal(got, want)


def test_lookups_are_made_once():
    def work(graph):
        return lambda: [(graph[node.name], graph.readers[node.name]) for node in graph]

    assert 1.8 < growth(work) < 2.2


def test_a_chain_of_ten_thousand_nodes_is_rewritten():
    graph, blocks = chain(2000), 2000
    assert len(graph.nodes) == 1 + BLOCK * blocks
    pipeline = Pipeline(parse_pipeline("channels_first,quantisers,linearise,fold,relay"))
    rewritten, records = pipeline.run(graph, Context())
    assert records[3].notes == [f"folded {blocks} affine nodes into synapses"]
    assert [node.op for node in rewritten][:4] == ["input", "transpose", "conv", "relu"]
    assert sum(op_of(node).weighted for node in rewritten) == blocks
    assert len(rewritten.nodes) == 3 + 2 * blocks
