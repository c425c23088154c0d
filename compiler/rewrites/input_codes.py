"""Quantisers that all inputs of a network pass first: the codes of these inputs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from spikec.ir import Graph, Node, op_of
from spikec.ir.ops.activations.qcfs import Qcfs
from spikec.ir.ops.activations.quantize import Quantize


@dataclass(frozen=True, slots=True)
class Code:
    """The real values that an input takes: offset + scale u for u from 0 to levels."""

    scale: float
    offset: float
    levels: int


def without_input_quantisers(graph: Graph, bits: int) -> tuple[Graph, dict[str, Code]]:
    """The graph without quantisers that all inputs of a network pass first, and their codes.

    A quantiser of an input with as many values as the input's code has is that code, so no neuron
    needs to compute it.
    """
    codes: dict[str, Code] = {}
    gone: dict[str, str] = {}
    for node in graph.inputs:
        first = _only_reader(graph, node)
        code = None if first is None else _code_of(graph, first, bits)
        if first is not None and code is not None:
            codes[node.name], gone[first.name] = code, first.inputs[0]
    nodes = [
        replace(node, inputs=tuple(gone.get(name, name) for name in node.inputs))
        for node in graph.nodes
        if node.name not in gone
    ]
    return (graph.with_nodes(nodes) if gone else graph), codes


def _only_reader(graph: Graph, node: Node) -> Node | None:
    """What alone reads an input, past reshapes and the like; None where that is an output."""
    readers = graph.readers
    while len(readers[node.name]) == 1 and node.name not in graph.outputs:
        (node,) = readers[node.name]
        if op_of(node).result != "same" or len(node.inputs) != 1:
            return None if node.name in graph.outputs else node
    return None


def _code_of(graph: Graph, node: Node, bits: int) -> Code | None:
    op, top = node.operation, (1 << bits) - 1
    if isinstance(op, Quantize) and op.hi - op.lo == top:
        scale = graph.array(node, "scale").astype(np.float64)
        return None if scale.ndim else Code(float(scale), float(op.lo * scale), top)
    if isinstance(op, Qcfs) and op.levels == top and op.shift == 0.5:
        largest = graph.array(node, "lambda").astype(np.float64)
        return None if largest.ndim else Code(float(largest) / top, 0.0, top)
    return None
