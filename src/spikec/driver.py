"""Glues a frontend, passes and a backend: what the command line and the Python API share."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikec.backends import BACKENDS, engine, target
from spikec.compiler.onnx import import_model, load_model, model_hash
from spikec.compiler.onnx.node import LOWERINGS
from spikec.compiler.onnx.session import Ann
from spikec.compiler.passes import PASSES
from spikec.compiler.pipeline import Context, Pass, Pipeline, Progress, Record, parse_pipeline
from spikec.ir import Graph, UsageError, op_of, parse, same_values, spread
from spikec.ir.hardware import read_spec
from spikec.runtime import artifact as store
from spikec.runtime.artifact import Stored
from spikec.runtime.check import Comparison, traced_layers
from spikec.runtime.chip import draw
from spikec.runtime.coding import decode, encode
from spikec.runtime.data import Dataset, Source, make_dataset, read_dataset
from spikec.runtime.explain import explain_difference
from spikec.runtime.interpreter import Simulation
from spikec.runtime.metrics import add_events, fan_outs, spike_counts, synaptic_operations

Array = NDArray[Any]
BLOCK = 32
"""Samples that are simulated at a time where traces are kept or the engine is slow."""
LARGE_BLOCK = 256
"""Samples at a time for engines that bound their own memory or start slowly."""
OPERATIONS = ("effective_acs", "effective_macs", "dense")


def quiet(what: str, done: int, total: int) -> None:
    """Progress that nobody sees."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to compile; names and defaults as on the command line."""

    timesteps: int = 8
    target: str = "numpy"
    weight_bits: int = 8
    threshold: str = "per-channel"
    dni: str = "on"
    snm: str = "auto"
    spikes: str = "binary"
    payload_bits: int = 2
    bias: str = "on"
    reconstruct: str = "on"
    samples: int = 256
    seed: int = 0
    schedule: str = "synchronous"
    pass_pipeline: str | None = None
    dump_ir: Path | None = None
    verify_each: bool = True
    require_proof: bool = False
    require_fit: bool = False
    hardware: Path | None = None

    def passes(self) -> list[Pass]:
        """The passes that these options stand for."""
        if self.pass_pipeline is not None:
            return self._strict(parse_pipeline(self.pass_pipeline))
        _one_of("threshold", self.threshold, ("per-channel", "per-layer"))
        _one_of("dni", self.dni, ("on", "off", "half"))
        _one_of("snm", self.snm, ("auto", "on", "off"))
        _one_of("bias", self.bias, ("on", "off"))
        _one_of("reconstruct", self.reconstruct, ("on", "off"))
        _one_of("spikes", self.spikes, ("binary", "graded"))
        _one_of("schedule", self.schedule, ("synchronous", "layerwise"))
        layerwise = self.schedule == "layerwise"
        if layerwise and self.spikes == "graded":
            raise UsageError("the layerwise schedule has no graded spikes")
        if self.payload_bits not in (1, 2, 3):
            raise UsageError(f"payload_bits must be 1, 2 or 3, not {self.payload_bits}")
        per = "layer" if self.threshold == "per-layer" else "channel"
        search = "joint" if self.dni == "on" else "none"
        names = ["channels_first", "quantisers", "linearise", "fold", "relay", "observe"]
        names.append(f"qcfs{{per={per} v0={'zero' if self.dni == 'off' else 'half'}}}")
        names += ["layerwise"] if layerwise else []
        names += ["reconstruct"] if self.reconstruct == "on" else []
        names += ["bias"] if self.bias == "on" else []
        if self.spikes == "graded":
            names.append(f"graded{{levels={1 << self.payload_bits} search={search} per={per}}}")
        else:
            names += [f"dni{{per={per}}}"] if self.dni == "on" else []
            signed = f"snm{{gate={self.snm} search={search} per={per}}}"
            names += [signed] if self.snm != "off" and not layerwise else []
        names += [f"quantise{{bits={self.weight_bits}}}", "range", "place"]
        return self._strict(parse_pipeline(",".join(names)))

    def _strict(self, passes: list[Pass]) -> list[Pass]:
        """The passes, with those at their end that refuse what is asked to be refused."""
        for name, wanted in (("range", self.require_proof), ("place", self.require_fit)):
            if wanted:
                (strict,) = parse_pipeline(f"{name}{{require=true}}")
                found = [replace(p, require=True) if p.name == name else p for p in passes]  # type: ignore[call-arg]
                passes = found if any(p.name == name for p in passes) else [*passes, strict]
        return passes


