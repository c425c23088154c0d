"""From a model to an artifact."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from spikec.backends import Target, target
from spikec.backends.backend import MappedPart
from spikec.compiler.checkpoint import Checkpoint
from spikec.compiler.onnx.convolution import fast_convolutions
from spikec.compiler.pipeline import Context, Pipeline, Progress, Record
from spikec.driver.artifact import Artifact
from spikec.driver.choosing import choose_steps
from spikec.driver.frames import (
    doubts_of_frames,
    framed_inputs,
    notes_of_frames,
    with_their_steps,
)
from spikec.driver.gate import check_rounding
from spikec.driver.judging import Judge
from spikec.driver.latency import notes_of_latency
from spikec.driver.levels import notes_of_levels
from spikec.driver.losses import measure_loss
from spikec.driver.measures import doubts_of_labels
from spikec.driver.model import Model, ModelSource
from spikec.driver.profile import profile
from spikec.driver.progress import Kept, Shown, kept, shown
from spikec.driver.torch_module import first_sample
from spikec.ir import BackendError, Graph, UsageError, op_of
from spikec.ir.hardware import read_spec
from spikec.ir.ops.activations.relay import Relay
from spikec.options import Options, Settings, read_recipe
from spikec.report.schema import (
    Judged,
    LayerEntry,
    PassEntry,
    Range,
    Report,
    read_placement,
)
from spikec.runtime.artifact import Stored
from spikec.runtime.data import Dataset, Source, make_dataset
from spikec.runtime.estimate import compilation
from spikec.runtime.images import read_preparation
from spikec.runtime.memory import MORE_MEMORY, budget, require
from spikec.runtime.numerics import numerics
from spikec.version import version

if TYPE_CHECKING:
    from typing_extensions import Unpack

FEW = 16
"""Calibration samples below which the report warns."""


def compile(
    model: ModelSource,
    calib: Source | Dataset | None = None,
    *,
    validation: Source | Dataset | None = None,
    options: Options | None = None,
    recipe: str | Path | None = None,
    progress: Shown = True,
    checkpoint: Kept = None,
    **settings: Unpack[Settings],
) -> Artifact:
    """Compile an ONNX model into an integer spiking network.

    Args:
        model: Path, bytes, onnx.ModelProto, or a torch.nn.Module, which is exported in memory.
        calib: Calibration inputs: an array or tensor, a dict of them by ONNX input name, a path, or
            an iterable of batches x, (x,) or (x, y), such as a DataLoader.
        validation: Other inputs, with labels if there are any, on which the network is judged
            after each pass. With `max_loss` and without `validation`, part of `calib` is held out.
        options: All options at once; or give them as keywords (`timesteps=4`).
        recipe: Options of an earlier compile, its artifact directory or `recipe.json`; keywords
            come before it.
        progress: True for a bar in a terminal or a notebook, False for none, or called with
            (what, done, total).
        checkpoint: A folder in which calibration keeps what it found, now and then: the same call
            continues from there if this one is killed. Removed when the compile has ended well.
        **settings: Fields of Options.

    Raises:
        SpikecError: with what is wrong, where, and what would help.
    """
    if options is None:
        options = Options.of({**({} if recipe is None else read_recipe(recipe)), **settings})
    target(options.target).refuse_early()
    options.passes()  # refuses what is wrong with them before any work
    with shown(progress) as report, kept(checkpoint) as log:
        sample, calib = (None, calib) if calib is None else first_sample(model, calib)
        ann = Model.load(model, sample, options.shapes(), options.frames)
        images = read_preparation(options.images)
        data, held = (
            None if source is None else make_dataset(source, ann.graph, images=images)
            for source in (calib, validation)
        )
        options = with_their_steps(options, data)
        doubted = [] if data is None else doubts_of_frames(data, options.steps)
        if held is not None:
            doubted += doubts_of_labels(ann.outputs(options.metrics()), held.labels)
        data, held = (None if d is None else d.first_frames(options.steps) for d in (data, held))
        if options.max_loss is not None:

            def build(rest: Dataset, chosen: Options) -> Artifact:
                return compile_network(ann, rest, None, chosen, report, log)

            art = choose_steps(ann, data, held, options, report, build)
        else:
            judge = None
            if held is not None:
                judge = Judge.of(ann, held, options.seed, options.metrics(), report)
            art = compile_network(ann, data, judge, options, report, log)
        if data is not None and art.stored.float_graph is not None:
            drawn, rest = data.split(options.samples, options.seed)
            art.report.loss = measure_loss(art, ann, drawn, held or rest, report)
        few_bits = options.weight_bits < target(options.target).spec.weight_bits
        allowed = options.allow_rounding_loss
        art.report.warnings += doubted
        lost = check_rounding(art.report, allowed=allowed, few_bits=few_bits)
        if lost is not None:
            art.report.warnings.append(lost)
            art.stored.manifest["rounding_loss"] = lost
        return art


def compile_network(
    model: Model,
    calib: Dataset | None,
    judge: Judge | None,
    options: Options,
    progress: Progress,
    checkpoint: Checkpoint | None = None,
) -> Artifact:
    """Compile for the time steps of the options."""
    passes, hardware = options.passes(), options.hardware
    emitter = target(options.target)
    ann, imported = model.graph, model.imported
    drawn = None if calib is None else calib.draw(options.samples, options.seed)
    if drawn is not None:
        refuse_calibration(ann, options.steps, len(drawn))
    context = Context(
        calib=None if drawn is None else drawn.feeds,
        steps=options.steps,
        spec=emitter.spec if hardware is None else read_spec(Path(hardware), emitter.spec),
        seed=options.seed,
        progress=progress,
        judge=judge,
        checkpoint=checkpoint,
    )
    with fast_convolutions():
        pipeline = Pipeline(passes, options.verify_each, options.dump_ir)
        graph, records = pipeline.run(ann, context)
    if graph.stage != "int" or "snn" not in context.last:
        raise UsageError("the pass pipeline does not end at stage int: end it with quantise")
    manifest = {
        "spikec": version(),
        "model": {"file": model.source, "sha256": model.digest},
        "outputs": imported.logits,
        "metrics": {out.name: out.metric for out in model.outputs(options.metrics())},
        "class_axes": imported.class_axes,
        "target": {"name": emitter.name, "options": emitter.options},
        "steps": options.steps,
        "passes": [str(part) for p in passes for part in p.parts],
        "calibration": None if drawn is None else {"sha256": drawn.digest(), "samples": len(drawn)},
        "seed": options.seed,
        "numerics": numerics(),
        "images": options.images,
        "frames": framed_inputs(graph),
        "shapes": {name: list(shape) for name, shape in options.shapes().items()},
    }
    snn = context.last["snn"]
    pairs = {name: value for name, value in context.counterparts.items() if name in graph.by_name}
    report = Report(
        model=model.source,
        timesteps=options.steps,
        operators=imported.operators,
        passes=[pass_entry(record) for record in records],
        layers=layer_entries(graph, records),
        placement=next((read_placement(r.summary) for r in records if r.name == "place"), None),
        mapping=mapped(emitter, graph),
        samples=0 if drawn is None else len(drawn),
        profile=None
        if drawn is None
        else profile(graph, snn, context.last["ann"], pairs, drawn.feeds),
        notes=[
            *imported.notes,
            *notes_of_frames(ann),
            *notes_of_levels(context.last["ann"], context.levels, options.steps),
            *notes_of_latency(graph, [record.name for record in records]),
        ],
        warnings=[*doubts(drawn), *warnings_of(records)],
    )
    manifest["counterparts"] = _imported(pairs, context.last["ann"], ann)
    report.provenance = {**manifest, "command": options.command(model.source or "MODEL.onnx")}
    stored = Stored(graph, snn, manifest, report.to_json(), options.recipe())
    return Artifact(stored, context.clock.seconds, model=model)


def mapped(emitter: Target, graph: Graph) -> list[MappedPart]:
    """How the target maps a network; of one that is no chip's, how Lava would, the way to one."""
    parts = emitter.describe(graph)
    try:
        return parts or target("lava").describe(graph, quick=True)
    except BackendError as error:
        how, change = error.message, error.hint or ""
        return [MappedPart(error.loc or "", "no form in Lava", how, chip=False, change=change)]


