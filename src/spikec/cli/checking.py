"""`check`, `reduce` and `trace`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    engine_names,
    load,
    read_data,
    show_outputs,
)
from spikec.cli.text import EPILOGS

if TYPE_CHECKING:
    from spikec.ui import Ui

EngineNames = Annotated[
    str, typer.Option(metavar="NAME,NAME", help="Names with commas.", autocompletion=engine_names)
]


@app.command(epilog=EPILOGS["check"])
def check(
    out: Out,
    data: Annotated[Path | None, typer.Option(help="Inputs; random ones if none.")] = None,
    engines: EngineNames = "reference,fast",
    model: Annotated[Path | None, typer.Option(help="Also compare with this ANN.")] = None,
    against: Annotated[
        Path | None, typer.Option(help="Compare with this artifact, on the first engine.")
    ] = None,
    metric: Metrics = None,
    frames: FramedInputs = None,
    limit: Limit = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Check that engines agree bit for bit, on every layer, neuron and step."""
    from spikec import driver
    from spikec.driver import differences, measures
    from spikec.driver import frames as frames_of
    from spikec.ir.options import split_list
    from spikec.options import read_metrics
    from spikec.report.schema import Check, OutputResult, from_json
    from spikec.ui import Ui, percent

    ui, art = Ui(json, quiet), load(out, frames)
    names = split_list(engines)
    if data is None:
        dataset = driver.random_inputs(art.graph, limit or 4)
    else:
        dataset = read_data(data, art, limit)
    with ui.progress() as progress:
        if against is None:
            comparison = art.check(dataset, names, progress)
        else:
            other = driver.load(against)
            names = names[:1] or ["reference"]
            comparison = differences.check_against(art, other, dataset, names[0], progress)
        if model is not None:
            stated = read_metrics(metric or [])
            comparison["model"] = driver.check_model(art, dataset, model, stated)
    rows = [
        (
            layer["name"],
            layer["spikes_compared"],
            layer["spikes_differing"],
            layer["potentials_compared"],
            layer["potentials_differing"],
        )
        for layer in comparison["layers"]
    ]
    if against is not None:
        names = [str(out), str(against)]
    title = f"{' = '.join(names)} on {len(dataset)} samples, T = {art.graph.steps}"
    ui.table(title, ["layer", "spikes", "differing", "potentials", "differing"], rows)
    if model is not None:
        results = [OutputResult(**figures) for figures in comparison["model"]["outputs"]]
        show_outputs(ui, results)
        doubts = measures.doubts_of_labels(art.outputs(stated), dataset.labels)
        for note in [*frames_of.notes_of_frames(art.graph), *doubts]:
            ui.note(f"note: {note}")
        if comparison["model"]["agreement"] is not None:
            ui.say(f"agreement with the ANN: {percent(comparison['model']['agreement'])}")
    if comparison["equal"]:
        line = "equal: 0 spikes and 0 potentials differ"
    elif comparison["first_difference"] is None:
        line = f"these layers could not be compared: {', '.join(comparison['layers_not_compared'])}"
    else:
        line = driver.describe_difference(comparison["first_difference"])
        _explain(ui, comparison["first_difference"])
    if against is None:
        of = {
            "data": None if data is None else data.name,
            "samples": len(dataset),
            "engines": names,
        }
        art.record(from_json(Check, {"of": of, **comparison}))
    ui.result(comparison, line)
    raise typer.Exit(0 if comparison["equal"] else 1)


_SAID = {
    "potential_before": "potential before",
    "potential_charged": "with current and bias",
    "count_before": "count before",
    "expected_spike": "so the spike is",
    "expected_potential": "and v after",
}
_UNSAID = ("inputs", "inputs_nonzero", "constant", "v0", "current_before", "current_after")
_FIRST = ("current", "bias", "potential_before", "potential_charged")
_LAST = ("count_before", "expected_spike", "expected_potential")


def _said(explanation: Mapping[str, Any]) -> list[str]:
    """What is said of an explanation, in order: the neuron's own params stand in the middle."""
    own = [key for key in explanation if key not in (*_FIRST, *_LAST, *_UNSAID)]
    return [key for key in (*_FIRST, *own, *_LAST) if key in explanation]


