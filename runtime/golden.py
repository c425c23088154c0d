"""Golden traces: hashes of everything that a network did, for other implementations to meet.

docs/traces.md states the format.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from spikec.ir import Graph, InvalidArtifact, Node, op_of
from spikec.ir.ops.input import Input
from spikec.ir.reading import read_json, read_npz
from spikec.ir.types import Array
from spikec.runtime.artifact import (
    HEADERS,
    Head,
    check_listed,
    npz_bytes,
    read_graph,
    to_json,
)
from spikec.runtime.check import trace_bytes, traced_block, traced_layers
from spikec.runtime.files import check_folder, new_folder
from spikec.runtime.interpreter import Feeds, LayerTrace, Simulation, as_read
from spikec.runtime.manifests import TRACES, TraceManifest
from spikec.runtime.memory import require

Run = Callable[[Graph, Feeds, "int | None", "list[str]"], Simulation]
FORMAT = 1
TRACE = "trace.json"


def network_digest(graph: Graph) -> str:
    """SHA-256 of a graph's text and of the bytes of all its params."""
    digest = hashlib.sha256(graph.to_text().encode())
    for name in sorted(graph.params):
        array = graph.params[name].array
        if array is not None:
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            digest.update(f"{name} {array.dtype.str[1:]} {array.shape}".encode())
            digest.update(little.tobytes())
    return digest.hexdigest()


def record(graph: Graph, feeds: Feeds, simulate: Run, *, arrays: bool = False) -> dict[str, Any]:
    """Simulate coded inputs and hash each layer's spikes and potentials step by step.

    Returns:
        `layers` as docs/traces.md has them, and with `arrays` also `arrays`.
    """
    names, samples = traced_layers(graph), len(next(iter(feeds.values())))
    hashes = {
        (name, what): [hashlib.sha256() for _ in range(graph.steps)]
        for name in names
        for what in _kinds(graph, name)
    }
    kept: dict[str, list[Array]] = {}
    size = traced_block(graph)
    if arrays:
        require(samples * trace_bytes(graph), f"the traces of {samples} samples", "--limit N")
    for start in range(0, samples, size):
        part = {key: x[start : start + size] for key, x in feeds.items()}
        _add(simulate(graph, part, None, names).traces, hashes, kept if arrays else None)
    layers = []
    for name in names:
        node = graph[name]
        entry: dict[str, Any] = {"name": name, "op": node.op, "shape": list(node.type.shape)}
        for what in ("spikes", "potentials"):
            steps = hashes.get((name, what), [])
            entry[what] = [digest.hexdigest() for digest in steps] if steps else None
        layers.append(entry)
    joined = {key: np.concatenate(parts, axis=1) for key, parts in kept.items()}
    return {"layers": layers, "arrays": joined}


def _add(
    traces: Mapping[str, LayerTrace],
    hashes: Mapping[tuple[str, str], list[Any]],
    kept: dict[str, list[Array]] | None,
) -> None:
    """Hash the traces of more samples, and keep them where that is wanted."""
    for (name, what), steps in hashes.items():
        values = getattr(traces[name], what)
        for step, digest in zip(values, steps, strict=True):
            digest.update(np.ascontiguousarray(step, "<i4").tobytes())
        if kept is not None:
            kept.setdefault(f"{name}.{what}", []).append(np.ascontiguousarray(values, "<i4"))


def _kinds(graph: Graph, name: str) -> tuple[str, ...]:
    spiking = op_of(graph[name]).result == "spike"
    return ("spikes", "potentials") if spiking else ("potentials",)


