"""Random small networks over all ops of the integer stage: reference, fast and Lava agree."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lava_nets import runs_lava
from random_nets import Random, feeds

from spikec.backends import Simulate, engine
from spikec.backends.lava.simulate import simulate
from spikec.ir import OPS
from spikec.ir.neuron import Neuron
from spikec.runtime.check import Comparison, traced_layers

SEEDS = st.integers(0, 1 << 40)
LAYERS = st.integers(0, 6)
LAVA = {"lava": simulate}
ALL_LAVA = {
    "lava": simulate,
    "float": functools.partial(simulate, tag="floating_pt"),
    "stock": functools.partial(simulate, neuron="stock"),
}


def assert_agree(seed: int, layers: int, engines: Mapping[str, Simulate]) -> None:
    graph = Random(seed).grow(layers)
    x, traced = feeds(graph, seed), traced_layers(graph)
    runs = {"reference": engine("reference")(graph, x, None, traced)}
    runs |= {name: run(graph, x, None, traced) for name, run in engines.items()}
    comparison = Comparison()
    comparison.add(graph, runs, 0)
    assert comparison.equal, comparison.first_difference
    for name, run in runs.items():
        for output, value in runs["reference"].readout.items():
            assert (run.readout[output] == value).all(), name


@settings(max_examples=100)
@given(SEEDS, LAYERS)
def test_reference_and_fast(seed: int, layers: int) -> None:
    assert_agree(seed, layers, {"fast": engine("fast")})


def test_the_networks_hold_all_ops() -> None:
    nodes = [node for seed in range(60) for node in Random(seed).grow(5).nodes]
    wanted = {name for name, op in OPS.items() if "int" in op.stages and not op.activation}
    wanted.remove("frames")  # tests/test_frames.py has them on all engines
    assert {node.op for node in nodes} == wanted
    neurons = [[op for n in Random(seed).grow(5).nodes if isinstance(op := n.operation, Neuron)]
               for seed in range(60)]  # fmt: skip
    assert sum({op.gathers for op in ops} == {True, False} for ops in neurons) > 20
    convs = [node for node in nodes if node.op == "conv"]
    assert {len(node.operation.strides) for node in convs} == {1, 2, 3}
    assert {max(node.operation.dilations) for node in convs} == {1, 2}
    assert {max(node.operation.strides) for node in convs} == {1, 2}
    assert max(node.operation.groups for node in convs) > 1


@runs_lava
@pytest.mark.lava
@settings(max_examples=9)
@given(SEEDS, LAYERS)
def test_reference_and_lava(seed: int, layers: int) -> None:
    assert_agree(seed, layers, LAVA)


@runs_lava
@pytest.mark.lava
@pytest.mark.slow
@settings(max_examples=30)
@given(SEEDS, LAYERS)
def test_reference_and_lava_on_many(seed: int, layers: int) -> None:
    assert_agree(seed, layers, ALL_LAVA)
