"""`run`, `eval` and `demo`."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from spikec.cli.app import (
    Data,
    Debug,
    EngineName,
    FramedInputs,
    Json,
    Limit,
    Metrics,
    Out,
    Quiet,
    app,
    load,
    read_data,
    read_steps,
    show_outputs,
    warn,
)
from spikec.cli.text import EPILOGS

if TYPE_CHECKING:
    from spikec.driver.measuring import Cluster
    from spikec.report.schema import Conditions, Evaluation, StepResult

Stage = Annotated[
    Literal["int", "float"], typer.Option(help="int, or float: the network before quantisation.")
]


@app.command(epilog=EPILOGS["run"])
def run(
    out: Out,
    data: Data,
    engine: EngineName = "fast",
    stage: Stage = "int",
    limit: Limit = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="An .npz of outputs.")
    ] = None,
    trace: Annotated[bool, typer.Option(help="Also write spikes and potentials.")] = False,
    metric: Metrics = None,
    frames: FramedInputs = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Run a compiled network on data."""
    from spikec import driver
    from spikec.driver import measures
    from spikec.options import read_metrics
    from spikec.runtime.artifact import npz_bytes
    from spikec.ui import Ui, percent

    if output is not None:
        driver.check_file(output, [data])
    ui, art = Ui(json, quiet), load(out, frames)
    outputs = art.outputs(read_metrics(metric or []))
    dataset = read_data(data, art, limit)
    with ui.progress() as progress:
        predictions, traces = driver.predict(art, dataset, engine, stage, trace, progress)
    if output is not None:
        arrays = {out.name: out.part(predictions) for out in outputs}
        arrays |= {"logits": predictions} if len(outputs) == 1 else {}
        driver.write_file(output, npz_bytes({**arrays, **traces}))
        ui.note(f"wrote {output}")
    accuracy = measures.accuracy(outputs, predictions, dataset.labels)
    own = measures.classifier(outputs)
    warn(ui, art, dataset)
    for doubt in measures.doubts_of_labels(outputs, dataset.labels):
        ui.note(f"warning: {doubt}")
    ui.result(
        {
            "samples": len(dataset),
            "engine": engine,
            "timesteps": art.graph.steps,
            "accuracy": accuracy,
            "output": None if output is None else str(output),
            "predictions": None if own is None else own.classes(predictions).tolist(),
        },
        f"{len(dataset)} samples, T = {art.graph.steps}, engine {engine}"
        + (f": accuracy {percent(accuracy)}" if accuracy is not None else ""),
    )