def _one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise UsageError(f"{name} must be one of {', '.join(allowed)}, not '{value}'")


@dataclass(slots=True)
class Artifact:
    """A compiled network: its integer graph, the float graph behind it, and how it was made.

    Attributes:
        stored: Graphs, manifest and report.
        seconds: Time per pass, when it was just compiled.
    """

    stored: Stored
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def graph(self) -> Graph:
        """The integer spiking graph."""
        return self.stored.graph

    @property
    def report(self) -> dict[str, Any]:
        """What the compiler did and measured."""
        return self.stored.report

    def save(self, folder: str | Path) -> None:
        """Write the artifact directory in one step, with what its target emits."""
        name = str(self.stored.manifest["target"])
        emit = target(name).emit
        assert emit is not None
        into = None if name == "numpy" else functools.partial(emit, self.graph)
        store.save(self.stored, Path(folder), into)

    def stage(self, stage: str) -> Graph:
        """The graph of stage `int` or `float`."""
        _one_of("stage", stage, ("int", "float"))
        return self.graph if stage == "int" else self.stored.float_graph

    def run(
        self,
        x: Source,
        *,
        engine: str = "fast",
        stage: str = "int",
        timesteps: int | None = None,
    ) -> NDArray[np.float64]:
        """Logits (N, classes) of the spiking network: accumulated current per step.

        Args:
            x: Real inputs (N, *shape), by name where there are several.
            engine: reference, fast or lava.
            stage: int, or float for the network before quantisation.
            timesteps: Steps to run; those it was compiled for by default.
        """
        data = make_dataset(x, self.graph)
        graph = self.stage(stage)
        steps = graph.steps if timesteps is None else timesteps
        if steps < 1:
            raise UsageError(f"timesteps must be at least 1, not {steps}")
        parts = [
            logits(graph, run.readout, steps) for run in self.blocks(data, engine, stage, steps)
        ]
        return np.concatenate(parts)

    def blocks(
        self,
        data: Dataset,
        engine_name: str = "fast",
        stage: str = "int",
        steps: int | None = None,
        trace: Sequence[str] = (),
        progress: Progress = quiet,
    ) -> Iterator[Simulation]:
        """Simulate all samples, block by block."""
        simulate, graph = engine(engine_name), self.stage(stage)
        size = BLOCK if trace or engine_name == "reference" else LARGE_BLOCK
        for start, feeds in encoded_blocks(graph, data, size):
            yield simulate(graph, feeds, steps, trace)
            progress("simulate", min(start + size, len(data)), len(data))

    def clipped(self, x: Dataset) -> tuple[int, int]:
        """How many input elements lie outside the coded range, and how many there are."""
        found = [encode(self.graph, feeds) for _, feeds in _slices(x, LARGE_BLOCK)]
        return sum(e.clipped for e in found), sum(e.total for e in found)

    def check(self, x: Source, engines: Sequence[str] = ("reference", "fast")) -> dict[str, Any]:
        """Compare engines bit for bit on every layer and step; see `spikec check --json`."""
        return check(self, make_dataset(x, self.graph), engines)


def encoded_blocks(
    graph: Graph, data: Dataset, size: int = BLOCK
) -> Iterator[tuple[int, dict[str, Array]]]:
    """(first sample, coded inputs) of each block."""
    for start, feeds in _slices(data, size):
        yield start, encode(graph, feeds).feeds


