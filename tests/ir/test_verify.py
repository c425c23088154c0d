"""Each invariant broken once."""

from dataclasses import replace

import numpy as np
import pytest

from spikec.ir import (
    F32,
    SPIKE,
    DType,
    Graph,
    InvalidGraph,
    Node,
    Param,
    TensorType,
    parse,
    signed,
    unsigned,
    verify,
)
from spikec.ir.ops import OPS


@pytest.fixture
def graph(graph_text) -> Graph:
    return parse(graph_text)


def message(graph: Graph) -> str:
    with pytest.raises(InvalidGraph) as caught:
        verify(graph)
    return str(caught.value)


def change(graph: Graph, name: str, **fields) -> Graph:
    return replace(graph, nodes=tuple(replace(n, **fields) if n.name == name else n for n in graph))


def attrs(graph: Graph, name: str, **values) -> Graph:
    return change(graph, name, operation=replace(graph[name].operation, **values))


def params(graph: Graph, name: str, **roles) -> Graph:
    given = {**graph[name].params, **roles}
    return change(graph, name, params={k: v for k, v in given.items() if v is not None})


def put(graph: Graph, name: str, array, dtype) -> Graph:
    return graph.with_params({name: Param.of(np.array(array), dtype)})


def test_a_sound_graph_is_returned_as_it_is(graph):
    assert verify(graph) is graph


def pooled(graph: Graph, shape: tuple[int, ...], **window) -> Graph:
    """%c as max pooling of one tap."""
    one = {"kernel": (1, 1), "strides": (1, 1), "pads": (0,) * 4, "dilations": (1, 1)}
    graph = change(graph, "x", type=TensorType(unsigned(8), shape))
    return change(graph, "c", operation=OPS["max_pool_count"](**one | window), params={})


BROKEN = {
    "unknown stage 'cnn'": lambda g: replace(g, stage="cnn"),
    "a spiking graph needs steps >= 1": lambda g: replace(g, steps=0),
    "the graph has 4194304 steps, more than 4194303": lambda g: replace(g, steps=1 << 22),
    "%n = integrate: param 'theta' must be at least 1, not 0": lambda g: put(
        g, "n.theta", [1, 0], signed(24)
    ),
    "the graph returns nothing": lambda g: replace(g, outputs=()),
    "returned value %zz is not defined": lambda g: replace(g, outputs=("zz",)),
    "returned value %d must be a readout (accumulate)": lambda g: replace(g, outputs=("d",)),
    "%f = reshape: the name is used twice": lambda g: replace(
        g, nodes=(*g.nodes[:4], g.nodes[3], *g.nodes[4:])
    ),
    "%c = relu: not allowed at stage int": lambda g: change(g, "c", operation=OPS["relu"]()),
    "%c = conv: takes 1 inputs, not 2": lambda g: change(g, "c", inputs=("x", "x")),
    "%d = add: takes one or more inputs, not 0": lambda g: change(
        g, "d", operation=OPS["add"](), inputs=()
    ),
    "%f = reshape: input %zz is not defined before it": lambda g: change(g, "f", inputs=("zz",)),
    "%c = conv: input %x is not defined before it": lambda g: replace(
        g, nodes=(g.nodes[1], g.nodes[0], *g.nodes[2:])
    ),
    "%c = conv: attribute 'groups' must be int, not 1.0": lambda g: attrs(g, "c", groups=1.0),
    "%c = conv: attribute 'groups' must be int, not True": lambda g: attrs(g, "c", groups=True),
    "%c = conv: attribute 'strides' must be tuple, not 1": lambda g: attrs(g, "c", strides=1),
    "%c = conv: attribute 'strides' must hold integers, not (1.0, 1)": lambda g: attrs(
        g, "c", strides=(1.0, 1)
    ),
    "%n = integrate: attribute 'core' must be int, not 'a'": lambda g: attrs(g, "n", core="a"),
    "%c = conv: unknown param role 'v'": lambda g: params(g, "c", v="c.w"),
    "%c = conv: param @zz is not declared": lambda g: params(g, "c", w="zz"),
    "%c = conv: param 'w' is missing": lambda g: params(g, "c", w=None),
    "%c = conv: param 'w' is f32 at stage int": lambda g: put(g, "c.w", np.ones((2, 1, 2, 2)), F32),
    "%c = conv: param 'w' leaves its i3 range": lambda g: put(
        g, "c.w", np.full((2, 1, 2, 2), 4), DType("i", 3)
    ),
    "%c = conv: declared [2, 2, 3], inferred [2, 2, 2]": lambda g: change(
        g, "c", type=TensorType(signed(24), (2, 2, 3))
    ),
    "%c = conv: f32 at stage int": lambda g: change(g, "c", type=TensorType(F32, (2, 2, 2))),
    "%c = conv: spike at stage int": lambda g: change(g, "c", type=TensorType(SPIKE, (2, 2, 2))),
    "%x = input: f32 at stage int": lambda g: change(g, "x", type=TensorType(F32, (1, 3, 3))),
    "%x = input: spike at stage int": lambda g: change(g, "x", type=TensorType(SPIKE, (1, 3, 3))),
    "%n = integrate: result must be spike, not i24": lambda g: change(
        g, "n", type=TensorType(signed(24), (2, 2, 2))
    ),
    "%f = reshape: result must be spike as its input, not i24": lambda g: change(
        g, "f", type=TensorType(signed(24), (8,))
    ),
    "%n = integrate: param 'theta' of shape [3] does not fit [2, 2, 2]": lambda g: put(
        g, "n.theta", [1, 2, 3], signed(24)
    ),
    "%c = conv: bias must be (out channels,)": lambda g: params(g, "c", b="n.v0"),
    "%c = conv: strides, pads and dilations must fit a window of rank 2": lambda g: attrs(
        g, "c", pads=(0, 0)
    ),
    "%c = conv: window sizes must be positive": lambda g: attrs(g, "c", strides=(0, 1)),
    "%c = conv: pads must not be negative": lambda g: attrs(g, "c", pads=(0, 0, -1, 0)),
    "%c = conv: attribute 'strides' must fit 64-bit integers": lambda g: attrs(
        g, "c", strides=(1 << 63, 1)
    ),
    "%c = conv: window sizes must be below 2^31, not 2147483648": lambda g: attrs(
        g, "c", strides=(1 << 31, 1)
    ),
    "%c = conv: 55834574861 places with their pads, not below 2^31": lambda g: attrs(
        g, "c", pads=((1 << 31) - 1, 0, (1 << 31) - 1, 10)
    ),
    "%c = conv: u64 exceeds 64-bit integers with a sign": lambda g: change(
        g, "c", type=TensorType(unsigned(64), (2, 2, 2))
    ),
    "%n = integrate: u64 exceeds 64-bit integers with a sign": lambda g: put(
        g, "n.v0", 5, unsigned(64)
    ),
    "%x = input: [1, 0] holds 0 elements, not 1 to 2^31 - 1": lambda g: change(
        g, "x", type=TensorType(unsigned(8), (1, 0))
    ),
    "%c = max_pool_count: a window holds pads alone, which never win": lambda g: pooled(
        g, (1, 3, 3), pads=(1, 0, 0, 0)
    ),
    "%c = max_pool_count: a pool needs channels; this value has no axes": lambda g: pooled(
        g, (), kernel=(), strides=(), pads=(), dilations=()
    ),
    "%c = conv: window [2, 2] exceeds [3, 3]": lambda g: attrs(g, "c", dilations=(3, 3)),
    "%c = conv: 2 channels in 3 groups": lambda g: attrs(g, "c", groups=3),
    "%f = reshape: cannot reshape [2, 2, 2] to [7]": lambda g: attrs(g, "f", shape=(7,)),
}