@app.command(epilog=EPILOGS["eval"])
def eval(
    out: Out,
    data: Data,
    model: Annotated[Path | None, typer.Option(help="The ANN to compare with.")] = None,
    engine: EngineName = "fast",
    stage: Stage = "int",
    timesteps: Annotated[str | None, typer.Option(help="Such as 1,2,4,8.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw accuracy and operations over T: .svg, .png or .pdf.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Spread samples over N processes (needs dask).")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Spread samples over a dask scheduler, tcp://HOST:PORT.")
    ] = None,
    metric: Metrics = None,
    frames: FramedInputs = None,
    limit: Limit = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Measure accuracy, spike rates and synaptic operations."""
    from spikec import driver
    from spikec.options import read_metrics
    from spikec.report import plots
    from spikec.ui import Ui, percent

    ui, art = Ui(json, quiet), load(out, frames)
    dataset, steps = read_data(data, art, limit), read_steps(timesteps)
    if plot is not None:
        plots.check(plot)
        driver.check_file(plot, [data, model])
    with ui.progress() as progress:
        evaluation = driver.evaluate(
            art,
            dataset,
            timesteps=steps,
            model=model,
            engine_name=engine,
            stage=stage,
            cluster=_cluster(cluster, workers),
            metrics=read_metrics(metric or []),
            progress=progress,
        )
    rows = [
        (
            r.timesteps,
            percent(r.accuracy),
            percent(r.agreement),
            r.spikes_per_neuron_step,
            r.effective_acs,
            r.effective_macs,
            r.dense,
            r.seconds_per_sample,
        )
        for r in evaluation.results
    ]
    title = f"{len(dataset)} samples, compiled for T = {art.graph.steps}"
    if evaluation.ann_accuracy is not None:
        title += f", ANN accuracy {percent(evaluation.ann_accuracy)}"
    columns = ["T", "accuracy", "agreement", "rate", "ACs", "MACs", "dense", "s/sample"]
    ui.table(title, columns, rows)
    ui.note("agreement: same class as the ANN; rate: spikes per neuron and step")
    ui.note(
        "ACs, MACs: effective synaptic operations per sample (spike or graded input and weight "
        "not zero); dense: all"
    )
    for r in evaluation.results:
        if r.error is not None:
            ui.note(f"T = {r.timesteps}: {r.error}; compiled for T = {art.graph.steps}")
    if model is not None:
        show_outputs(ui, evaluation.measured[-1].outputs)
    if len(evaluation.measured) > 1:
        ui.table(
            "Over time steps",
            ["T", "accuracy or agreement", "synaptic operations"],
            _bars(evaluation.measured),
        )
    if plot is not None:
        drawn = plots.draw_steps(evaluation.measured, evaluation.ann_accuracy)
        plots.write_figure(drawn, plot)
        ui.note(f"wrote {plot}")
    for note in evaluation.notes:
        ui.note(f"note: {note}")
    of: Conditions = {"data": data.name, "samples": len(dataset), "engine": engine, "stage": stage}
    evaluation = replace(evaluation, of=of)
    art.record(evaluation)
    ui.result(asdict(evaluation), _line(evaluation))


def _line(evaluation: Evaluation) -> str:
    """The one result: what the network is worth at the longest T that could be measured."""
    from spikec.ui import percent

    best = evaluation.measured[-1]
    shares = {"accuracy": best.accuracy, "agreement": best.agreement}
    parts = [f"{name} {percent(share)}" for name, share in shares.items() if share is not None]
    parts += [
        f"{out.name} off by {out.relative_error:.3g} of its standard deviation"
        for out in best.outputs
        if out.metric == "relative"
    ]
    text = ", ".join(parts) or f"{best.operations:.4g} synaptic operations"
    return f"{evaluation.samples} samples, T = {best.timesteps}: {text}"


def _cluster(address: str | None, workers: int | None) -> Cluster | None:
    from spikec.driver.measuring import Cluster
    from spikec.ir import UsageError

    if address is not None and workers is not None:
        raise UsageError("give --cluster or --workers, not both")
    if address is None and workers is None:
        return None
    return Cluster(address, workers or 1)


def _bars(results: list[StepResult]) -> list[tuple[int, str, str]]:
    """Bars of accuracy (of 100 %) and of operations (of the most), for each T."""
    from spikec.ui import bar, percent, short

    most = max(r.operations for r in results)
    rows = []
    for r in results:
        share = r.agreement if r.accuracy is None else r.accuracy
        text = "-" if share is None else f"{bar(share)} {percent(share)}"
        operations = f"{bar(r.operations / max(most, 1))} {short(r.operations)}"
        rows.append((r.timesteps, text, operations))
    return rows


@app.command(epilog=EPILOGS["demo"])
def demo(
    target: Annotated[
        Literal["lava", "numpy"], typer.Option(help="numpy leaves Lava out.")
    ] = "lava",
    limit: Annotated[int, typer.Option(min=1, help="Test images.")] = 1000,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Run the main job on a bundled trained model and real images."""
    from spikec.demo import run_demo
    from spikec.ui import Ui

    ui = Ui(json, quiet)
    shown = run_demo(ui, target, limit)
    ui.result(shown, f"{shown['seconds']:.0f} s in all")
    raise typer.Exit(0 if shown["equal"] is not False else 1)
