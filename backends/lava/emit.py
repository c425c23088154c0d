"""Writes a Lava project that runs without spikec."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from spikec.backends.lava.code import network_source
from spikec.backends.lava.mapping import rows, table
from spikec.backends.lava.plan import Plan
from spikec.backends.lava.planner import plan_network
from spikec.ir import Graph
from spikec.runtime.artifact import npz_bytes

PROJECT = Path(__file__).parent / "project"
"""The files that every project holds."""
_STREAM = {
    False: "Samples stream\nthrough the network one after the other: N of them take "
    "N * {steps} + {depth} steps.",
    True: "Lava's stock\nneurons cannot be reset while the network runs: each sample is a run of "
    "{steps} + {depth} steps.",
}
"""How samples follow each other, by whether there are stock neurons."""


def emit(graph: Graph, folder: Path, neuron: str = "own") -> None:
    """Write the network of an integer graph as a Lava project.

    The same graph gives the same bytes.

    Args:
        graph: At stage int.
        folder: Where to.
        neuron: `own`, or `stock`: Lava's ATRLIF for the layers that it provably computes exactly.

    Raises:
        BackendError: naming the node that Lava cannot hold.
    """
    write(graph, plan_network(graph, neuron=neuron), folder)


def write(graph: Graph, plan: Plan, folder: Path) -> None:
    """Write a planned network."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {
        "name": graph.name,
        "package": re.sub("[^a-z0-9]+", "-", graph.name.lower()).strip("-") or "network",
        "steps": plan.steps,
        "processes": len(plan.processes),
        "depth": plan.depth,
        "stream": _STREAM[bool(plan.stock)].format(steps=plan.steps, depth=plan.depth),
        "mapping": table(rows(graph, plan)),
    }
    _copy(PROJECT, folder, names)
    (folder / "network.py").write_text(network_source(graph, plan), encoding="utf-8")
    (folder / "weights.npz").write_bytes(npz_bytes(plan.weights))


def _copy(source: Path, folder: Path, names: Mapping[str, object]) -> None:
    """Copy the project's fixed files; a template's `@name@` becomes its value."""
    folder.mkdir(exist_ok=True)
    for entry in sorted(source.iterdir()):
        if entry.name == "neurons":
            _copy(entry, folder / entry.name, names)
        elif entry.name.endswith(".tmpl"):
            text = entry.read_text(encoding="utf-8")
            for name, value in names.items():
                text = text.replace(f"@{name}@", str(value))
            target = folder / entry.name.removesuffix(".tmpl")
            target.write_text(text, encoding="utf-8")
        elif entry.name.endswith(".py") and (
            folder.name == "neurons" or entry.name != "__init__.py"
        ):
            (folder / entry.name).write_bytes(entry.read_bytes())
