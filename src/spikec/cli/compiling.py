"""`compile`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spikec.cli.app import Debug, Json, Quiet, app, show_chip
from spikec.cli.options import read_options, with_options
from spikec.cli.text import EPILOGS
from spikec.options import read_recipe

if TYPE_CHECKING:
    from spikec.report.schema import Judged, Loss, PassEntry, Range
    from spikec.ui import Ui


@app.command(epilog=EPILOGS["compile"])
@with_options
def compile(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx")],
    out: Annotated[Path, typer.Option("-o", "--output", help="Artifact directory to write.")],
    context: typer.Context,
    calib: Annotated[
        Path | None, typer.Option(help="Calibration data: .npz, .npy or a folder of images.")
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="Options of an earlier compile: OUT or its recipe.json.")
    ] = None,
    validation: Annotated[
        Path | None, typer.Option(help="Data (labels y if any) to judge each pass or T on.")
    ] = None,
    time_passes: Annotated[bool, typer.Option(help="Show the time of each pass.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
    **settings: Any,
) -> None:
    """Compile an ONNX model into an integer spiking network."""
    from spikec import driver
    from spikec.ir import UsageError
    from spikec.runtime.data import read_dataset
    from spikec.runtime.images import read_preparation
    from spikec.runtime.manifests import ARTIFACT, DUMP
    from spikec.ui import Ui

    ui, start = Ui(json, quiet), time.perf_counter()
    typed = {key: value for key, value in settings.items() if _is_typed(context, key)}
    options = read_options({**({} if recipe is None else read_recipe(recipe)), **typed})
    options.passes()
    inputs = [model, calib, validation, options.hardware]
    place = driver.check_folder(out, ARTIFACT, inputs)
    if options.dump_ir is not None:
        if options.dump_ir.resolve().is_relative_to(out.resolve()):
            raise UsageError(f"--dump-ir {options.dump_ir} lies in -o {out}", hint="choose another")
        driver.check_folder(options.dump_ir, DUMP, inputs)
    beside = place.with_name(f"{place.name}.checkpoint")
    with driver.Checkpoint(beside, ui.note) as checkpoint, ui.progress() as progress:
        read = driver.Model.load(model, shapes=options.shapes(), frames=options.frames)
        images = read_preparation(options.images)
        data, held = (
            None if path is None else read_dataset(path, read.graph, labels=labels, images=images)
            for path, labels in ((calib, options.max_loss is not None), (validation, True))
        )
        art = driver.compile(
            read,
            data,
            validation=held,
            options=options,
            progress=progress,
            checkpoint=checkpoint,
        )
        art.save(out)
    if time_passes:
        rows = [(name, seconds) for name, seconds in art.seconds.items()]
        ui.table("Time per pass", ["pass", "seconds"], rows)
    report = art.report
    _show_tried(ui, report.steps_tried, options.max_loss)
    _show_judged(ui, report.passes)
    errors = [
        (
            layer.name,
            layer.op,
            layer.shape,
            layer.error_before,
            layer.last_error,
            *_range(layer.range),
        )
        for layer in report.layers
    ]
    ui.table(
        "Layers (calibration error: squared, relative to the ANN's activation)",
        ["layer", "neuron", "shape", "error before", "after", "bits", "of", "proven"],
        errors,
    )
    _show_loss(ui, report.loss)
    for note in [*report.notes, *report.warnings]:
        ui.note(f"note: {note}")
    for entry in report.passes:
        if entry.name in ("range", "place"):
            for note in entry.notes:
                ui.note(f"note: {note}")
    shown = report.to_json()
    show_chip(ui, shown["mapping"])
    kept = ("timesteps", "layers", "loss", "warnings", "notes", "passes", "mapping", "steps_tried")
    ui.result(
        {"out": str(out), **{k: shown[k] for k in kept}, "seconds": time.perf_counter() - start},
        f"wrote {out} (T = {art.graph.steps}, {len(report.layers)} layers, target {art.target})",
    )


def _is_typed(context: typer.Context, name: str) -> bool:
    """Whether an option was given, which a recipe does not overrule."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def _range(bound: Range | None) -> tuple[Any, ...]:
    """Worst-case bits, bits of the state, and whether that is a proof, for a table."""
    if bound is None:
        return None, None, None
    return bound.bits, bound.state_bits, bound.proven


def _show_loss(ui: Ui, loss: Loss | None) -> None:
    """The loss budget: how far from the ANN, by which part, and what would help."""
    from spikec.ui import percent

    if loss is None:
        return
    of = "samples not calibrated on" if loss.held_out else "calibration samples"
    title = f"Against the ANN on {loss.samples} {of} (standard error {loss.standard_error:.1%})"
    if loss.agreement["int"] is not None:
        rows = [
            (name, percent(loss.agreement[stage]), loss.relative_error[stage])
            for stage, name in (("float", "float network"), ("int", "integers"))
        ]
        ui.table(title, ["", "agreement", "relative error"], rows)
        title = "Outputs against the ANN"
    if len(loss.outputs) > 1 or loss.agreement["int"] is None:
        errors = [(out.output, out.float_error, out.int_error) for out in loss.outputs]
        ui.table(
            f"{title}: error over the standard deviation",
            ["output", "float network", "integers"],
            errors,
        )
    if not loss.held_out:
        ui.note("note: give more calibration data than --samples to measure the loss on others")
    for line in loss.advice:
        ui.note(f"note: {line}")


def _show_tried(ui: Ui, tried: list[Judged], max_loss: float | None) -> None:
    """The numbers of time steps that --max-loss tried."""
    from spikec.driver.choosing import is_enough
    from spikec.ui import percent

    if not tried or max_loss is None:
        return
    rows = [
        (
            r.timesteps,
            percent(r.accuracy),
            percent(r.agreement),
            percent(r.loss),
            f"±{r.standard_error:.1%}",
            percent(r.bound),
            is_enough(r, max_loss),
        )
        for r in tried
    ]
    judged = "accuracy" if tried[0].accuracy is not None else "agreement with the ANN"
    title = f"Loss of {judged} on {tried[0].samples} samples not calibrated on"
    columns = ["T", "accuracy", "agreement", "loss", "standard error", "at most", "enough"]
    ui.table(title, columns, rows)


def _show_judged(ui: Ui, passes: list[PassEntry]) -> None:
    """What each pass bought: calibration errors, and accuracy on validation data."""
    from spikec.ui import percent

    rows = []
    for entry in passes:
        errors, judged = entry.mean_errors(), entry.judged
        if errors is None and judged is None:
            continue
        before, after = errors or (None, None)
        accuracy, agreement = (judged.accuracy, judged.agreement) if judged else (None, None)
        rows.append((entry.name, before, after, percent(accuracy), percent(agreement)))
    ui.table(
        "What each pass did (error: mean over layers, before and after the pass)",
        ["pass", "error before", "after", "accuracy", "agreement"],
        rows,
    )