def _slices(data: Dataset, size: int) -> Iterator[tuple[int, dict[str, Array]]]:
    for start in range(0, len(data), size):
        yield start, {name: x[start : start + size] for name, x in data.feeds.items()}


def logits(graph: Graph, readout: Mapping[str, Array], step: int) -> NDArray[np.float64]:
    """Real outputs after `step` steps; several outputs are flattened side by side."""
    parts = [decode(graph, name, readout[name][step - 1], step) for name in graph.outputs]
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


def compile(
    model: Any,
    calib: Source | Dataset | None = None,
    *,
    options: Options | None = None,
    progress: Progress = quiet,
    **settings: Any,
) -> Artifact:
    """Compile an ONNX model into an integer spiking network.

    Args:
        model: Path, bytes or onnx.ModelProto.
        calib: Calibration inputs: an array, a dict of arrays or an iterable of batches.
        options: All options at once; or give them as keywords (`timesteps=4`).
        progress: Called with (what, done, total).
        **settings: Fields of Options.

    Raises:
        SpikecError: with what is wrong, where, and what would help.
    """
    if options is None:
        try:
            options = Options(**settings)
        except TypeError as error:
            raise UsageError(str(error).replace("Options.__init__()", "compile()")) from None
    if options.timesteps < 1:
        raise UsageError(f"timesteps must be at least 1, not {options.timesteps}")
    passes, hardware = options.passes(), options.hardware
    backend = target(options.target)
    proto, source = load_model(model)
    imported = import_model(proto, source)
    ann = imported.require()
    if calib is not None and not isinstance(calib, Dataset):
        calib = make_dataset(calib, ann)
    drawn = None if calib is None else calib.draw(options.samples, options.seed)
    context = Context(
        calib=None if drawn is None else drawn.feeds,
        steps=options.timesteps,
        spec=backend.spec if hardware is None else read_spec(Path(hardware), backend.spec),
        seed=options.seed,
        progress=progress,
    )
    graph, records = Pipeline(passes, options.verify_each, options.dump_ir).run(ann, context)
    if graph.stage != "int" or "snn" not in context.last:
        raise UsageError("the pass pipeline does not end at stage int: end it with quantise")
    report = {
        "model": source,
        "timesteps": options.timesteps,
        "notes": imported.notes,
        "operators": imported.operators,
        "passes": [
            {"name": r.name, "options": r.options, "notes": r.notes, "layers": r.layers}
            for r in records
        ],
        "layers": describe_layers(graph, records),
        "warnings": warnings_of(records),
        "placement": next((r.summary for r in records if r.name == "place"), None),
        "samples": 0 if drawn is None else len(drawn),
    }
    manifest = {
        "spikec": version(),
        "model": {"file": source, "sha256": model_hash(proto)},
        "target": options.target,
        "steps": options.timesteps,
        "passes": [str(p) for p in passes],
        "calibration": None if drawn is None else {"sha256": drawn.digest(), "samples": len(drawn)},
        "seed": options.seed,
    }
    seconds = {r.name: r.seconds for r in records}
    return Artifact(Stored(graph, context.last["snn"], manifest, report), seconds)


def describe_layers(graph: Graph, records: Sequence[Record]) -> list[dict[str, Any]]:
    """One entry per layer with neurons: what it is and how its calibration error moved."""
    layers = []
    for node in graph.nodes:
        if not op_of(node).stateful:
            continue
        errors = {
            r.name: r.layers[node.name]["error_after"]
            for r in records
            if "error_after" in r.layers.get(node.name, {})
        }
        firsts = [
            r.layers[node.name]["error_before"]
            for r in records
            if "error_before" in r.layers.get(node.name, {})
        ]
        layers.append(
            {
                "name": node.name,
                "op": node.op,
                "onnx_node": node.loc,
                "shape": list(node.type.shape),
                "neurons": node.type.size,
                "error_before": firsts[0] if firsts else None,
                "error_after": errors,
                "range": _found(records, node.name, "range"),
            }
        )
    return layers


