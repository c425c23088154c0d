"""The page's pictures; each is drawn from the report alone, or not at all (None)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from spikec.ir import OPS, UsageError
from spikec.ir.neuron import Membrane
from spikec.ir.types import Array
from spikec.report.plots import BLUE, GREEN, GREY, INK, ORANGE, RED, draw_steps, legend, new_figure
from spikec.report.schema import ProfiledLayer, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PASS_COLOURS = {
    "reconstruct": ORANGE,
    "bias": RED,
    "dni": GREEN,
    "snm": BLUE,
    "graded": BLUE,
    "blocks": INK,
}
RASTER = 64
"""Neurons of a layer whose spikes are drawn."""
MOST_LAYERS = 20
"""Layers that get a small picture of their own; more are thinned out evenly."""


def over_steps(report: Report) -> Figure | None:
    """Accuracy and operations over T, from the evaluation with most steps."""
    integer = [e for e in report.evaluations if e.of.get("stage") == "int"]
    best = max(integer, key=lambda e: (len(e.results), e.samples), default=None)
    if best is None or len(best.measured) < 2:
        return None
    return draw_steps(best.measured, best.ann_accuracy)


def network(report: Report) -> Figure | None:
    """Layers on a line, their neurons as bars, and arcs where a path skips a layer."""
    if report.profile is None:
        return None
    entries = {layer.name: layer for layer in report.layers}
    names = list(dict.fromkeys(name for edge in report.profile.edges for name in edge))
    place = {name: index for index, name in enumerate(names)}
    kinds = _kinds(report)
    figure, (axes,) = new_figure(width=9.5, height=2.9)
    for name, x in place.items():
        size = entries[name].neurons if name in entries else 0
        kind = entries[name].op if name in entries else "input"
        height = math.log10(size) if size else 0.6
        axes.bar(x, height, width=0.62, color=kinds[kind][1] if kind in kinds else GREY)
        label = str(size) if size else "in"
        axes.text(x, height + 0.08, label, ha="center", fontsize=6, color=INK)
    for source, target in report.profile.edges:
        a, b = place[source], place[target]
        if b - a > 1:
            depth = -0.28 - 0.09 * min(b - a, 6)
            axes.annotate(
                "",
                xy=(b, 0),
                xytext=(a, 0),
                arrowprops={
                    "arrowstyle": "->",
                    "color": GREY,
                    "lw": 0.9,
                    "connectionstyle": f"arc3,rad={0.25 + 0.02 * (b - a):.2f}",
                },
            )
            axes.plot([a, b], [depth, depth], alpha=0)
    axes.set_xticks(
        range(len(names)), [_short(name) for name in names], rotation=60, ha="right", fontsize=6.5
    )
    axes.set(ylabel="neurons, log10")
    axes.grid(visible=False, axis="x")
    for title, colour in kinds.values():
        axes.bar(0, 0, color=colour, label=title)
    legend(axes, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=5)
    return figure


def _kinds(report: Report) -> dict[str, tuple[str, str]]:
    """Title and colour of each op among the layers: neurons in turn, readouts red, others grey."""
    colours = itertools.cycle((BLUE, GREEN, ORANGE))
    kinds: dict[str, tuple[str, str]] = {}
    for name in sorted({layer.op for layer in report.layers}):
        op = OPS.get(name)
        title, colour = name, GREY
        if op is not None and issubclass(op, Membrane):
            title, colour = op.title or name, next(colours) if op.neuron else RED
        kinds[name] = title, colour
    return kinds


def errors(report: Report) -> Figure | None:
    """Each layer's calibration error at the start and after each pass."""
    layers = [layer for layer in report.layers if layer.error_before is not None]
    if not layers:
        return None
    figure, (axes,) = new_figure(width=9.5, height=3.2)
    places = range(len(layers))
    before = [math.nan if v.error_before is None else v.error_before for v in layers]
    axes.plot(places, before, "o--", ms=3, color=GREY, label="before")
    order = [entry.name for entry in report.passes if entry.name in PASS_COLOURS]
    for name in order:
        values = [v.error_after.get(name, math.nan) for v in layers]
        if not all(map(math.isnan, values)):
            axes.plot(
                places, values, "o-", ms=3, lw=1.2, color=PASS_COLOURS[name], label=f"after {name}"
            )
    if min(before) > 0:
        axes.set_yscale("log")
    axes.set_xticks(places, [_short(v.name) for v in layers], rotation=60, ha="right", fontsize=6.5)
    axes.set(ylabel="squared error, relative")
    legend(axes, ncols=6, loc="lower left", bbox_to_anchor=(0, 1.0))
    return figure


def scatter(report: Report) -> Figure | None:
    """ANN activation against SNN rate, a small picture per layer."""
    layers = [layer for layer in _profiled(report) if layer.activation is not None]
    if not layers:
        return None
    named = {layer.name: layer for layer in layers}

    def draw(axes: Axes, name: str) -> None:
        x, y = named[name].activation or [0.0], named[name].rate or [0.0]
        high, low = max(*x, *y, 1e-9), min(*x, *y, 0)
        axes.plot([low, high], [low, high], color=ORANGE, lw=0.8)
        axes.plot(x, y, ".", ms=2, color=BLUE, alpha=0.6)

    return _grid(list(named), draw, "ANN's activation", "rate x amplitude")


