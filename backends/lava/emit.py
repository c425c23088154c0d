"""Writes a Lava project that runs without spikec."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikec.backends.lava.code import network_source
from spikec.backends.lava.legalise import rows, table
from spikec.backends.lava.plan import Plan
from spikec.backends.lava.planner import plan_network
from spikec.ir import Graph

PROJECT = Path(__file__).parent / "project"
"""The files that every project holds."""
_STREAM = {
    False: "Samples stream\nthrough the network one after the other: N of them take "
    "N * {steps} + {depth} steps.",
    True: "Lava's stock\nneurons cannot be reset while the network runs: each sample is a run of "
    "{steps} + {depth} steps.",
}
"""How samples follow each other, by whether there are stock neurons."""
_EPOCH = (1980, 1, 1, 0, 0, 0)


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
    save_arrays(folder / "weights.npz", plan.weights)


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an .npz whose bytes depend on the arrays alone (NumPy's own holds the time)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(arrays):
            data = io.BytesIO()
            np.lib.format.write_array(data, arrays[name], allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data.getvalue())


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
        elif entry.name.endswith(".py") and (folder.name == "neurons" or
                                             entry.name != "__init__.py"):  # fmt: skip
            (folder / entry.name).write_bytes(entry.read_bytes())
