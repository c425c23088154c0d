"""Engines against one another, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from spikec.backends import BACKENDS, Engine, Simulate, names_of
from spikec.compiler.pipeline import Progress
from spikec.driver.blocks import encoded_blocks, quiet
from spikec.ir import Graph, UsageError, op_of, spread
from spikec.ir.ops.input import Input
from spikec.runtime.check import Comparison, traced_block, traced_layers
from spikec.runtime.data import Dataset
from spikec.runtime.explain import explain_difference
from spikec.runtime.interpreter import Feeds, Simulation


def check(
    graph: Graph, data: Dataset, runners: Mapping[str, Simulate], progress: Progress = quiet
) -> dict[str, Any]:
    """Run engines on the same coded inputs and compare every spike and potential."""
    if len(runners) < 2:
        raise UsageError("check needs at least two engines, each named once")
    comparison = Comparison()
    size = traced_block(*[graph] * len(runners))
    for start, feeds in encoded_blocks(graph, data, size):
        runs = {}
        for index, (name, simulate) in enumerate(runners.items()):
            runs[name] = traced(simulate, graph, feeds)
            done = start * len(runners) + (index + 1) * min(size, len(data) - start)
            progress(f"check {name}", done, len(data) * len(runners))
        comparison.add(graph, runs, start)
        difference = comparison.first_difference
        if difference is not None and "explanation" not in difference:
            explain_difference(graph, feeds, runs, difference, start)
    return {
        "engines": list(runners),
        "samples": len(data),
        "timesteps": graph.steps,
        "layers": [asdict(layer) for layer in comparison.layers.values()],
        "equal": comparison.equal,
        "first_difference": comparison.first_difference,
    }


def traced(simulate: Simulate, graph: Graph, feeds: Feeds, steps: int | None = None) -> Simulation:
    """A run with all layers traced; without its events, which may be as large as a trace."""
    run = simulate(graph, feeds, steps, traced_layers(graph))
    return replace(run, events={}, units={})


def engines() -> list[str]:
    """Names of all engines that can run here."""
    return [name for name in names_of(Engine) if BACKENDS[name]().unavailable() is None]


def random_inputs(graph: Graph, samples: int) -> Dataset:
    """Uniform inputs over each input's coded range, from a fixed seed."""
    rng = np.random.default_rng(0)
    feeds = {}
    for node in graph.inputs:
        scale, offset = (spread(graph.array(node, r), node.type.shape) for r in ("scale", "offset"))
        frames = (graph.steps,) if op_of(node, Input).timed else ()
        size = (samples, *frames, *node.type.shape)
        feeds[node.name] = rng.integers(0, node.type.dtype.bounds[1] + 1, size) * scale + offset
    return Dataset(feeds, frames=frozenset(n.name for n in graph.inputs if op_of(n, Input).timed))


def describe_difference(difference: Mapping[str, Any]) -> str:
    """A sentence about the first difference that `check` found."""
    values = "; ".join(
        f"{engine}: spike {v['spike']}, potential {v['potential']}"
        for engine, v in difference["values"].items()
    )
    return (
        f"first difference: layer %{difference['layer']}, neuron {difference['neuron']}, "
        f"step {difference['step']}, sample {difference['sample']} ({values})"
    )