def _found(records: Iterable[Record], layer: str, figure: str) -> Any:
    """A figure that some pass reported of a layer, or None."""
    reported = (r.layers[layer] for r in records if layer in r.layers)
    return next((figures[figure] for figures in reported if figure in figures), None)


def warnings_of(records: Iterable[Record]) -> list[str]:
    """What a user should know before trusting the result."""
    found = []
    for record in records:
        for name, figures in record.layers.items():
            if figures.get("weight_error", 0) > 0.1:
                share = figures["weight_error"]
                found.append(f"%{name}: weights lose {share:.0%} of their norm to rounding")
    return found


def load(folder: str | Path) -> Artifact:
    """Load an artifact directory; raises InvalidArtifact when it is damaged."""
    return Artifact(store.load(folder))


def version() -> str:
    """Spikec's version."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("spikec")
    except PackageNotFoundError:
        return "unknown"


def check(
    art: Artifact, data: Dataset, engines: Sequence[str], progress: Progress = quiet
) -> dict[str, Any]:
    """Run engines on the same coded inputs and compare every spike and potential."""
    if len(set(engines)) < 2 or len(set(engines)) < len(engines):
        raise UsageError("check needs at least two engines, each named once")
    runners = {name: engine(name) for name in engines}
    comparison, graph = Comparison(), art.graph
    layers = traced_layers(graph)
    for start, feeds in encoded_blocks(graph, data):
        runs = {}
        for index, (name, simulate) in enumerate(runners.items()):
            runs[name] = simulate(graph, feeds, None, layers)
            done = start * len(runners) + (index + 1) * min(BLOCK, len(data) - start)
            progress(f"check {name}", done, len(data) * len(runners))
        comparison.add(graph, runs, start)
        difference = comparison.first_difference
        if difference is not None and "explanation" not in difference:
            explain_difference(graph, feeds, runs, difference, start)
    return {
        "engines": list(engines),
        "samples": len(data),
        "timesteps": graph.steps,
        "layers": [asdict(layer) for layer in comparison.layers.values()],
        "equal": comparison.equal,
        "first_difference": comparison.first_difference,
    }


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


def is_artifact(path: str | Path) -> bool:
    """Whether a path is an artifact directory."""
    return store.is_artifact(Path(path))


def engines() -> list[str]:
    """Names of all engines that can run here."""
    return [n for n, b in BACKENDS.items() if b.simulate is not None and b.unavailable() is None]


def read_calibration(path: Path, model: Any) -> Dataset:
    """Calibration data for a model, by its ONNX inputs."""
    proto, source = load_model(model)
    return read_dataset(path, import_model(proto, source).require(), labels=False)


def random_inputs(graph: Graph, samples: int) -> Dataset:
    """Uniform inputs over each input's coded range, from a fixed seed."""
    rng = np.random.default_rng(0)
    feeds = {}
    for node in graph.inputs:
        scale, offset = (spread(graph.array(node, r), node.type.shape) for r in ("scale", "offset"))
        u = rng.integers(0, node.type.dtype.bounds[1] + 1, (samples, *node.type.shape))
        feeds[node.name] = u * scale + offset
    return Dataset(feeds)


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