def write(
    folder: Path,
    graph: Graph,
    feeds: Feeds,
    simulate: Run,
    *,
    arrays: bool = False,
    about: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write golden traces into a folder; the same network and inputs give the same bytes.

    Args:
        folder: Golden traces that stand there are replaced in one step.
        graph: Stage int.
        feeds: Coded inputs.
        simulate: The engine whose traces they are.
        arrays: Also write all spikes and potentials.
        about: More entries of `trace.json`.

    Returns:
        What `trace.json` holds.

    Raises:
        InvalidArtifact: when something else stands at `folder`.
    """
    check_folder(folder, TRACES)
    recorded = record(graph, feeds, simulate, arrays=arrays)
    coded = {
        node.name: np.ascontiguousarray(as_read(node, feeds, graph.steps), node.type.dtype.storage)
        for node in graph.inputs
    }
    params = {name: p.array for name, p in graph.params.items() if p.array is not None}
    files = {
        "graph.spk": graph.to_text().encode(),
        "weights.npz": npz_bytes(params),
        "input.npz": npz_bytes(coded),
    }
    if arrays:
        files["arrays.npz"] = npz_bytes(recorded["arrays"])
    trace = {
        **(about or {}),
        "format": FORMAT,
        "network": network_digest(graph),
        "steps": graph.steps,
        "samples": len(next(iter(coded.values()))),
        "layers": recorded["layers"],
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    with new_folder(folder, TRACES) as made:
        for name, content in files.items():
            (made / name).write_bytes(content)
        (made / TRACE).write_text(to_json(trace), encoding="utf-8")
    return trace


def is_trace(folder: Path) -> bool:
    """Whether a folder holds golden traces."""
    return (folder / TRACE).is_file()


def load(folder: Path) -> tuple[TraceManifest, Graph, dict[str, Array]]:
    """What a folder of golden traces holds: `trace.json`, the network and the coded inputs.

    Raises:
        InvalidArtifact: when it is missing or damaged.
    """
    if not is_trace(folder):
        raise InvalidArtifact(f"{TRACE} is missing", loc=str(folder))
    path = folder / TRACE
    version = read_json(path, Head).format
    if version != FORMAT:
        raise InvalidArtifact(f"format {version}, this spikec reads {FORMAT}", loc=str(path))
    trace = read_json(path, TraceManifest)
    check_listed(folder, trace.files, hint="record the traces again")
    for layer in trace.layers:
        for steps in (layer.spikes, layer.potentials):
            if steps is not None and len(steps) != trace.steps:
                raise InvalidArtifact(
                    f"layer {layer.name}: {len(steps)} steps, not {trace.steps}", loc=str(path)
                )
    graph = read_graph(folder, "graph.spk", "weights.npz")
    return trace, graph, _read_inputs(folder / "input.npz", graph, trace.samples)


def _read_inputs(file: Path, graph: Graph, samples: int) -> dict[str, Array]:
    """The coded inputs, of the shapes and types that the graph says."""
    declared = {
        n.name: ((samples, *_frames(graph, n), *n.type.shape), n.type.dtype.storage)
        for n in graph.inputs
    }
    room = sum(math.prod(shape) * dtype.itemsize for shape, dtype in declared.values())
    feeds = read_npz(file, declared.keys(), most=room + HEADERS)
    for name, (shape, dtype) in declared.items():
        if name not in feeds or (feeds[name].shape, feeds[name].dtype) != (shape, dtype):
            raise InvalidArtifact(
                f"input {name} is not {dtype} of shape {list(shape)}", loc=str(file)
            )
    return feeds


def _frames(graph: Graph, node: Node) -> tuple[int, ...]:
    """The axis of an input's frames, where it has one."""
    return (graph.steps,) if op_of(node, Input).timed else ()


def verify(folder: Path, simulate: Run, graph: Graph | None = None) -> dict[str, Any]:
    """Recompute golden traces and compare; the result is like that of `spikec check --json`.

    Args:
        folder: The golden traces.
        simulate: The engine to verify.
        graph: A network to use instead of the one in the folder.
    """
    trace, stored, feeds = load(folder)
    graph = graph or stored
    arrays_file = folder / "arrays.npz"
    located = arrays_file.is_file() and "arrays.npz" in trace.files
    if set(feeds) != {node.name for node in graph.inputs} or graph.steps != trace.steps:
        raise InvalidArtifact(
            "the traces are of a network with other inputs or steps", loc=str(folder / TRACE)
        )
    recorded = record(graph, feeds, simulate, arrays=located)
    own = {layer["name"]: layer for layer in recorded["layers"]}
    first: dict[str, Any] | None = None
    layers = []
    for want in trace.layers:
        have = own.get(want.name)
        entry: dict[str, Any] = {"name": want.name, "steps": trace.steps}
        for what, hashes in (("spikes", want.spikes), ("potentials", want.potentials)):
            steps = _differing(hashes, None if have is None else have[what])
            entry[f"{what}_steps_differing"] = len(steps)
            here = first is not None and first["layer"] == want.name
            if steps and (first is None or (here and steps[0] + 1 < first["step"])):
                first = {
                    "layer": want.name,
                    "step": steps[0] + 1,
                    "what": what,
                    "neuron": None,
                    "sample": None,
                }
        layers.append(entry)
    if first is not None and located:
        _locate(arrays_file, recorded["arrays"], first)
    return {
        "samples": trace.samples,
        "timesteps": trace.steps,
        "same_network": network_digest(graph) == trace.network,
        "layers": layers,
        "equal": first is None,
        "first_difference": first,
    }


def _differing(want: list[str] | None, have: list[str] | None) -> list[int]:
    """Steps, from 0, whose hashes differ."""
    if want is None or have is None:
        return [] if want == have else [0]
    return [step for step, pair in enumerate(zip(want, have, strict=True)) if pair[0] != pair[1]]


def _locate(file: Path, recorded: Mapping[str, Array], first: dict[str, Any]) -> None:
    """Add sample, neuron and both values to the first difference."""
    key = f"{first['layer']}.{first['what']}"
    stored = read_npz(file, [key], most=recorded[key].nbytes + HEADERS) if key in recorded else {}
    if key not in stored or recorded[key].shape != stored[key].shape:
        return
    want, have = (arrays[key][first["step"] - 1] for arrays in (stored, recorded))
    if (want == have).all():  # the hashes are not of these arrays
        return
    sample, *neuron = map(int, np.argwhere(want != have)[0])
    first.update(
        sample=sample,
        neuron=neuron,
        golden=int(want[(sample, *neuron)]),
        found=int(have[(sample, *neuron)]),
    )


def read_folders(paths: Iterable[Path]) -> list[Path]:
    """The folders among `paths`, and right below them, that hold golden traces."""
    folders = []
    for path in paths:
        below = sorted(p for p in path.iterdir() if p.is_dir()) if path.is_dir() else []
        folders += [p for p in (path, *below) if is_trace(p)]
    return folders
