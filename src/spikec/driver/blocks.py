"""Data in blocks, and what comes out of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from spikec.ir import Graph
from spikec.ir.types import Array
from spikec.runtime.coding import decode, encode
from spikec.runtime.data import Dataset
from spikec.runtime.estimate import block_samples, simulation
from spikec.runtime.memory import MORE_MEMORY, UNLIMITED, fitting

BLOCK = 32
"""Samples that are simulated at a time where the engine is slow."""
LARGE_BLOCK = 256
"""Samples at a time for engines that bound their own memory or start slowly."""


def block_size(engine: str, graph: Graph, steps: int | None = None) -> int:
    """Samples that an engine takes at a time where nothing is traced.

    Args:
        engine: Its name.
        graph: What it runs.
        steps: Time steps; the graph's own by default.

    Raises:
        OutOfMemory: when there is not enough memory for one sample.
    """
    steps = graph.steps if steps is None else steps
    need = simulation(graph, steps, engine)
    most = BLOCK if engine == "reference" else LARGE_BLOCK
    what, hint = f"engine {engine} on {steps} steps", f"fewer --timesteps, or {MORE_MEMORY}"
    if engine != "fast":
        return fitting(most, need.fixed, need.per_sample, what, hint)
    size = fitting(most, need.fixed, need.per_sample, what, hint, UNLIMITED)
    return size - size % BLOCK if size > BLOCK else size  # it fills lanes, and bounds what it holds


def quiet(what: str, done: int, total: int) -> None:
    """Progress that nobody sees."""


def encoded_blocks(
    graph: Graph, data: Dataset, size: int = BLOCK
) -> Iterator[tuple[int, dict[str, Array]]]:
    """(first sample, coded inputs) of each block; smaller ones where a float network is large."""
    if graph.stage != "int":
        size = min(size, block_samples(graph))
    for start, feeds in slices(data, size):
        yield start, encode(graph, feeds).feeds


def slices(data: Dataset, size: int) -> Iterator[tuple[int, dict[str, Array]]]:
    """(first sample, real inputs) of each block."""
    for start in range(0, len(data), size):
        yield start, {name: x[start : start + size] for name, x in data.feeds.items()}


def logits(graph: Graph, readout: Mapping[str, Array], step: int) -> NDArray[np.float64]:
    """Real outputs after `step` steps; several outputs are flattened side by side."""
    parts = [decode(graph, name, readout[name][step - 1], step) for name in graph.outputs]
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)