def _explain(ui: Ui, difference: dict[str, Any]) -> None:
    """What entered the neuron of the first difference, and what follows from it."""
    story = difference["explanation"]
    rows = [
        (f"%{v['source']}", str(v["element"]), v["value"], v["weight"], v["product"])
        for v in story["inputs"]
    ]
    title = f"Its inputs in this step: {story['inputs_nonzero']} non-zero, the largest first"
    ui.table(title, ["from", "element", "value", "weight", "product"], rows)
    ui.say(", ".join(f"{_SAID.get(key, key)} {story[key]}" for key in _said(story)))
    for name, text in difference["likely_cause"].items():
        ui.say(f"{name}: {text}")


@app.command(epilog=EPILOGS["reduce"])
def reduce(
    out: Out,
    data: Data,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the case.")],
    engines: EngineNames = "reference,fast",
    limit: Limit = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Shrink a case in which two engines differ to a small graph and input, and write it."""
    from spikec import driver
    from spikec.driver import differences
    from spikec.ir.options import split_list
    from spikec.runtime.manifests import TRACES
    from spikec.ui import Ui

    driver.check_folder(output, TRACES, [data])
    ui, art = Ui(json, quiet), driver.load(out)
    names = split_list(engines)
    with ui.progress() as progress:
        reduced = differences.reduce_case(art, read_data(data, art, limit), names, output, progress)
    if reduced["equal"]:
        line = f"equal: {' and '.join(names)} do not differ, there is nothing to reduce"
    else:
        for cut in reduced["cuts"]:
            ui.say(f"cut: {cut}")
        ui.say(driver.describe_difference(reduced["first_difference"]))
        _explain(ui, reduced["first_difference"])
        line = f"wrote {output}; run it with `spikec trace --verify {output} --engine {names[1]}`"
    ui.result(reduced, line)
    raise typer.Exit(0 if reduced["equal"] else 1)


@app.command(epilog=EPILOGS["trace"])
def trace(
    out: Annotated[Path | None, typer.Argument(metavar="[OUT]", help="Artifact.")] = None,
    data: Annotated[Path | None, typer.Option(help=".npz with x, or .npy.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder to write.")] = None,
    verify: Annotated[
        Path | None, typer.Option(help="Recompute the traces in this folder and compare.")
    ] = None,
    engine: EngineName = "reference",
    arrays: Annotated[bool, typer.Option("--arrays", help="Write the full arrays too.")] = False,
    form: Annotated[
        str, typer.Option("--format", help="npz, or hex: files for $readmemh.")
    ] = "npz",
    limit: Limit = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write golden traces for other implementations, or verify an engine against them."""
    from spikec import driver
    from spikec.driver import differences
    from spikec.ir import UsageError
    from spikec.ui import Ui

    ui, art = Ui(json, quiet), None if out is None else driver.load(out)
    if verify is not None:
        cases = differences.verify_traces(verify, engine, art)
        rows = [
            (c["folder"], c["samples"], c["timesteps"], len(c["layers"]), c["equal"]) for c in cases
        ]
        ui.table(
            f"{engine} against golden traces", ["traces", "samples", "T", "layers", "equal"], rows
        )
        for case in cases:
            if case["first_difference"] is not None:
                ui.say(f"{case['folder']}: first difference: {case['first_difference']}")
        equal = all(case["equal"] for case in cases)
        line = f"{engine}: {len(cases)} golden traces, {'all equal' if equal else 'not all equal'}"
        ui.result({"engine": engine, "equal": equal, "cases": cases}, line)
        raise typer.Exit(0 if equal else 1)
    if art is None or data is None or output is None:
        raise UsageError("trace needs OUT, --data and -o, or --verify FOLDER")
    driver.check_folder(output, differences.kind_of(form), [data])
    written = differences.write_traces(
        art, read_data(data, art, limit), engine, output, arrays, form
    )
    ui.result(
        {
            "out": str(output),
            "samples": written["samples"],
            "timesteps": written["steps"],
            "network": written["network"],
        },
        f"wrote {output}: {written['samples']} samples, T = {written['steps']}, "
        f"{len(written['layers'])} layers",
    )
