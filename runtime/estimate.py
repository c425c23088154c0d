"""How much memory a graph takes, estimated from its shapes before anything runs.

The factors were measured (docs/reliability.md) and are meant to be too large rather than too small.
"""

from __future__ import annotations

from dataclasses import dataclass

from spikec.ir import Graph, op_of
from spikec.ir.analysis import last_reads

_COUNT, _NARROW = 16, 6
"""Bytes of an element's events in a step, those of 1 and -1 included; where they are narrow."""
_REFERENCE, _FAST = 30, 3
"""Bytes of an element in a step, of what an engine holds at once."""
_ANN = 10
"""Bytes of an element of the ANN that is held: float32, and room for what an operator needs."""
_WORK, _CURRENT, _HELD = 64, 9, 3 << 29
"""Bytes of a layer's element in calibration: of its arrays; of its currents in a step, up to a
bound from which on they are computed in blocks."""
BLOCK_BYTES = 1 << 26
"""Size of the largest value of all steps that is computed at once, in bytes."""
_BASE = 300 << 20
"""Bytes of the libraries."""


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes that are needed whatever the number of samples, and for each of them."""

    fixed: int
    per_sample: int


def held_elements(graph: Graph) -> int:
    """Elements of all values that are held at once when nodes run in order, at the worst node."""
    released = last_reads((node.name, node.inputs) for node in graph.nodes)
    held = most = 0
    kept = set(graph.outputs)
    for node in graph.nodes:
        held += node.type.size
        most = max(most, held)
        held -= sum(
            graph[name].type.size for name in released.get(node.name, ()) if name not in kept
        )
    return most


def block_samples(graph: Graph) -> int:
    """How many samples may run node by node at once."""
    largest = max(node.type.size for node in graph.nodes)
    return max(1, BLOCK_BYTES // (4 * graph.steps * max(largest, 1)))


def simulation(graph: Graph, steps: int, engine: str) -> Need:
    """What an engine needs to simulate a spiking graph."""
    counted = sum(node.type.size for node in graph.nodes if op_of(node).stateful or not node.inputs)
    bytes_ = _REFERENCE if engine.startswith("reference") else _FAST
    count = _NARROW if engine == "fast" and graph.stage == "int" else _COUNT
    return Need(count * steps * counted, bytes_ * steps * held_elements(graph))


def forward_pass(ann: Graph) -> Need:
    """What it takes to run an ANN."""
    return Need(0, _ANN * held_elements(ann))


def compilation(ann: Graph, steps: int, samples: int) -> Need:
    """What calibration needs, which holds all samples of what is before and behind a layer."""
    held = held_elements(ann)
    largest = max(node.type.size for node in ann.nodes)
    currents = min(_CURRENT * steps * largest * samples, _HELD)
    return Need(_BASE + currents, (4 + steps) * held + _WORK * largest)