def write_npz(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write an .npz beside its final name and move it into place."""
    write_file(path, store.npz_bytes(arrays))


def write_file(path: Path, content: bytes) -> None:
    """Write a file beside its final name and move it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def describe_difference(difference: Mapping[str, Any]) -> str:
    """A sentence about the first difference that `check` found."""
    values = "; ".join(
        f"{engine}: spike {v['spike']}, potential {v['potential']}"
        for engine, v in difference["values"].items()
    )
    return (
        f"first difference: layer %{difference['layer']}, neuron {difference['neuron']}, "
        f"step {difference['step']}, sample {difference['sample']} ({values})"
    )


def inspect(path: Path) -> dict[str, Any]:
    """What a model or artifact holds; see `spikec inspect --json`."""
    if is_artifact(path) or path.is_dir():
        art = load(path)
        return {
            "supported": True,
            "unsupported": [],
            "operators": art.report["operators"],
            "layers": _layers(art.graph),
            "resources": {**resources(art.graph), **_hardware(art)},
            "placement": placement(art),
            "notes": art.report["notes"],
        }
    proto, source = load_model(path)
    imported = import_model(proto, source)
    return {
        "supported": imported.graph is not None,
        "unsupported": [asdict(refusal) for refusal in imported.refusals],
        "operators": imported.operators,
        "layers": [] if imported.graph is None else _layers(imported.graph),
        "resources": None,
        "placement": None,
        "notes": imported.notes,
    }


def _layers(graph: Graph) -> list[dict[str, Any]]:
    return [
        {
            "name": node.name,
            "op": node.op,
            "onnx_node": node.loc,
            "shape": list(node.type.shape),
            "type": str(node.type),
            "params": sum(graph.params[name].type.size for name in node.params.values()),
        }
        for node in graph.nodes
    ]


def resources(graph: Graph) -> dict[str, Any]:
    """Neurons, weights and synapses that a spiking graph needs, in all."""
    types = {node.name: node.type for node in graph.nodes}
    weights = synapses = 0
    for node in graph.nodes:
        if op_of(node).weighted:
            params = {role: graph.params[name].type for role, name in node.params.items()}
            weights += params["w"].size
            inputs = [types[name] for name in node.inputs]
            synapses += op_of(node).synaptic_operations(inputs, node.attrs, params)
    neurons = sum(node.type.size for node in graph.nodes if op_of(node).neuron)
    return {"neurons": neurons, "weights": weights, "synapses": synapses}


def placement(art: Artifact) -> dict[str, Any]:
    """Where an artifact's layers are on the chip; computed where it was compiled without."""
    found = art.report.get("placement")
    if found is None:
        record = Record("place", {})
        PASSES["place"]().run(art.graph, Context(steps=art.graph.steps), record)
        found = record.summary
    return dict(found)


def _hardware(art: Artifact) -> dict[str, Any]:
    """Neurocores and bytes of synaptic memory that an artifact takes."""
    found = placement(art)
    return {
        "hardware": found["hardware"],
        "fits": found["fits"],
        "neurocores": found["cores"],
        "neurocores_without_sharing": found["cores_without_sharing"],
        "memory": found["memory"],
        "memory_without_sharing": found["memory_without_sharing"],
    }


def draw_chip(art: Artifact, path: Path) -> None:
    """Write the picture of an artifact's neurocores, an SVG."""
    title = art.stored.manifest["model"]["file"] or art.graph.name
    write_file(path, draw(placement(art), title).encode())


def opt(file: Path, pipeline: str, steps: int, roundtrip: bool, values: bool) -> str:
    """The text of a graph after some passes."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {file}: {error}") from None
    graph = parse(text, file=file.name)
    if pipeline:
        graph, _ = Pipeline(parse_pipeline(pipeline)).run(graph, Context(steps=steps))
    printed = graph.to_text(values=values)
    if roundtrip and not same_values(parse(graph.to_text(values=True)), graph):
        raise UsageError("the printed graph does not read back as the same graph")
    return printed


def list_passes() -> list[tuple[str, str, str]]:
    """Name, options and first line of each pass."""
    rows = []
    for name, kind in PASSES.items():
        options = ", ".join(f"{f.name}={f.default}" for f in fields(kind))
        rows.append((name, options, first_line(kind.__doc__)))
    return rows


def first_line(doc: str | None) -> str:
    """The first sentence of a docstring."""
    return (doc or "").strip().splitlines()[0] if doc else ""


def list_onnx_operators() -> dict[str, list[str]]:
    """Imported ONNX operators by domain."""
    found: dict[str, list[str]] = {}
    for domain, name in sorted(LOWERINGS):
        found.setdefault(domain or "ai.onnx", []).append(name)
    return found
