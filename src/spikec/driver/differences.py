"""Finding out where networks or engines part: artifacts compared, cases shrunk, golden traces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from spikec.backends import engine
from spikec.compiler.pipeline import Progress
from spikec.driver.blocks import encoded_blocks, quiet
from spikec.driver.checking import traced
from spikec.driver.network import Network
from spikec.ir import Graph, UsageError
from spikec.runtime import golden, hexfiles
from spikec.runtime.check import Comparison, traced_block, traced_layers
from spikec.runtime.coding import encode
from spikec.runtime.data import Dataset
from spikec.runtime.explain import explain, explain_difference
from spikec.runtime.manifests import HEX, TRACES, Kind
from spikec.runtime.reduce import shrink
from spikec.version import version

FORMS = {"npz": TRACES, "hex": HEX}
"""Forms of golden traces."""


def check_against(
    art: Network, other: Network, data: Dataset, engine_name: str, progress: Progress = quiet
) -> dict[str, Any]:
    """Compare two artifacts on one engine, layer by layer, as far as they have the same layers."""
    simulate = art.engine(engine_name).simulate
    names, only = common_layers(art.graph, other.graph)
    if not names:
        raise UsageError("the artifacts have no layer of one name and shape in common")
    steps = min(art.graph.steps, other.graph.steps)
    comparison, size = Comparison(), traced_block(art.graph, other.graph)
    for start, feeds in encoded_blocks(art.graph, data, size):
        raw = {name: x[start : start + size] for name, x in data.feeds.items()}
        theirs = encode(other.graph, raw).feeds
        runs = {}  # those of the last block are gone before the next
        runs["this"] = traced(simulate, art.graph, feeds, steps)
        runs["other"] = traced(simulate, other.graph, theirs, steps)
        comparison.add(art.graph, runs, start, names)
        difference = comparison.first_difference
        if difference is not None and "explanation" not in difference:
            explain_difference(art.graph, feeds, runs, difference, start)
            place = tuple(difference["neuron"]), difference["step"], difference["sample"] - start
            difference["other_explanation"] = explain(
                other.graph, theirs, runs["other"].traces, difference["layer"], *place
            )
        progress("check", min(start + size, len(data)), len(data))
    return {
        "engines": [engine_name],
        "samples": len(data),
        "timesteps": steps,
        "layers": [asdict(layer) for layer in comparison.layers.values()],
        "layers_not_compared": only,
        "params_differing": differing_params(art.graph, other.graph),
        "equal": comparison.equal and not only,
        "first_difference": comparison.first_difference,
    }


def common_layers(left: Graph, right: Graph) -> tuple[list[str], list[str]]:
    """Layers of both graphs that can be compared, and those that cannot."""
    theirs = {name: right[name].type for name in traced_layers(right)}
    ours = {name: left[name].type for name in traced_layers(left)}
    common = [name for name in ours if theirs.get(name) == ours[name]]
    return common, sorted({*ours, *theirs} - set(common))


def differing_params(left: Graph, right: Graph) -> list[dict[str, Any]]:
    """Params whose values differ, with how many and the first place."""
    entries = []
    for name in dict.fromkeys((*left.params, *right.params)):
        a, b = (g.params[name].array if name in g.params else None for g in (left, right))
        entry: dict[str, Any] = {"name": name, "differing": None, "first": None, "values": None}
        if a is not None and b is not None and a.shape == b.shape:
            places = np.argwhere(a != b)
            if len(places) == 0:
                continue
            first = tuple(int(i) for i in places[0])
            entry = {
                "name": name,
                "differing": len(places),
                "first": list(first),
                "values": [a[first].item(), b[first].item()],
            }
        entries.append(entry)
    return entries


def reduce_case(
    art: Network, data: Dataset, engines: Sequence[str], out: Path, progress: Progress = quiet
) -> dict[str, Any]:
    """Shrink the first case in which two engines differ and write it as golden traces."""
    if len(set(engines)) != 2:
        raise UsageError("reduce needs two engines, such as --engines reference,fast")
    runners = {name: art.engine(name).simulate for name in engines}
    case, size = None, traced_block(art.graph, art.graph)
    for start, feeds in encoded_blocks(art.graph, data, size):
        case = shrink(art.graph, feeds, {name: run for name, run in runners.items()})
        progress("reduce", min(start + size, len(data)), len(data))
        if case is not None:
            break
    if case is None:
        return {"equal": True, "engines": list(engines), "samples": len(data), "out": None}
    reference = engine("reference")
    layers = traced_layers(case.graph)
    runs = {name: run(case.graph, case.feeds, None, layers) for name, run in runners.items()}
    explain_difference(case.graph, case.feeds, runs, case.difference, 0)
    about = {
        "spikec": version(),
        "engines": list(engines),
        "cuts": case.cuts,
        "first_difference": case.difference,
    }
    golden.write(out, case.graph, case.feeds, reference, arrays=True, about=about)
    return {
        "equal": False,
        "engines": list(engines),
        "out": str(out),
        "cuts": case.cuts,
        "layers": [node.name for node in case.graph.nodes],
        "timesteps": case.graph.steps,
        "nonzero_inputs": sum(int(np.count_nonzero(x)) for x in case.feeds.values()),
        "first_difference": case.difference,
    }


def kind_of(form: str) -> Kind:
    """The kind of folder that holds golden traces in the form `npz` or `hex`."""
    if form not in FORMS:
        raise UsageError(f"format must be npz or hex, not '{form}'")
    return FORMS[form]


def write_traces(
    art: Network,
    data: Dataset,
    engine_name: str,
    out: Path,
    arrays: bool = False,
    form: str = "npz",
) -> dict[str, Any]:
    """Write golden traces of an artifact on data, in the form `npz` or `hex`."""
    kind_of(form)
    if arrays and form == "hex":
        raise UsageError("hex files hold all values: leave --arrays out")
    feeds = encode(art.graph, data.feeds).feeds
    about = {"spikec": version(), "model": art.stored.manifest["model"]}
    simulate = art.engine(engine_name).simulate
    if form == "hex":
        return hexfiles.write(out, art.graph, feeds, simulate, about=about)
    return golden.write(out, art.graph, feeds, simulate, arrays=arrays, about=about)


def verify_traces(
    folder: Path, engine_name: str, art: Network | None = None
) -> list[dict[str, Any]]:
    """Recompute golden traces (in a folder or right below it) and compare."""
    folders = golden.read_folders([folder])
    if not folders:
        raise UsageError(f"{folder} holds no golden traces (no trace.json)")
    simulate, graph = engine(engine_name), None if art is None else art.graph
    return [{"folder": str(inner), **golden.verify(inner, simulate, graph)} for inner in folders]
