"""Accuracy, spikes and synaptic operations of an artifact."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikec.compiler.pipeline import Progress
from spikec.driver.blocks import logits, quiet
from spikec.driver.frames import framed_inputs, notes_of_frames
from spikec.driver.measures import Output, accuracy, agreement, doubts_of_labels, notes_of_metrics
from spikec.driver.measuring import Cluster, measure_all
from spikec.driver.model import Model, ModelSource
from spikec.driver.network import Network
from spikec.ir import Graph, RangeError, UsageError
from spikec.ir.neuron import Membrane
from spikec.ir.types import Array
from spikec.options import Metric
from spikec.report.schema import Evaluation, StepResult
from spikec.runtime.check import trace_bytes, traced_layers
from spikec.runtime.data import Dataset
from spikec.runtime.memory import require
from spikec.runtime.metrics import Activity, spike_counts, synaptic_operations


@dataclass(slots=True)
class _Totals:
    """What all samples gave: what they did, outputs by number of steps, and the time it took."""

    outputs: dict[int, list[Array]]
    done: Activity = field(default_factory=Activity)
    seconds: float = 0.0


def evaluate(
    art: Network,
    data: Dataset,
    *,
    timesteps: Sequence[int] = (),
    model: ModelSource | None = None,
    engine_name: str = "fast",
    stage: str = "int",
    cluster: Cluster | None = None,
    metrics: Mapping[str, Metric] | None = None,
    progress: Progress = quiet,
) -> Evaluation:
    """Accuracy, agreement with the ANN, spikes and synaptic operations; see `spikec eval --json`.

    The figures at fewer steps than the longest are those of the same run, read earlier (under the
    layerwise schedule: of runs of their own). Steps beyond those the artifact was compiled for at
    which its state overflows have no figures but an `error`.
    """
    graph, outputs = art.stage(stage), art.outputs(metrics)
    engine_name = str(art.engine(engine_name, graph.stage))
    wanted = sorted(set(timesteps or (graph.steps,)))
    if wanted[0] < 1:
        raise UsageError("timesteps must be at least 1")
    ann, notes = None, list[str]()
    doubts = [*art.doubts(data), *doubts_of_labels(outputs, data.labels)]
    data = data.first_frames(wanted[-1])
    if model is not None:
        network = ann_of(art, model)
        ann = network.logits(data.feeds, progress)
        notes += [*notes_of_frames(graph), *notes_of_metrics(outputs)]
        notes += [
            f"the ANN ran in spikec, as onnxruntime cannot run it: {why}" for why in network.refused
        ]
    results: list[StepResult] = []
    for group in _runs(graph, wanted):
        totals, refused = _simulate(graph, data, engine_name, group, cluster, progress)
        results += [_figures(graph, totals, t, data, ann, outputs) for t in totals.outputs]
        results += [StepResult(t, error=text) for t, text in sorted(refused.items())]
    last = max(totals.outputs)
    clipped, total = art.clipped(data)
    return Evaluation(
        samples=len(data),
        ann_accuracy=None if ann is None else accuracy(outputs, ann, data.labels),
        results=results,
        layers=[
            {"name": name, **figures}
            for name, figures in spike_counts(graph, totals.done, last, len(data)).items()
        ],
        clipped_inputs=clipped / max(total, 1),
        compiled_for=graph.steps,
        notes=[*notes, *doubts],
    )


def _runs(graph: Graph, wanted: list[int]) -> list[list[int]]:
    """Numbers of steps that one run can show; a neuron with windows waits for the last step."""
    membranes = [node.operation for node in graph if isinstance(node.operation, Membrane)]
    windowed = any(op.gathers for op in membranes)
    return [[t] for t in wanted] if windowed else [wanted]


def _simulate(
    graph: Graph,
    data: Dataset,
    name: str,
    wanted: list[int],
    cluster: Cluster | None,
    progress: Progress,
) -> tuple[_Totals, dict[int, str]]:
    """What all samples gave, and why there is nothing for some of the steps."""
    wanted, refused = list(wanted), dict[int, str]()
    while True:
        try:
            return _total(graph, data, name, wanted, cluster, progress), refused
        except RangeError as error:
            if wanted[-1] <= graph.steps or len(wanted) == 1:
                raise
            refused[wanted.pop()] = error.message


def _total(
    graph: Graph,
    data: Dataset,
    name: str,
    wanted: Sequence[int],
    cluster: Cluster | None,
    progress: Progress,
) -> _Totals:
    totals, start = _Totals({t: [] for t in wanted}), time.perf_counter()
    for part in measure_all(graph, data, name, wanted, progress, cluster):
        totals.done.add(part.done)
        for t, outputs in part.outputs.items():
            totals.outputs[t].append(outputs)
    totals.seconds = time.perf_counter() - start
    return totals


def _figures(
    graph: Graph,
    totals: _Totals,
    t: int,
    data: Dataset,
    ann: Array | None,
    outputs: Sequence[Output],
) -> StepResult:
    """The figures of the network after `t` steps, per sample."""
    given, samples = np.concatenate(totals.outputs[t]), len(data)
    counts = spike_counts(graph, totals.done, t, samples).values()
    ops = synaptic_operations(graph, totals.done, t, samples).values()
    spikes, neurons = (sum(c[key] for c in counts) for key in ("spikes", "neurons"))
    return StepResult(
        timesteps=t,
        accuracy=accuracy(outputs, given, data.labels),
        agreement=None if ann is None else agreement(outputs, given, ann),
        outputs=[] if ann is None else [out.result(given, ann) for out in outputs],
        spikes=spikes,
        spikes_per_neuron_step=spikes / max(neurons * t, 1),
        activation_sparsity=1 - spikes / max(neurons * t, 1),
        payload_bits=sum(c["payload_bits"] for c in counts),
        effective_acs=sum(op["effective_acs"] for op in ops),
        effective_macs=sum(op["effective_macs"] for op in ops),
        dense=sum(op["dense"] for op in ops),
        seconds_per_sample=totals.seconds / samples * t / max(totals.outputs),
    )


def predict(
    art: Network, data: Dataset, engine_name: str, stage: str, trace: bool, progress: Progress
) -> tuple[NDArray[np.float64], dict[str, Array]]:
    """Logits (N, values), and traces by `LAYER.spikes` and `LAYER.potentials` if asked for."""
    graph = art.stage(stage)
    layers = traced_layers(graph) if trace else []
    if trace:
        require(len(data) * trace_bytes(graph), f"the traces of {len(data)} samples", "--limit N")
    parts: list[Array] = []
    traces: dict[str, list[Array]] = {}
    for run in art.blocks(data, engine_name, stage, trace=layers, progress=progress):
        parts.append(logits(graph, run.readout, graph.steps))
        for name, layer in run.traces.items():
            traces.setdefault(f"{name}.potentials", []).append(layer.potentials)
            if layer.spikes is not None:
                traces.setdefault(f"{name}.spikes", []).append(layer.spikes)
    joined = {name: np.concatenate(arrays, axis=1) for name, arrays in traces.items()}
    return np.concatenate(parts), joined


def check_model(
    art: Network,
    data: Dataset,
    model: ModelSource,
    metrics: Mapping[str, Metric] | None = None,
) -> dict[str, Any]:
    """Agreement of the integer network with the ANN it came from."""
    outputs = art.outputs(metrics)
    ann, data = ann_of(art, model), data.first_frames(art.graph.steps)
    reference = ann.logits(data.feeds)
    spiking = art.run({node.loc or node.name: data.feeds[node.name] for node in art.graph.inputs})
    return {
        "agreement": agreement(outputs, spiking, reference),
        "largest_logit_difference": float(np.abs(reference - spiking).max()),
        "ann_accuracy": accuracy(outputs, reference, data.labels),
        "accuracy": accuracy(outputs, spiking, data.labels),
        "outputs": [asdict(out.result(spiking, reference)) for out in outputs],
    }


def ann_of(art: Network, model: ModelSource) -> Model:
    """The ANN of an artifact; raises UsageError when that was compiled from another model."""
    shapes, frames = art.stored.manifest.get("shapes"), framed_inputs(art.graph)
    ann = Model.load(model, shapes=shapes, frames=frames)
    same_model(art, ann)
    return ann


def same_model(art: Network, ann: Model) -> None:
    """Raise UsageError when an artifact was compiled from another model."""
    if art.stored.manifest["model"]["sha256"] != ann.digest:
        raise UsageError(
            "the artifact was compiled from another model "
            f"({art.stored.manifest['model']['file']}, other hash)"
        )
