"""An integer graph as a NIR graph."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from spikec.backends.nir.bias import biases, carrier_of
from spikec.backends.nir.losses import losses_of
from spikec.backends.nir.nodes import NEURONS, library, margin, node_of
from spikec.ir import BackendError, Graph, Node
from spikec.ir.ops.accumulate import Accumulate
from spikec.ir.ops.input import Input
from spikec.ir.ops.routing.add import Add
from spikec.ir.ops.routing.reshape import Reshape
from spikec.version import version


def build(graph: Graph) -> Any:
    """The `nir.NIRGraph` of an integer graph, with what NIR cannot say as metadata.

    Raises:
        BackendError: naming the node for which NIR has none.
    """
    if graph.stage != "int":
        raise BackendError(f"NIR is written from stage int, not {graph.stage}")
    added = biases(graph)
    names = _names(graph)
    nodes = {}
    for node in graph:
        if node.name in names:
            made = node_of(graph, node, added.get(node.name))
            made.metadata = _metadata(graph, node)
            nodes[names[node.name]] = made
    about = {"spikec.version": version(), "spikec.steps": graph.steps}
    if graph.source:
        about["spikec.source"] = graph.source
    edges = _edges(graph, names)
    return library().NIRGraph(nodes, edges, metadata=about, type_check=False)


def write(path: Path, network: Any) -> None:
    """Write a NIR graph; the same graph gives the same bytes."""
    library().write(path, network)


def _names(graph: Graph) -> dict[str, str]:
    """Names of NIR nodes; readers sort them, hence the number, and make them Python names."""
    kept = [node.name for node in graph if not _through(graph, node)]
    digits = len(str(len(kept) - 1))
    return {
        name: f"n{index:0{digits}}_{re.sub(r'[^0-9A-Za-z_]', '_', name)}"
        for index, name in enumerate(kept)
    }


def _through(graph: Graph, node: Node) -> bool:
    """Whether a node is only edges: sums, and reshapes that change nothing."""
    if isinstance(node.operation, Reshape):
        return graph[node.inputs[0]].type.shape == node.type.shape
    return isinstance(node.operation, Add)


def _edges(graph: Graph, names: dict[str, str]) -> list[tuple[str, str]]:
    edges = []
    for node in graph:
        if node.name in names:
            sources = [source for name in node.inputs for source in _sources(graph, name)]
            for source in sources:
                if sources.count(source) > 1:
                    raise BackendError(
                        f"%{node.name} adds %{source} twice; NIR has one edge between two nodes",
                        loc=node.loc,
                    )
            edges += [(names[source], names[node.name]) for source in sources]
    return edges


def _sources(graph: Graph, name: str) -> list[str]:
    node = graph[name]
    if not _through(graph, node):
        return [name]
    return [source for term in node.inputs for source in _sources(graph, term)]


def _metadata(graph: Graph, node: Node) -> dict[str, Any]:
    """What a node is in spikec, with the originals of all that NIR does not hold."""
    metadata: dict[str, Any] = {
        "spikec.name": node.name,
        "spikec.op": node.op,
        "spikec.type": str(node.type),
    }
    if node.loc:
        metadata["spikec.onnx_node"] = node.loc
    lost = losses_of(graph, node)
    if lost:
        metadata["spikec.lost"] = ",".join(lost)
    if isinstance(node.operation, Input | Accumulate):
        metadata["spikec.steps"] = graph.steps
    if isinstance(node.operation, NEURONS):
        metadata["spikec.margin"] = margin(graph.steps)
    carrier = carrier_of(graph, node)
    if carrier is not None:
        metadata["spikec.bias_in"] = carrier
    attributes = node.operation.attributes()
    for key in ("free", "levels", "pads"):
        if key in attributes:
            metadata[f"spikec.{key}"] = np.array(attributes[key]).reshape(-1)
    for role, name in node.params.items():
        dtype = graph.params[name].type.dtype
        metadata[f"spikec.{role}_type"] = str(dtype)
        if role != "w":
            metadata[f"spikec.{role}"] = graph.array(node, role).reshape(-1)
    return metadata