@pytest.mark.parametrize("wanted", BROKEN)
def test_a_broken_invariant_is_named(graph, wanted):
    assert wanted in message(BROKEN[wanted](graph))


def test_the_onnx_node_is_named(graph):
    assert message(attrs(graph, "n", core=1.5)).startswith("Relu_1: %n = integrate: ")
    assert "hint: one of ann, snn, int" in message(replace(graph, stage="x"))


@pytest.mark.parametrize("name", ["a-b", "", "1a", "a b", "é", 'a"', "a\n"])
def test_names_are_those_that_the_text_can_hold(name):
    node = Node(name, OPS["input"](), (), TensorType(F32, (2,)))
    assert "is not a name" in message(Graph("g", "ann", 0, (node,), (name,)))
    good = Node("x", OPS["input"](), (), TensorType(F32, (2,)))
    assert "is not a name" in message(Graph(name, "ann", 0, (good,), ("x",)))
    bad = {name: Param.of(np.zeros(2))}
    assert "is not a name" in message(Graph("g", "ann", 0, (good,), ("x",), bad))


def test_a_param_array_has_its_type(graph):
    wrong = Param(TensorType(signed(24), (2,)), np.zeros(3, np.int32))
    assert "param @n.theta holds (3,) int32, not i24[2]" in message(
        graph.with_params({"n.theta": wrong})
    )


def test_an_ann_has_float_values():
    node = Node("x", OPS["input"](), (), TensorType(unsigned(8), (2,)))
    assert "result must be a float at stage ann, not u8" in message(
        Graph("g", "ann", 0, (node,), ("x",))
    )


def test_arrays_that_are_missing_are_named(graph):
    bare = parse(graph.to_text())
    with pytest.raises(InvalidGraph, match="Relu_1: param 'theta' of %n has no values"):
        bare.array(bare["n"], "theta")
