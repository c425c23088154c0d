"""Accuracy, spikes and synaptic operations of an artifact."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikec.compiler.onnx.session import Ann
from spikec.compiler.pipeline import Progress
from spikec.driver.artifact import Artifact
from spikec.driver.blocks import logits, quiet
from spikec.ir import UsageError
from spikec.runtime.check import traced_layers
from spikec.runtime.data import Dataset
from spikec.runtime.metrics import add_events, fan_outs, spike_counts, synaptic_operations

Array = NDArray[Any]

OPERATIONS = ("effective_acs", "effective_macs", "dense")


def accuracy(outputs: Array, labels: Array | None) -> float | None:
    """Share of samples whose largest output is their label."""
    return None if labels is None else float((outputs.argmax(axis=1) == labels).mean())


def evaluate(
    art: Artifact,
    data: Dataset,
    *,
    timesteps: Sequence[int] = (),
    model: Any = None,
    engine_name: str = "fast",
    stage: str = "int",
    progress: Progress = quiet,
) -> dict[str, Any]:
    """Accuracy, agreement with the ANN, spikes and synaptic operations; see `spikec eval --json`.

    The figures at fewer steps than the longest are those of the same run, read earlier.
    """
    graph = art.stage(stage)
    wanted = sorted(set(timesteps or (graph.steps,)))
    if wanted[0] < 1:
        raise UsageError("timesteps must be at least 1")
    ann = None
    if model is not None:
        network = Ann.load(model)
        same_model(art, network)
        ann = network.logits(data.feeds, progress)
    events: dict[str, Array] = {}
    units: dict[str, Array] = {}
    outputs: dict[int, list[Array]] = {t: [] for t in wanted}
    start = time.perf_counter()
    for run in art.blocks(data, engine_name, stage, wanted[-1], progress=progress):
        add_events(events, run.events)
        add_events(units, run.units)
        for t in wanted:
            outputs[t].append(logits(graph, run.readout, t))
    seconds = (time.perf_counter() - start) / len(data)
    fans = fan_outs(graph)
    results = []
    for t in wanted:
        found = np.concatenate(outputs[t])
        counts = spike_counts(graph, events, t, len(data))
        ops = synaptic_operations(graph, events, fans, t, len(data), units)
        neurons = sum(c["neurons"] for c in counts.values())
        results.append(
            {
                "timesteps": t,
                "accuracy": accuracy(found, data.labels),
                "agreement": None if ann is None else accuracy(found, ann.argmax(axis=1)),
                "spikes": sum(c["spikes"] for c in counts.values()),
                "spikes_per_neuron_step": sum(c["spikes"] for c in counts.values())
                / max(neurons * t, 1),
                "payload_bits": sum(c["payload_bits"] for c in counts.values()),
                **{key: sum(op[key] for op in ops.values()) for key in OPERATIONS},
                "seconds_per_sample": seconds * t / wanted[-1],
            }
        )
    clipped, total = art.clipped(data)
    return {
        "samples": len(data),
        "ann_accuracy": None if ann is None else accuracy(ann, data.labels),
        "results": results,
        "layers": [
            {"name": name, **figures}
            for name, figures in spike_counts(graph, events, wanted[-1], len(data)).items()
        ],
        "clipped_inputs": clipped / max(total, 1),
        "compiled_for": graph.steps,
    }


def predict(
    art: Artifact, data: Dataset, engine_name: str, stage: str, trace: bool, progress: Progress
) -> tuple[NDArray[np.float64], dict[str, Array]]:
    """Logits (N, values), and traces by `LAYER.spikes` and `LAYER.potentials` if asked for."""
    graph = art.stage(stage)
    layers = traced_layers(graph) if trace else []
    parts: list[Array] = []
    traces: dict[str, list[Array]] = {}
    for run in art.blocks(data, engine_name, stage, trace=layers, progress=progress):
        parts.append(logits(graph, run.readout, graph.steps))
        for name, found in run.traces.items():
            traces.setdefault(f"{name}.potentials", []).append(found.potentials)
            if found.spikes is not None:
                traces.setdefault(f"{name}.spikes", []).append(found.spikes)
    joined = {name: np.concatenate(arrays, axis=1) for name, arrays in traces.items()}
    return np.concatenate(parts), joined


def check_model(art: Artifact, data: Dataset, model: Any) -> dict[str, Any]:
    """Agreement of the integer network with the ANN it came from."""
    ann = Ann.load(model)
    same_model(art, ann)
    reference = ann.logits(data.feeds)
    spiking = art.run({node.loc or node.name: data.feeds[node.name] for node in art.graph.inputs})
    return {
        "agreement": float((reference.argmax(1) == spiking.argmax(1)).mean()),
        "largest_logit_difference": float(np.abs(reference - spiking).max()),
        "ann_accuracy": accuracy(reference, data.labels),
        "accuracy": accuracy(spiking, data.labels),
    }


def same_model(art: Artifact, ann: Ann) -> None:
    """Raise UsageError when an artifact was compiled from another model."""
    if art.stored.manifest["model"]["sha256"] != ann.digest:
        raise UsageError(
            "the artifact was compiled from another model "
            f"({art.stored.manifest['model']['file']}, other hash)"
        )
