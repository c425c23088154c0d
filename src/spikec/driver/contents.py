"""What models, artifacts, graphs and this installation hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spikec.compiler.onnx.operators import rules
from spikec.compiler.passes import PASSES
from spikec.compiler.pipeline import Context, Pipeline, Record, parse_pipeline
from spikec.driver.artifact import Artifact
from spikec.ir import Graph, SpikecError, UsageError, op_of, parse, read_spk, same_values
from spikec.ir.analysis import latency_in_windows
from spikec.ir.options import describe_options
from spikec.report.chip import draw
from spikec.report.schema import read_placement
from spikec.runtime.files import write_file
from spikec.runtime.metrics import dense_operations


def resources(graph: Graph) -> dict[str, Any]:
    """What a spiking graph needs in all: neurons, weights, synapses, and steps to its result.

    As NeuroBench defines them also its footprint (bytes of all parameters, at their width here) and
    its connection sparsity (share of zero weights).
    """
    weights = zeros = 0
    for node in graph.nodes:
        if op_of(node).weighted:
            params = {role: graph.params[name].type for role, name in node.params.items()}
            weights += params["w"].size
            zeros += int((graph.array(node, "w") == 0).sum())
    neurons = sum(node.type.size for node in graph.nodes if op_of(node).neuron)
    bits = sum(param.type.size * param.type.dtype.bits for param in graph.params.values())
    return {
        "neurons": neurons,
        "weights": weights,
        "synapses": dense_operations(graph),
        "footprint": -(-bits // 8),
        "connection_sparsity": zeros / max(weights, 1),
        "latency_steps": latency_in_windows(graph) * graph.steps,
    }


def placement(art: Artifact) -> dict[str, Any]:
    """Where an artifact's layers are on the chip; computed where it was compiled without."""
    placed = art.report.placement
    if placed is None:
        record = Record("place", {})
        PASSES["place"]().run(art.graph, Context(steps=art.graph.steps), record)
        placed = read_placement(record.summary)
    return dict(placed)


def draw_chip(art: Artifact, path: Path) -> None:
    """Write the picture of an artifact's neurocores, an SVG."""
    title = art.stored.manifest["model"]["file"] or art.graph.name
    write_file(path, draw(placement(art), title).encode())


def opt(file: Path, pipeline: str, steps: int, roundtrip: bool, values: bool) -> str:
    """The text of a graph after some passes."""
    graph = read_spk(file)
    if pipeline:
        graph, _ = Pipeline(parse_pipeline(pipeline)).run(graph, Context(steps=steps))
    printed = graph.to_text(values=values)
    if roundtrip and not same_values(parse(graph.to_text(values=True)), graph):
        raise UsageError("the printed graph does not read back as the same graph")
    return printed


def list_passes() -> list[tuple[str, str, str]]:
    """Name, options and first line of each pass."""
    rows = []
    for name in PASSES:
        try:
            kind = PASSES[name]
            rows.append((name, describe_options(kind), first_line(kind.__doc__)))
        except SpikecError as error:
            rows.append((name, "", str(error)))
    return rows


def first_line(doc: str | None) -> str:
    """The first sentence of a docstring."""
    return (doc or "").strip().splitlines()[0] if doc else ""


def list_onnx_operators() -> dict[str, list[str]]:
    """Imported ONNX operators by domain."""
    domains: dict[str, list[str]] = {}
    for domain, name in sorted(rules()):
        domains.setdefault(domain or "ai.onnx", []).append(name)
    return domains
