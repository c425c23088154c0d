"""Valid models that once ended in an internal error: they compile now, or are refused."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

import spikec
from spikec.ir import SpikecError

SHAPE = (3, 4, 4)
rng = np.random.default_rng(0)


def weights(name: str, *shape: int, scale: float = 0.4) -> TensorProto:
    return numpy_helper.from_array((rng.normal(0, 1, shape) * scale).astype(np.float32), name)


NORM = [weights("g", 3), weights("b", 3), weights("m", 3),
        numpy_helper.from_array(np.full(3, 0.7, np.float32), "v")]  # fmt: skip


def norm(x: str, y: str) -> NodeProto:
    return helper.make_node("BatchNormalization", [x, "g", "b", "m", "v"], [y], "norm")


def transposed(x: str, y: str) -> NodeProto:
    return helper.make_node("Transpose", [x], [y], "transpose", perm=[0, 2, 3, 1])


def branch(node: NodeProto, constants: Sequence[TensorProto]) -> onnx.GraphProto:
    value = helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, ["N", *SHAPE])
    return helper.make_graph([node], "branch", [], [value], constants)


def chains() -> dict[str, tuple[list[NodeProto], list[TensorProto]]]:
    """Nodes from x to z, and constants; an elementwise operator follows."""
    mul = helper.make_node("Mul", ["x", "k"], ["t"], "mul")
    same = helper.make_node("Identity", ["x"], ["e"], "same")
    then, other = branch(mul, [weights("k", 3, 1, 1)]), branch(same, [])
    choice = helper.make_node("If", ["c"], ["z"], "if", then_branch=then, else_branch=other)
    return {
        "norm": ([norm("x", "z")], NORM),
        "norm-transpose": ([norm("x", "n"), transposed("n", "z")], NORM),
        "norm-mul-transpose-add": (
            [norm("x", "n"), helper.make_node("Mul", ["n", "k"], ["p"], "mul"),
             transposed("p", "t"), helper.make_node("Add", ["t", "a"], ["z"], "add")],
            [*NORM, weights("k", 3, 1, 4), weights("a", 4, 4, 3)],
        ),
        "tile": ([helper.make_node("Tile", ["x", "r"], ["z"], "tile")],
                 [numpy_helper.from_array(np.array([1, 2, 1, 1]), "r")]),
        "if": ([choice], [numpy_helper.from_array(np.array(True), "c")]),
    }  # fmt: skip


def model(nodes: list[NodeProto], constants: Sequence[TensorProto], rank: int) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *SHAPE])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", *map(str, range(1, rank))])
    graph = helper.make_graph(nodes, "g", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def compiles(made: onnx.ModelProto, **options: object) -> None:
    """It does, or is refused; nothing else."""
    x = np.random.default_rng(1).random((8, *SHAPE), np.float32)
    with contextlib.suppress(SpikecError):
        art = spikec.compile(made, x, timesteps=2, samples=8, progress=False, snm="off",
                             allow_rounding_loss=True, **options)  # fmt: skip
        assert art.run(x).shape[0] == 8


@pytest.mark.parametrize("op", ["Relu", "Sigmoid", "Neg", "Elu", "Sqrt"])
@pytest.mark.parametrize("chain", chains())
def test_elementwise_operators_behind_chains(chain: str, op: str) -> None:
    nodes, constants = chains()[chain]
    last = helper.make_node(op, ["z"], ["y"], "last")
    compiles(model([*nodes, last], constants, 4), dni="half", reconstruct="off")


@pytest.mark.parametrize("threshold", ["per-neuron", "per-channel", "per-layer"])
def test_denormal_weights(threshold: str) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("Flatten", ["r"], ["f"], "flatten"),
        helper.make_node("MatMul", ["f", "d"], ["y"], "dense"),
    ]
    constants = [weights("w", 2, 3, 2, 2, scale=1e-40), weights("d", 18, 3)]
    compiles(model(nodes, constants, 2), threshold=threshold)


def test_a_linear_network_without_neurons_compiles() -> None:
    """No layer stands for a value of the ANN, and the loss is measured all the same."""
    nodes, constants = chains()["norm-transpose"]
    made = model([*nodes, helper.make_node("Neg", ["z"], ["y"], "last")], constants, 4)
    x = np.random.default_rng(1).random((8, *SHAPE), np.float32)
    art = spikec.compile(made, x, timesteps=2, samples=8, progress=False)
    assert art.report.loss is not None
    assert art.report.loss.worst_layers == []
