"""The application and what its commands share. Commands load what they need when they run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from spikec.driver import Artifact
    from spikec.report.schema import OutputResult
    from spikec.runtime.data import Dataset
    from spikec.ui import Ui

app = typer.Typer(
    name="spikec",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Compile ONNX models to spiking networks on neuromorphic hardware.",
)


def show_version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        from spikec.version import version

        typer.echo(f"spikec {version()}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Compile ONNX models to spiking networks on neuromorphic hardware."""


def target_names() -> list[str]:
    """Names of all targets, for completion."""
    from spikec.backends import Target, names_of

    return names_of(Target)


def engine_names() -> list[str]:
    """Names of all engines, for completion."""
    from spikec.backends import Engine, names_of

    return names_of(Engine)


OUTPUT = "Output"
"""Heading of the options that say how a command answers."""
Json = Annotated[
    bool, typer.Option("--json", help="One JSON object on stdout.", rich_help_panel=OUTPUT)
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="The one result alone.", rich_help_panel=OUTPUT)
]
Debug = Annotated[
    bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel=OUTPUT)
]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="Artifact directory.")]
Data = Annotated[
    Path, typer.Option("--data", help=".npz with x (and y), .npy, or a folder of images.")
]
Metrics = Annotated[
    list[str] | None,
    typer.Option(
        "--metric",
        metavar="OUTPUT=argmax|relative",
        help="How an output is judged: argmax of its classes, or relative error of its numbers.",
    ),
]
FramedInputs = Annotated[
    list[str] | None,
    typer.Option(
        "--frames",
        metavar="INPUT",
        help="An input whose data are (N, T, *shape): step t takes frame t.",
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Use the first N samples.")]
Steps = Annotated[int, typer.Option(min=1, help="Time steps T.")]
EngineName = Annotated[
    str,
    typer.Option(
        metavar="NAME{OPTION=VALUE}",
        help="fast, reference, onnx, lava, ...; see `spikec targets`.",
        autocompletion=engine_names,
    ),
]


def read_steps(text: str | None) -> list[int]:
    """The time steps in a text such as 1,2,4,8."""
    from spikec.ir import UsageError

    try:
        return [int(part) for part in text.split(",")] if text else []
    except ValueError:
        raise UsageError(f"--timesteps takes integers such as 1,2,4,8, not '{text}'") from None


def show_outputs(ui: Ui, outputs: Sequence[OutputResult]) -> None:
    """Each output against the ANN's, where there are several or numbers."""
    from spikec.ui import percent

    if len(outputs) == 1 and outputs[0].metric == "argmax":
        return
    rows = [
        (
            out.name,
            out.metric,
            percent(out.agreement),
            out.relative_error,
            out.max_error,
            out.correlation,
        )
        for out in outputs
    ]
    columns = ["output", "metric", "agreement", "relative error", "largest error", "correlation"]
    ui.table("Outputs against the ANN", columns, rows)
    ui.note("metric: what it is judged by; agreement: the same class in each sample and place")
    ui.note(
        "relative error: root mean square over the ANN's standard deviation; largest error: in "
        "the output's own unit"
    )


def load(out: Path, frames: Sequence[str] | None) -> Artifact:
    """An artifact that takes frames where it was compiled to, and where that is asked for."""
    from spikec import driver

    art = driver.load(out)
    art.take_frames(frames or ())
    return art


def read_data(path: Path, art: Artifact, limit: int | None, labels: bool = True) -> Dataset:
    """Samples for an artifact's inputs, the first `limit` of them."""
    from spikec.runtime.data import read_dataset

    return read_dataset(path, art.graph, labels=labels, images=art.images).head(limit)


def warn(ui: Ui, art: Artifact, data: Dataset) -> None:
    """Say what is doubtful about inputs."""
    for doubt in art.doubts(data):
        ui.note(f"warning: {doubt}")


def show_chip(ui: Ui, mapping: Sequence[Mapping[str, Any]]) -> None:
    """What no chip is known to do, with what to change in the model, and what needs microcode."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for part in mapping:
        if not part["chip"]:
            rows.setdefault((part["what"], part["how"], part["change"]), []).append(part["layer"])
    for (what, how, change), layers in rows.items():
        where = ", ".join(f"%{layer}" for layer in layers[:3] if layer)
        where += f" and {len(layers) - 3} more" if len(layers) > 3 else ""
        instead = f"; a chip could do {change}" if change else ""
        shown = f"{what} ({how}){': ' if where else ''}{where}{instead}"
        ui.note(f"note: only in simulation: {shown}")
    if coded := sorted({part["what"] for part in mapping if part["microcode"]}):
        ui.note(f"note: on a chip these need microcode with their rule: {', '.join(coded)}")
