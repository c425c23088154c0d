"""Moves between an activation and a max pooling need no relay: no neuron more than activations."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import spikec
from spikec.ir import Graph, op_of

N = helper.make_node
RNG = np.random.default_rng(0)
FIRST = [N("Conv", ["x", "w"], ["c"], pads=[1] * 4), N("Relu", ["c"], ["r"])]
BOTH = [*FIRST, N("Conv", ["x", "w2"], ["c2"], pads=[1] * 4), N("Relu", ["c2"], ["r2"])]
PLANE = {"kernel_shape": [2, 2], "strides": [2, 2]}
POOL = N("MaxPool", ["q"], ["p"], **PLANE)
CUBE = N("MaxPool", ["q"], ["p"], kernel_shape=[2, 2, 2], strides=[2, 2, 2])
ACROSS = N("MaxPool", ["q"], ["p"], kernel_shape=[2, 1, 1])
CONSTANTS = {
    "w": RNG.normal(size=(4, 2, 3, 3)).astype(np.float32),
    "w2": RNG.normal(size=(4, 2, 3, 3)).astype(np.float32),
    "split": np.array([0, 8, 4, 8]),
    "line": np.array([0, 4, 64]),
    "one": np.array([1]),
    "two": np.array([2]),
    "around": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
}
CASES = {
    "reshape": [*FIRST, N("Reshape", ["r", "split"], ["q"]), POOL],
    "to a line": [
        *FIRST,
        N("Reshape", ["r", "line"], ["q"]),
        N("MaxPool", ["q"], ["p"], kernel_shape=[2], strides=[2]),
    ],
    "transpose": [*FIRST, N("Transpose", ["r"], ["q"], perm=[0, 1, 3, 2]), POOL],
    "unsqueeze": [*FIRST, N("Unsqueeze", ["r", "one"], ["q"]), CUBE],
    "all of it": [*FIRST, N("ReduceMax", ["r"], ["p"], axes=[1, 2, 3])],
    "concat": [*BOTH, N("Concat", ["r", "r2"], ["q"], axis=1), POOL],
    "concat of rows": [*BOTH, N("Concat", ["r", "r2"], ["q"], axis=2), POOL],
    "time": [
        *BOTH,
        N("Unsqueeze", ["r", "two"], ["u"]),
        N("Unsqueeze", ["r2", "two"], ["u2"]),
        N("Concat", ["u", "u2"], ["q"], axis=2),
        ACROSS,
    ],
    "reshaped concat": [
        *BOTH,
        N("Reshape", ["r", "split"], ["u"]),
        N("Reshape", ["r2", "split"], ["u2"]),
        N("Concat", ["u", "u2"], ["q"], axis=1),
        POOL,
    ],
    "pads": [
        *FIRST,
        N("Pad", ["r", "around"], ["q"]),
        N("MaxPool", ["q"], ["p"], kernel_shape=[5, 5], strides=[5, 5]),
    ],
}
X = RNG.uniform(0, 1, (24, 2, 8, 8)).astype(np.float32)


def model_of(nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
    """A model that ends in a flattening of p and a dense layer."""
    used = {name for node in nodes for name in node.input}
    constants = [numpy_helper.from_array(CONSTANTS[n], n) for n in CONSTANTS if n in used]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [*nodes, N("Flatten", ["p"], ["y"])],
        "moves",
        [value("x", 1, ["N", 2, 8, 8])],
        [value("y", 1, ["N", "K"])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def neurons(graph: Graph) -> int:
    return sum(node.type.size for node in graph if op_of(node).neuron)


@pytest.mark.parametrize("case", CASES)
def test_there_are_no_neurons_but_the_activations(case: str) -> None:
    nodes = CASES[case]
    art = spikec.compile(model_of(nodes), X, timesteps=64, schedule="layerwise", progress=False)
    assert neurons(art.graph) == 4 * 8 * 8 * sum(node.op_type == "Relu" for node in nodes)
    assert not [note for entry in art.report.passes for note in entry.notes if "relayed" in note]
    (output,) = art.evaluate(X, stage="float", progress=False).results[0].outputs
    assert output.correlation > 0.97
    assert art.check(X[:2], ("reference", "fast"))["equal"]


@pytest.mark.parametrize("engine", ["onnx", "c"])
def test_engines(engine: str) -> None:
    art = spikec.compile(model_of(CASES["reshaped concat"]), X, timesteps=3, progress=False)
    assert art.check(X[:2], ("reference", engine))["equal"]


def test_an_activation_that_others_read_stays_where_it_is() -> None:
    """Its spikes are needed as they are, so a relay sends those that move."""
    nodes = [*CASES["transpose"], N("Add", ["r", "q"], ["s"])]
    nodes[-2] = N("MaxPool", ["q"], ["m"], **PLANE)
    nodes += [N("Flatten", ["m"], ["fm"]), N("Flatten", ["s"], ["fs"]),
              N("Concat", ["fm", "fs"], ["p"], axis=1)]  # fmt: skip
    art = spikec.compile(model_of(nodes), X, timesteps=2, progress=False, allow_rounding_loss=True)
    assert neurons(art.graph) == 2 * 4 * 8 * 8
