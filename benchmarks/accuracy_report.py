"""Writes the figures of `accuracy.py` as Markdown, with a plot where matplotlib is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import report
from numpy.typing import NDArray

Array = NDArray[Any]
Groups = dict[str, list[str]]
"""Methods by table; the first method of each is the one that others are compared with."""


@dataclass
class Result:
    """Which test images each method got right on a network, by number of steps."""

    name: str
    ann: float
    calib: int
    images: int
    right: dict[str, dict[int, Array]]
    notes: list[str]

    def accuracy(self, method: str, steps: int) -> float | None:
        """Percent of images, or None where it was not measured."""
        found = self.right.get(method, {}).get(steps)
        return None if found is None else 100 * float(found.mean())

    def above(self, method: str, other: str, steps: int) -> float:
        """By how many standard errors of the paired difference a method is better."""
        a, b = (self.right.get(m, {}).get(steps) for m in (method, other))
        if a is None or b is None:
            return 0.0
        difference = a.astype(float) - b.astype(float)
        error = float(difference.std() / np.sqrt(len(difference)))
        return float(difference.mean()) / error if error else 0.0


def table(result: Result, title: str, methods: Sequence[str], steps: Sequence[int]) -> str:
    """One row per measured method; bold where it is better than the first beyond chance."""
    rows = []
    for method in (m for m in methods if m in result.right):
        row: dict[str, Any] = {title: method}
        for t in steps:
            found = result.accuracy(method, t)
            bold = "**" if result.above(method, methods[0], t) > 2 else ""
            row[f"T = {t}"] = "-" if found is None else f"{bold}{found:.1f}{bold}"
        rows.append(row)
    return report.table(rows)


def write(
    results: Sequence[Result], groups: Groups, steps: Sequence[int], what: str, out: Path | None
) -> None:
    """Put the tables between the markers of `out`, or print them."""
    parts = [f"Measured by `python benchmarks/accuracy.py` with {what}."]
    for result in results:
        p = result.ann
        error = 100 * float(np.sqrt(p * (1 - p) / result.images))
        parts.append(
            f"### {result.name}\n\n{result.images:,} test images, {result.calib} calibration "
            f"images. ANN: {100 * p:.1f} %, standard error {error:.1f} points."
        )
        for title, methods in groups.items():
            if any(method in result.right for method in methods):
                parts.append(table(result, title, methods, steps))
        parts += result.notes
    if out is None:
        print("\n\n".join(parts))
        return
    picture = plot(results, groups, steps, out.with_suffix(".svg"))
    if picture is None:
        print("matplotlib is not installed: no plot")
    else:
        parts.insert(1, f"![Accuracy over time steps]({picture.name})")
    text = out.read_text(encoding="utf-8") if out.exists() else f"{report.BEGIN}\n{report.END}\n"
    before, rest = text.split(report.BEGIN)
    after = rest.split(report.END)[1]
    body = "\n\n".join(parts)
    out.write_text(f"{before}{report.BEGIN}\n\n{body}\n\n{report.END}{after}", encoding="utf-8")


def plot(
    results: Sequence[Result], groups: Groups, steps: Sequence[int], path: Path
) -> Path | None:
    """Accuracy over steps, a row for each group of methods; None without matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        return None
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "spikec"
    from matplotlib import pyplot

    shape = (len(groups), len(results))
    figure, grid = pyplot.subplots(
        *shape,
        figsize=(2.9 * len(results) + 2.6, 3.4 * len(groups)),
        sharex=True,
        sharey=True,
        squeeze=False,
        constrained_layout=True,
    )
    for axes, (title, methods) in zip(grid, groups.items(), strict=True):
        named: dict[str, Any] = {}
        for axis, result in zip(axes, results, strict=True):
            for index, method in enumerate(methods):
                found = [(t, result.accuracy(method, t)) for t in steps]
                points = [(t, _error(a)) for t, a in found if a is not None]
                if points:
                    xs, ys = zip(*points, strict=True)
                    (named[method],) = axis.plot(xs, ys, **_style(index, method))
            named["ANN"] = axis.axhline(_error(100 * result.ann), color="black", lw=0.9, ls="--")
        axes[0].set_ylabel("accuracy, %")
        lines = [(name, named[name]) for name in ("ANN", *methods) if name in named]
        axes[-1].legend(
            [line for _, line in lines],
            [name for name, _ in lines],
            title=title,
            fontsize=7.5,
            title_fontsize=9,
            alignment="left",
            frameon=False,
            loc="center left",
            bbox_to_anchor=(1.02, 0.5),
        )
    for axis, result in zip(grid[0], results, strict=True):
        axis.set_title(result.name, fontsize=10)
    for axis in grid[-1]:
        axis.set_xlabel("time steps T")
    _scale(grid, steps)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return path


def _error(accuracy: float) -> float:
    """Percent of wrong answers, kept off zero for the logarithm."""
    return max(100 - accuracy, 0.1)


def _scale(grid: Any, steps: Sequence[int]) -> None:
    """Accuracy upwards on a log scale of errors, so that the last points can be read."""
    errors = [float(y) for axis in grid.flat for line in axis.get_lines() for y in line.get_ydata()]
    ticks = [t for t in (10, 50, 70, 80, 85, 90, 92, 94, 96, 98, 99) if 100 - t >= min(errors)]
    for axis in grid.flat:
        axis.set(xscale="log", yscale="log")
        axis.set_ylim(max(errors) * 1.07, min(errors) * 0.93)
        axis.set_yticks([100 - t for t in ticks], [str(t) for t in ticks])
        axis.set_xticks(steps, [str(t) for t in steps])
        axis.minorticks_off()
        axis.grid(alpha=0.3)


COLOURS = {
    "graded": "tab:cyan",
    "layerwise": "tab:green",
    "SpikingJelly, 99.9 %, per channel": "tab:red",
    "SpikingJelly, 99.9 %": "tab:orange",
    "SpikingJelly, LTB": "tab:purple",
    "reconstruct + bias": "tab:olive",
    "DNI + SNM": "tab:brown",
    "QCFS only": "tab:gray",
    "99.9 %, v0 = 0": "black",
    "DNI": "tab:orange",
    "SNM": "tab:green",
    "bias": "tab:purple",
    "reconstruct": "tab:red",
}
"""By the first entry that is part of a method's name: what a method has or lacks is one colour."""


def _style(index: int, method: str) -> dict[str, Any]:
    """The first method stands out; a part alone is dashed, a delayed readout dotted."""
    if index == 0:
        return {"color": "tab:blue", "marker": "o", "ms": 4.5, "lw": 2.4, "zorder": 3}
    delayed = "delayed" in method
    alone = method.endswith("only") and "QCFS" not in method
    return {
        "color": next((c for part, c in COLOURS.items() if part in method), "tab:pink"),
        "marker": "" if delayed else "os^vDPX"[index % 7],
        "ms": 3.5,
        "lw": 1.2,
        "ls": (0, (1, 1.2)) if delayed else (0, (4, 1.5)) if alone else "-",
    }
