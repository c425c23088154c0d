"""From a model to an artifact."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from spikec.backends import target
from spikec.compiler.onnx import import_model, load_model, model_hash
from spikec.compiler.onnx.convolution import fast_convolutions
from spikec.compiler.pipeline import Context, Pipeline, Progress, Record
from spikec.driver.artifact import Artifact
from spikec.driver.blocks import quiet
from spikec.driver.choosing import choose_steps
from spikec.driver.judging import Judge
from spikec.driver.options import Options
from spikec.driver.profile import profile
from spikec.ir import Graph, UsageError, op_of
from spikec.ir.hardware import read_spec
from spikec.runtime.artifact import Stored
from spikec.runtime.data import Dataset, Source, make_dataset, read_dataset

FEW = 16
"""Calibration samples below which the report warns."""


def compile(
    model: Any,
    calib: Source | Dataset | None = None,
    *,
    validation: Source | Dataset | None = None,
    options: Options | None = None,
    progress: Progress = quiet,
    **settings: Any,
) -> Artifact:
    """Compile an ONNX model into an integer spiking network.

    Args:
        model: Path, bytes or onnx.ModelProto.
        calib: Calibration inputs: an array, a dict of arrays or an iterable of batches.
        validation: Other inputs, with labels if there are any, on which the network is judged
            after each pass. With `max_loss` and without `validation`, part of `calib` is held out.
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
    if options.max_loss is not None:
        return choose_steps(
            model,
            calib,
            validation,
            options,
            progress,
            lambda data, each: _compile(model, data, None, each, progress),
        )
    judge = None
    if validation is not None:
        if not isinstance(validation, Dataset):
            ann = import_model(*load_model(model)).require()
            validation = make_dataset(validation, ann)
        judge = Judge.of(model, validation, options.seed, progress)
    return _compile(model, calib, judge, options, progress)


def _compile(
    model: Any,
    calib: Source | Dataset | None,
    judge: Judge | None,
    options: Options,
    progress: Progress,
) -> Artifact:
    """Compile for the time steps of the options."""
    passes, hardware = options.passes(), options.hardware
    emitter = target(options.target)
    proto, source = load_model(model)
    imported = import_model(proto, source)
    ann = imported.require()
    if calib is not None and not isinstance(calib, Dataset):
        calib = make_dataset(calib, ann)
    drawn = None if calib is None else calib.draw(options.samples, options.seed)
    context = Context(
        calib=None if drawn is None else drawn.feeds,
        steps=options.timesteps,
        spec=emitter.spec if hardware is None else read_spec(Path(hardware), emitter.spec),
        seed=options.seed,
        progress=progress,
        judge=judge,
    )
    with fast_convolutions():
        pipeline = Pipeline(passes, options.verify_each, options.dump_ir)
        graph, records = pipeline.run(ann, context)
    if graph.stage != "int" or "snn" not in context.last:
        raise UsageError("the pass pipeline does not end at stage int: end it with quantise")
    report = {
        "model": source,
        "timesteps": options.timesteps,
        "notes": imported.notes,
        "operators": imported.operators,
        "passes": [
            {
                "name": r.name,
                "options": r.options,
                "notes": r.notes,
                "layers": r.layers,
                "judged": r.judged,
            }
            for r in records
        ],
        "layers": describe_layers(graph, records),
        "warnings": [*doubts(drawn), *warnings_of(records)],
        "placement": next((r.summary for r in records if r.name == "place"), None),
        "mapping": emitter.describe(graph),
        "samples": 0 if drawn is None else len(drawn),
        "profile": None
        if drawn is None
        else profile(graph, context.last["snn"], context.last["ann"], drawn.feeds),
    }
    manifest = {
        "spikec": version(),
        "model": {"file": source, "sha256": model_hash(proto)},
        "outputs": imported.logits,
        "target": {"name": emitter.name, "options": emitter.options},
        "steps": options.timesteps,
        "passes": [str(p) for p in passes],
        "calibration": None if drawn is None else {"sha256": drawn.digest(), "samples": len(drawn)},
        "seed": options.seed,
    }
    report["provenance"] = manifest
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


def doubts(calib: Dataset | None) -> list[str]:
    """What is wrong with calibration data that nevertheless can be used."""
    if calib is None:
        return []
    found = []
    if len(calib) < FEW:
        found.append(f"only {len(calib)} calibration samples: thresholds will fit them by chance")
    if len(calib) > 1 and all((x == x[:1]).all() for x in calib.feeds.values()):
        found.append("all calibration samples are the same")
    return found


def warnings_of(records: Iterable[Record]) -> list[str]:
    """What a user should know before trusting the result."""
    found = []
    for record in records:
        for name, figures in record.layers.items():
            if figures.get("weight_error", 0) > 0.1:
                share = figures["weight_error"]
                found.append(f"%{name}: weights lose {share:.0%} of their norm to rounding")
    return found


def version() -> str:
    """Spikec's version."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("spikec")
    except PackageNotFoundError:
        return "unknown"


def read_calibration(path: Path, model: Any, labels: bool = False) -> Dataset:
    """Calibration or validation data for a model, by its ONNX inputs."""
    proto, source = load_model(model)
    return read_dataset(path, import_model(proto, source).require(), labels=labels)
