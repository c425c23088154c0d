"""The builder changes a graph step by step and always holds a graph that verifies."""

from dataclasses import replace

import numpy as np
import pytest

from spikec.ir import (
    F32,
    GraphBuilder,
    InvalidGraph,
    Node,
    Param,
    TensorType,
    parse,
    remove_dead,
    same_values,
    unique_name,
    verify,
)
from spikec.ir.ops.activations.relu import Relu

NET = """
graph @net <stage=ann, steps=0> {
  param @w : f32[2,3] = [[1, 2, 3], [4, 5, 6]]
  param @v : f32[2] = [2, 3]
  %x : f32[3] = input() from "x"
  %d : f32[2] = dense(%x) <w=@w> from "gemm"
  %a : f32[2] = affine(%d) <w=@v>
  %b : f32[2] = affine(%d) <w=@v>
  %s : f32[2] = add(%a, %b)
  return %s
}
"""


@pytest.fixture
def graph():
    return parse(NET)


@pytest.fixture
def builder(graph):
    return GraphBuilder(graph)


def names(nodes):
    return [node.name for node in nodes]


def relu(name, source):
    return Node(name, Relu(), (source,), TensorType(F32, ()))


def test_an_unchanged_graph_comes_back(graph, builder):
    assert same_values(builder.finish(), graph)


def test_nodes_are_inserted_where_they_are_put(graph, builder):
    builder.insert_after("x", relu("after", "x"))
    builder.insert_before("a", relu("before", "d"))
    builder.append(relu("end", "s"))
    assert names(builder) == ["x", "after", "d", "before", "a", "b", "s", "end"]
    assert names(builder.readers("d")) == ["a", "b", "before"]
    assert names(verify(builder.finish())) == names(builder)
    assert names(graph) == ["x", "d", "a", "b", "s"]


def test_shapes_are_inferred_by_the_op(builder):
    assert builder.append(relu("r", "x")).type.shape == (3,)
    wide = Param.of(np.ones((5, 3)))
    wider = replace(builder["d"], params={"w": builder.add_param("w", wide)})
    assert wider.params == {"w": "w_2"}
    builder.redirect("a", "x")
    builder.redirect("b", "x")
    builder.erase("a")
    builder.erase("b")
    assert builder.replace(wider).type.shape == (5,)
    with pytest.raises(InvalidGraph, match="gemm: %d = dense: "):
        builder.replace(replace(wider, params={"w": "v"}))


def test_names_are_made_unique(builder):
    assert builder.append(relu("d", "s")).name == "d_2"
    assert builder.append(relu("d", "s")).name == "d_3"
    assert builder.unique("new") == "new"
    assert unique_name("n", {"n", "n_2"}) == "n_3"


def test_readers_and_outputs_follow_a_redirection(builder):
    end = builder.append(relu("r", "s"))
    builder.redirect("s", end.name, keep={end.name})
    assert builder.outputs == ["r"]
    assert builder["r"].inputs == ("s",)
    builder.redirect("a", "b")
    assert builder["s"].inputs == ("b", "b")
    assert names(builder.readers("b")) == ["s"]
    assert builder.only_reader("b") == builder["s"]
    assert builder.only_reader("d") is None
    assert builder.only_reader("r") is None


def test_what_is_read_is_not_erased(builder):
    with pytest.raises(InvalidGraph, match=r"gemm: %d cannot be erased: it is read"):
        builder.erase("d")
    with pytest.raises(InvalidGraph, match="%s cannot be erased"):
        builder.erase("s")


def test_what_nothing_reads_goes_with_what_it_read(builder):
    builder.redirect("s", "x")
    builder.erase_unread("s")
    assert names(builder) == ["x"]
    assert builder.finish().params == {}
    assert "d" not in builder


def test_a_walk_leaves_out_what_is_erased_meanwhile(builder):
    seen = []
    for node in builder:
        seen.append(node.name)
        if node.name == "d":
            builder.redirect("a", "d")
            builder.erase("a")
    assert seen == ["x", "d", "b", "s"]


def test_a_param_that_others_read_is_not_overwritten(builder):
    own = builder.replace(builder.declare(builder["a"], {"w": np.array([7, 7])}))
    assert own.params == {"w": "a.w"}
    builder.replace(replace(builder["b"], params={"w": "a.w"}))
    other = builder.replace(builder.declare(builder["a"], {"w": np.array([9, 9])}))
    assert other.params == {"w": "a.w_2"}
    again = builder.replace(builder.declare(builder["b"], {"w": np.array([8, 8])}))
    assert again.params == {"w": "b.w"}
    values = {name: param.array.tolist() for name, param in builder.finish().params.items()}
    assert values == {"w": [[1, 2, 3], [4, 5, 6]], "a.w_2": [9, 9], "b.w": [8, 8]}


def test_dead_nodes_are_removed(graph):
    dead = graph.with_nodes(graph.nodes, outputs=("d",))
    assert names(remove_dead(dead)) == ["x", "d"]
    assert set(remove_dead(dead).params) == {"w"}


def test_arrays_of_params_are_those_with_values(builder, graph):
    assert builder.array(graph["a"], "w").tolist() == [2, 3]
    with pytest.raises(InvalidGraph, match="param 'b' of %a has no values"):
        builder.array(graph["a"], "b")