def refuse_calibration(ann: Graph, steps: int, samples: int) -> None:
    """Raise OutOfMemory, with the number that would fit, for more samples than memory holds."""
    need = compilation(ann, steps, samples)
    fewer = max(0, budget() - need.fixed) // need.per_sample
    ways = f"--samples {fewer}" if fewer else "fewer --timesteps"
    require(
        need.fixed + samples * need.per_sample,
        f"calibration on {samples} samples and {steps} steps",
        f"{ways}, or {MORE_MEMORY}",
    )


def _imported(pairs: Mapping[str, str], rewritten: Graph, ann: Graph) -> dict[str, str]:
    """Layers and the values of the imported ANN that they stand for, of those of a rewritten one.

    A relay stands for what it sends; copies that passes made stand for none.
    """
    imported = {}
    for layer, value in pairs.items():
        node = rewritten[value]
        stood_for = node.inputs[0] if isinstance(node.operation, Relay) else value
        known = ann.by_name.get(stood_for)
        if known is not None and known.type.shape == node.type.shape:
            imported[layer] = stood_for
    return imported


def pass_entry(record: Record) -> PassEntry:
    """What a pass did, for the report."""
    judged = Judged(**record.judged) if record.judged else None
    return PassEntry(record.name, record.options, record.notes, record.layers, judged)