def raster(report: Report) -> Figure | None:
    """Spikes of one sample: steps to the right, neurons upwards."""
    layers = {layer.name: np.array(layer.raster) for layer in _profiled(report)}
    return draw_raster(layers) if layers else None


def draw_raster(spikes: Mapping[str, Array]) -> Figure:
    """Spikes (steps, *shape) of layers: steps to the right, neurons upwards, negative ones red."""

    def draw(axes: Axes, name: str) -> None:
        flat = spikes[name].reshape(len(spikes[name]), -1)
        flat = flat[:, np.unique(np.linspace(0, flat.shape[1] - 1, RASTER).round().astype(int))]
        for sign, colour in ((1, BLUE), (-1, RED)):
            step, neuron = np.nonzero(sign * flat > 0)
            axes.plot(step + 1, neuron, "|", ms=3, color=colour)
        axes.set_xlim(0.5, len(flat) + 0.5)
        axes.set_ylim(-1, flat.shape[1])

    return _grid(list(spikes), draw, "time step", "neuron")


def rates(report: Report) -> Figure | None:
    """How often neurons fire: a row per layer, a column per rate."""
    layers = [] if report.profile is None else report.profile.layers
    if not layers:
        return None
    counts = np.array([layer.rate_histogram for layer in layers], float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, (axes,) = new_figure(width=7.2, height=1.0 + 0.16 * len(layers))
    low, high = layers[0].rate_range
    image = axes.imshow(
        shares,
        aspect="auto",
        cmap="viridis",
        vmin=0,
        vmax=max(0.5, shares.max()),
        extent=(low, high, len(layers) - 0.5, -0.5),
    )
    axes.set_yticks(range(len(layers)), [_short(layer.name) for layer in layers], fontsize=6.5)
    axes.set(xlabel="events per neuron and step")
    axes.grid(visible=False)
    bar = figure.colorbar(image, ax=axes, label="share of neurons")
    bar.ax.tick_params(colors=INK, labelsize=7)
    bar.set_label("share of neurons", color=INK, fontsize=8)
    bar.outline.set_edgecolor(INK)
    return figure


def thresholds(report: Report) -> Figure | None:
    """Thresholds and initial potentials of all channels, layer by layer."""
    layers = [] if report.profile is None else report.profile.layers
    if not layers:
        return None
    figure, (left, right) = new_figure(2, width=9.5, height=3.0)
    for axes, key, colour, label in (
        (left, "theta", BLUE, "threshold, units of the activation"),
        (right, "v0_over_theta", GREEN, "initial potential / threshold"),
    ):
        for index, layer in enumerate(layers):
            values = getattr(layer, key)
            axes.plot([index] * len(values), values, "_", ms=5, color=colour, alpha=0.5)
        axes.set(ylabel=label, xlabel="layer")
        axes.set_xticks(range(0, len(layers), max(1, len(layers) // 10)))
    if min(min(layer.theta) for layer in layers) > 0:
        left.set_yscale("log")
    return figure


def margins(report: Report) -> Figure | None:
    """Bits that potentials may need, of those that the state has."""
    layers = [layer for layer in report.layers if layer.range is not None]
    bounds = [layer.range for layer in report.layers if layer.range is not None]
    if not layers:
        return None
    figure, (axes,) = new_figure(width=9.5, height=2.8)
    for index, bound in enumerate(bounds):
        axes.bar(index, bound.bits or 0, color=GREEN if bound.proven else ORANGE, width=0.7)
    states = [bound.state_bits for bound in bounds]
    axes.plot(range(len(bounds)), states, "_", color=RED, ms=9, label="bits of its state")
    axes.bar(0, 0, color=GREEN, label="proven for all inputs")
    if not all(bound.proven for bound in bounds):
        axes.bar(0, 0, color=ORANGE, label="on calibration data")
    axes.set_xticks(
        range(len(layers)), [_short(v.name) for v in layers], rotation=60, ha="right", fontsize=6.5
    )
    axes.set(ylabel="bits in the worst case")
    legend(axes, ncols=3, loc="lower left", bbox_to_anchor=(0, 1.0))
    return figure


def _profiled(report: Report) -> list[ProfiledLayer]:
    layers = [] if report.profile is None else report.profile.layers
    if len(layers) <= MOST_LAYERS:
        return layers
    picked = np.unique(np.linspace(0, len(layers) - 1, MOST_LAYERS).round().astype(int))
    return [layers[i] for i in picked]


def _grid(
    layers: Sequence[str], draw: Callable[[Axes, str], None], across: str, upwards: str
) -> Figure:
    """Small pictures, five in a row; the first in a row and the last in a column say their axes."""
    if not layers:
        raise UsageError("no layer sends spikes: there is nothing to draw")
    columns = min(5, len(layers))
    rows = -(-len(layers) // columns)
    figure, axes = new_figure(columns, width=9.5, height=1.55 * rows + 0.2, rows=rows)
    for index, (panel, layer) in enumerate(zip(axes, layers, strict=False)):
        draw(panel, layer)
        panel.set_title(_short(layer), fontsize=7, color=INK)
        panel.tick_params(labelsize=6)
        if index % columns == 0:
            panel.set_ylabel(upwards, fontsize=7)
        if index + columns >= len(layers):
            panel.set_xlabel(across, fontsize=7)
    for panel in axes[len(layers) :]:
        panel.set_visible(False)
    return figure


def _short(name: str) -> str:
    return name if len(name) <= 18 else f"{name[:6]}…{name[-10:]}"
