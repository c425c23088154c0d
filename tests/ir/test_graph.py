import copy
import dataclasses
import pickle

import networkx as nx
import numpy as np
import pytest

from spikec.ir import F32, InvalidGraph, Param, SpikecError, op_of, parse, same_values
from spikec.ir.neuron import Neuron
from spikec.ir.op import Synapse


@pytest.fixture
def graph(graph_text):
    return parse(graph_text)


def test_lookups(graph):
    assert graph["c"].op == "conv"
    assert [node.name for node in graph] == ["x", "c", "n", "f", "d", "o"]
    assert [node.name for node in graph.inputs] == ["x"]
    assert graph.by_name["d"] is graph["d"]
    assert {k: [n.name for n in v] for k, v in graph.readers.items()} == {
        "x": ["c"], "c": ["n"], "n": ["f"], "f": ["d"], "d": ["o"], "o": []
    }  # fmt: skip
    with pytest.raises(KeyError):
        graph["zz"]


def test_graphs_cannot_be_changed(graph):
    with pytest.raises(dataclasses.FrozenInstanceError):
        graph.steps = 3
    with pytest.raises(TypeError):
        graph.params["n.v0"] = None
    with pytest.raises(dataclasses.FrozenInstanceError):
        graph["c"].operation.groups = 2


def test_with_nodes_drops_unused_params(graph):
    smaller = graph.with_nodes(graph.nodes[:2], {"extra": Param.of(np.zeros(1), F32)}, outputs=())
    assert set(smaller.params) == {"x.scale", "x.offset", "c.w"}
    assert set(graph.params) > set(smaller.params)


def test_copies_and_pickles_are_equal(graph):
    assert same_values(pickle.loads(pickle.dumps(graph)), graph)
    assert same_values(copy.deepcopy(graph), graph)


def test_same_values_sees_one_weight(graph):
    other = np.array(graph.params["c.w"].array)
    other[0, 0, 0, 0] += 1
    dtype = graph.params["c.w"].type.dtype
    changed = graph.with_params({"c.w": Param.of(other, dtype)})
    assert changed == graph
    assert not same_values(changed, graph)


def test_networkx(graph):
    flow = graph.networkx()
    assert list(nx.topological_sort(flow)) == [node.name for node in graph]
    assert flow.nodes["n"]["node"] is graph["n"]


def test_an_op_of_another_kind(graph):
    assert op_of(graph["c"], Synapse) is graph["c"].operation
    with pytest.raises(InvalidGraph, match="%c = conv is no Neuron"):
        op_of(graph["c"], Neuron)


def test_errors_have_place_and_hint():
    error = SpikecError("it broke", loc="Conv_1", hint="mend it")
    assert str(error) == "Conv_1: it broke\n  hint: mend it"
    assert (error.message, error.loc, error.hint) == ("it broke", "Conv_1", "mend it")
    assert str(SpikecError("it broke")) == "it broke"