def layer_entries(graph: Graph, records: Sequence[Record]) -> list[LayerEntry]:
    """One entry per layer with neurons: what it is and how its calibration error moved."""
    entries = []
    for node in graph.nodes:
        if not op_of(node).stateful:
            continue
        figures = {r.name: r.layers[node.name] for r in records if node.name in r.layers}
        befores = [f["error_before"] for f in figures.values() if "error_before" in f]
        bounds = next((f["range"] for f in figures.values() if "range" in f), None)
        entries.append(
            LayerEntry(
                name=node.name,
                op=node.op,
                onnx_node=node.loc,
                shape=list(node.type.shape),
                neurons=node.type.size,
                error_before=befores[0] if befores else None,
                error_after={
                    name: f["error_after"] for name, f in figures.items() if "error_after" in f
                },
                range=None if bounds is None else Range(**bounds),
            )
        )
    return entries


def doubts(calib: Dataset | None) -> list[str]:
    """What is wrong with calibration data that nevertheless can be used."""
    if calib is None:
        return []
    reasons = []
    if len(calib) < FEW:
        reasons.append(f"only {len(calib)} calibration samples: thresholds will fit them by chance")
    if len(calib) > 1 and all((x == x[:1]).all() for x in calib.feeds.values()):
        reasons.append("all calibration samples are the same")
    return reasons


def warnings_of(records: Sequence[Record]) -> list[str]:
    """What a user should know before trusting the result."""
    lines = []
    for record in records:
        for name, figures in record.layers.items():
            if figures.get("weight_error", 0) > 0.1:
                share = figures["weight_error"]
                lines.append(f"%{name}: weights lose {share:.0%} of their norm to rounding")
    return [*lines, *beyond_budget(records)]


def beyond_budget(records: Sequence[Record]) -> list[str]:
    """That spikes carry more bits than the pass `budget` planned with, where they do."""
    budget = next((record.options["bits"] for record in records if record.name == "budget"), None)
    counted = [
        (figures["spikes"], figures["spike_bits"])
        for record in records
        for figures in record.layers.values()
        if "spike_bits" in figures
    ]
    spikes = sum(count for count, _ in counted)
    if budget is None or not spikes:
        return []
    mean, most = sum(count * bits for count, bits in counted) / spikes, float(str(budget))
    if mean <= most:
        return []
    return [
        f"spikes carry {mean:.2f} bits on average on the calibration data, the budget is {most:g}; "
        f"--payload-budget {2 * most - mean:.1f} leaves room"
    ]


def _shown_signature() -> inspect.Signature:
    """The signature of `compile` with every option and its default, for help and notebooks."""
    own = inspect.signature(compile).parameters.values()
    stated = [
        inspect.Parameter(
            f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=f.type
        )
        for f in fields(Options)
    ]
    kept = [p for p in own if p.kind is not inspect.Parameter.VAR_KEYWORD]
    return inspect.Signature([*kept, *stated], return_annotation=Artifact)


setattr(compile, "__signature__", _shown_signature())  # noqa: B010
