"""Pictures, drawn by matplotlib: SVG that follows the page's text colour, or PNG and PDF."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikec.ir import UsageError
from spikec.report.schema import StepResult
from spikec.runtime.files import write_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".svg", ".png", ".pdf")
BLUE, ORANGE, GREEN, RED, GREY = "#3b7dd8", "#e08214", "#3a9d5d", "#d1495b", "#8a8f98"
"""Readable on white and on black."""
INK = "#000001"
"""Stands for the colour of text, until an SVG is written."""


def unavailable() -> str | None:
    """Why pictures cannot be drawn here, or None if they can."""
    if importlib.util.find_spec("matplotlib") is None:
        return "matplotlib is not installed (pip install spikec[report])"
    return None


def check(path: Path) -> None:
    """Raise UsageError where a picture cannot be drawn under this name."""
    if path.suffix not in FORMATS:
        raise UsageError(f"a picture's name ends in {', '.join(FORMATS)}, not '{path.suffix}'")
    if reason := unavailable():
        raise UsageError(reason)


def new_figure(
    columns: int = 1, width: float = 7.2, height: float = 3.0, rows: int = 1
) -> tuple[Figure, list[Axes]]:
    """A figure of some inches and its axes, row by row.

    Raises:
        UsageError: where matplotlib is not installed.
    """
    if reason := unavailable():
        raise UsageError(reason)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes:
        axis.patch.set_alpha(0)
        axis.tick_params(which="both", colors=INK, labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
        for spine in axis.spines.values():
            spine.set_color(INK)
        for text in (axis.xaxis.label, axis.yaxis.label, axis.title):
            text.set_color(INK)
            text.set_fontsize(9)
        axis.grid(color=GREY, alpha=0.25, linewidth=0.5)
    return figure, axes


def legend(axes: Axes, **where: Any) -> None:
    """A legend in the text's colour."""
    axes.legend(frameon=False, fontsize=8, labelcolor=INK, **where)


def svg(figure: Figure) -> str:
    """A figure as an SVG element whose text and axes take the page's colour."""
    import matplotlib

    text = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": "spikec"}
    with matplotlib.rc_context(settings):
        figure.savefig(text, format="svg", metadata=nothing)
    drawing = text.getvalue()
    return drawing[drawing.index("<svg") :].replace(INK, "currentColor")


def write_figure(figure: Figure, path: Path) -> None:
    """Write a figure in the format that the file's name asks for."""
    check(path)
    if path.suffix == ".svg":
        write_file(path, svg(figure).encode())
        return
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:], dpi=160, facecolor="white")
    write_file(path, content.getvalue())


def draw_steps(results: Sequence[StepResult], ann_accuracy: float | None) -> Figure:
    """Accuracy, agreement and synaptic operations over the time steps of `spikec eval`."""
    figure, (left, right) = new_figure(2)
    steps = [r.timesteps for r in results]
    for key, colour in (("accuracy", BLUE), ("agreement", GREEN)):
        values = [getattr(r, key) for r in results]
        if None not in values:
            label = {"accuracy": "accuracy", "agreement": "agreement with the ANN"}[key]
            left.plot(steps, [100 * v for v in values], "o-", color=colour, ms=4, label=label)
    if ann_accuracy is not None:
        left.axhline(100 * ann_accuracy, color=ORANGE, ls="--", lw=1, label="accuracy of the ANN")
    left.set(xlabel="time steps T", ylabel="%")
    if left.get_legend_handles_labels()[0]:
        legend(left, loc="lower right")
    for key, colour in (("effective_acs", BLUE), ("effective_macs", ORANGE)):
        values = [getattr(r, key) for r in results]
        label = {"effective_acs": "accumulates", "effective_macs": "multiply-accumulates"}[key]
        right.plot(steps, values, "o-", color=colour, ms=4, label=label)
    right.set(xlabel="time steps T", ylabel="synaptic operations per sample")
    right.set_ylim(bottom=0)
    legend(right, loc="upper left")
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xticks(steps, [str(t) for t in steps])
        axes.minorticks_off()
    return figure
