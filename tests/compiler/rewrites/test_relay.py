"""Sums over images travel as spikes where their reader would have very many synapses."""

import numpy as np
import pytest

from spikec.compiler.passes import Context
from spikec.compiler.pipeline import Pipeline, parse_pipeline
from spikec.ir import F32, Graph, Node, Param, TensorType, verify
from spikec.ir.ops.activations.relu import Relu
from spikec.ir.ops.input import Input
from spikec.ir.ops.routing.reshape import Reshape
from spikec.ir.ops.routing.sum_pool import SumPool
from spikec.ir.ops.synapses.affine import Affine
from spikec.ir.ops.synapses.dense import Dense
from spikec.options import Options
from spikec.runtime.interpreter import forward

SIZE = 16
"""Of the pooled images, in each direction."""


def classifier(classes: int) -> Graph:
    """A global mean of 128 channels, and a dense synapse behind it."""
    image, pooled = (128, SIZE, SIZE), (128, 1, 1)
    window = SumPool((SIZE, SIZE), (1, 1), (0, 0, 0, 0), (1, 1))
    w = np.random.default_rng(0).normal(size=(classes, 128)).astype(np.float32)
    params = {"mean.w": Param.of(np.array(1 / SIZE**2)), "y.w": Param.of(w)}
    nodes = (
        Node("x", Input(), (), TensorType(F32, image), loc="x"),
        Node("act", Relu(), ("x",), TensorType(F32, image)),
        Node("sum", window, ("act",), TensorType(F32, pooled)),
        Node("mean", Affine(), ("sum",), TensorType(F32, pooled), {"w": "mean.w"}),
        Node("flat", Reshape((128,)), ("mean",), TensorType(F32, (128,))),
        Node("y", Dense(), ("flat",), TensorType(F32, (classes,)), {"w": "y.w"}),
    )
    return verify(Graph("classifier", "ann", 0, nodes, ("y",), params))


def relayed(graph: Graph, passes: str) -> list[str]:
    """What a pipeline relays; values stay."""
    made, _ = Pipeline(parse_pipeline(passes)).run(graph, Context())
    x = np.random.default_rng(1).normal(size=(2, 128, SIZE, SIZE)).astype(np.float32)
    before, after = (forward(g, {"x": x})[g.outputs[0]] for g in (graph, made))
    assert np.allclose(before, after, atol=1e-5)
    return [node.inputs[0] for node in made.nodes if node.name.endswith(".relay")]


def test_relays_of_rectified_sums_are_unsigned() -> None:
    made, _ = Pipeline(parse_pipeline("relay{sums=true}")).run(classifier(33), Context())
    assert made["flat.relay"].op == "relu"


@pytest.mark.parametrize(
    ("classes", "passes", "wanted"),
    [
        (33, "relay{sums=true}", ["flat"]),  # 33 * 128 * 256 synapses are just above 2^20
        (32, "relay{sums=true}", []),
        (33, "relay", []),
    ],
)
def test_large_readers_of_sums_read_a_relay(classes: int, passes: str, wanted: list[str]) -> None:
    assert relayed(classifier(classes), passes) == wanted


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (Options(timesteps=8, code="radix"), True),
        (Options(timesteps=7, code="radix"), False),
        (Options(timesteps=1, spikes="graded", payload="integer", payload_bits=8), True),
        (Options(timesteps=100, spikes="graded", payload="integer", payload_budget=3), False),
        (Options(timesteps=300), False),
    ],
)
def test_sums_are_relayed_where_neurons_count_many_levels(options: Options, wanted: bool) -> None:
    assert ("relay{sums=true}" in map(str, options.passes())) == wanted
