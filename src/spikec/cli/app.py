"""The application and what its commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spikec import driver
from spikec.ir import UsageError
from spikec.runtime.data import Dataset, read_dataset
from spikec.ui import Ui

app = typer.Typer(
    name="spikec",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Compile ONNX models to spiking networks on neuromorphic hardware.",
)

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no tables.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="Artifact directory.")]
Data = Annotated[Path, typer.Option("--data", help=".npz with x (and y), or .npy.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Use the first N samples.")]
Steps = Annotated[int, typer.Option(min=1, help="Time steps T.")]


def read_steps(text: str | None) -> list[int]:
    """The time steps in a text such as 1,2,4,8."""
    try:
        return [int(part) for part in text.split(",")] if text else []
    except ValueError:
        raise UsageError(f"--timesteps takes integers such as 1,2,4,8, not '{text}'") from None


def read_data(path: Path, art: driver.Artifact, limit: int | None, labels: bool = True) -> Dataset:
    """Samples for an artifact's inputs, the first `limit` of them."""
    return read_dataset(path, art.graph, labels=labels).head(limit)


def warn_clipped(ui: Ui, art: driver.Artifact, data: Dataset) -> None:
    """Say how many inputs lie outside the coded range."""
    clipped, total = art.clipped(data)
    if clipped:
        ui.say(f"warning: {clipped} of {total} input values lie outside the calibrated input range "
               "and were clipped")  # fmt: skip
