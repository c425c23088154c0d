"""The page's pictures; each is drawn from the report alone, or not at all (None)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from spikec.report.plots import BLUE, GREEN, GREY, INK, ORANGE, RED, draw_steps, legend, new_figure

Report = Mapping[str, Any]
PASS_COLOURS = {
    "reconstruct": ORANGE,
    "bias": RED,
    "dni": GREEN,
    "snm": BLUE,
    "graded": BLUE,
}
MOST_LAYERS = 20
"""Layers that get a small picture of their own; more are thinned out evenly."""


def over_steps(report: Report) -> Any:
    """Accuracy and operations over T, from the evaluation with most steps."""
    found = [e for e in report.get("evaluations", []) if e["of"]["stage"] == "int"]
    best = max(found, key=lambda e: (len(e["results"]), e["samples"]), default=None)
    results = [] if best is None else [r for r in best["results"] if "error" not in r]
    return None if best is None or len(results) < 2 else draw_steps(results, best["ann_accuracy"])


def network(report: Report) -> Any:
    """Layers on a line, their neurons as bars, and arcs where a path skips a layer."""
    profile = report.get("profile")
    if not profile:
        return None
    shapes = {layer["name"]: layer for layer in report["layers"]}
    names = list(dict.fromkeys(name for edge in profile["edges"] for name in edge))
    place = {name: index for index, name in enumerate(names)}
    figure, (axes,) = new_figure(width=9.5, height=2.9)
    for name, x in place.items():
        size = shapes.get(name, {}).get("neurons", 0)
        kind = shapes.get(name, {}).get("op", "input")
        height = math.log10(size) if size else 0.6
        axes.bar(x, height, width=0.62, color=_kind_colour(kind))
        label = str(size) if size else "in"
        axes.text(x, height + 0.08, label, ha="center", fontsize=6, color=INK)
    for source, target in profile["edges"]:
        a, b = place[source], place[target]
        if b - a > 1:
            depth = -0.28 - 0.09 * min(b - a, 6)
            axes.annotate("", xy=(b, 0), xytext=(a, 0), arrowprops={
                "arrowstyle": "->", "color": GREY, "lw": 0.9,
                "connectionstyle": f"arc3,rad={0.25 + 0.02 * (b - a):.2f}"})  # fmt: skip
            axes.plot([a, b], [depth, depth], alpha=0)
    axes.set_xticks(range(len(names)), [_short(name) for name in names], rotation=60,
                    ha="right", fontsize=6.5)  # fmt: skip
    axes.set(ylabel="neurons, log10")
    axes.grid(visible=False, axis="x")
    for kind, text in _KINDS.items():
        if any(layer["op"] == kind for layer in shapes.values()):
            axes.bar(0, 0, color=_kind_colour(kind), label=text)
    legend(axes, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=5)
    return figure


_KINDS = {
    "integrate": "integrate-and-fire",
    "integrate_signed": "signed neuron with memory",
    "integrate_graded": "graded neuron",
    "integrate_window": "neuron with window",
    "max_pool_count": "max pooling",
    "accumulate": "readout",
}
_COLOURS = (BLUE, GREEN, ORANGE, ORANGE, GREY, RED)


def _kind_colour(kind: str) -> str:
    return dict(zip(_KINDS, _COLOURS, strict=True)).get(kind, GREY)


def errors(report: Report) -> Any:
    """Each layer's calibration error at the start and after each pass."""
    layers = [layer for layer in report["layers"] if layer["error_before"] is not None]
    if not layers:
        return None
    figure, (axes,) = new_figure(width=9.5, height=3.2)
    places = range(len(layers))
    axes.plot(places, [v["error_before"] for v in layers], "o--", ms=3, color=GREY,
              label="before")  # fmt: skip
    order = [p["name"] for p in report["passes"] if p["name"] in PASS_COLOURS]
    for name in order:
        values = [v["error_after"].get(name, math.nan) for v in layers]
        if not all(map(math.isnan, values)):
            axes.plot(places, values, "o-", ms=3, lw=1.2, color=PASS_COLOURS[name],
                      label=f"after {name}")  # fmt: skip
    if min(v["error_before"] for v in layers) > 0:
        axes.set_yscale("log")
    axes.set_xticks(places, [_short(v["name"]) for v in layers], rotation=60, ha="right",
                    fontsize=6.5)  # fmt: skip
    axes.set(ylabel="squared error, relative")
    legend(axes, ncols=6, loc="lower left", bbox_to_anchor=(0, 1.0))
    return figure


def scatter(report: Report) -> Any:
    """ANN activation against SNN rate, a small picture per layer."""
    layers = _profiled(report, "activation")

    def draw(axes: Any, layer: Mapping[str, Any]) -> None:
        x, y = layer["activation"], layer["rate"]
        high, low = max(*x, *y, 1e-9), min(*x, *y, 0)
        axes.plot([low, high], [low, high], color=ORANGE, lw=0.8)
        axes.plot(x, y, ".", ms=2, color=BLUE, alpha=0.6)

    return _grid(layers, draw)


def raster(report: Report) -> Any:
    """Spikes of one sample: steps to the right, neurons upwards."""
    layers = _profiled(report, "raster")

    def draw(axes: Any, layer: Mapping[str, Any]) -> None:
        spikes = np.array(layer["raster"])
        step, neuron = np.nonzero(spikes > 0)
        axes.plot(step + 1, neuron, "|", ms=3, color=BLUE)
        step, neuron = np.nonzero(spikes < 0)
        axes.plot(step + 1, neuron, "|", ms=3, color=RED)
        axes.set_xlim(0.5, len(spikes) + 0.5)
        axes.set_ylim(-1, spikes.shape[1])

    return _grid(layers, draw)


def rates(report: Report) -> Any:
    """How often neurons fire: a row per layer, a column per rate."""
    layers = (report.get("profile") or {}).get("layers", [])
    if not layers:
        return None
    counts = np.array([layer["rate_histogram"] for layer in layers], float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, (axes,) = new_figure(width=7.2, height=1.0 + 0.16 * len(layers))
    low, high = layers[0]["rate_range"]
    image = axes.imshow(shares, aspect="auto", cmap="viridis", vmin=0, vmax=max(0.5, shares.max()),
                        extent=(low, high, len(layers) - 0.5, -0.5))  # fmt: skip
    axes.set_yticks(range(len(layers)), [_short(layer["name"]) for layer in layers], fontsize=6.5)
    axes.set(xlabel="events per neuron and step")
    axes.grid(visible=False)
    bar = figure.colorbar(image, ax=axes, label="share of neurons")
    bar.ax.tick_params(colors=INK, labelsize=7)
    bar.set_label("share of neurons", color=INK, fontsize=8)
    bar.outline.set_edgecolor(INK)
    return figure


def thresholds(report: Report) -> Any:
    """Thresholds and initial potentials of all channels, layer by layer."""
    layers = (report.get("profile") or {}).get("layers", [])
    if not layers:
        return None
    figure, (left, right) = new_figure(2, width=9.5, height=3.0)
    for axes, key, colour, label in (
        (left, "theta", BLUE, "threshold, units of the activation"),
        (right, "v0_over_theta", GREEN, "initial potential / threshold"),
    ):
        for index, layer in enumerate(layers):
            values = layer[key]
            axes.plot([index] * len(values), values, "_", ms=5, color=colour, alpha=0.5)
        axes.set(ylabel=label, xlabel="layer")
        axes.set_xticks(range(0, len(layers), max(1, len(layers) // 10)))
    if min(min(layer["theta"]) for layer in layers) > 0:
        left.set_yscale("log")
    return figure


def margins(report: Report) -> Any:
    """Bits that potentials may need, of those that the state has."""
    layers = [layer for layer in report["layers"] if layer.get("range")]
    if not layers:
        return None
    figure, (axes,) = new_figure(width=9.5, height=2.8)
    for index, layer in enumerate(layers):
        colour = GREEN if layer["range"]["proven"] else ORANGE
        axes.bar(index, layer["range"]["bits"], color=colour, width=0.7)
    bits = max(layer["range"]["state_bits"] for layer in layers)
    axes.axhline(bits, color=RED, lw=1, ls="--", label=f"state: {bits} bits")
    axes.bar(0, 0, color=GREEN, label="proven for all inputs")
    if not all(layer["range"]["proven"] for layer in layers):
        axes.bar(0, 0, color=ORANGE, label="on calibration data")
    axes.set_xticks(range(len(layers)), [_short(v["name"]) for v in layers], rotation=60,
                    ha="right", fontsize=6.5)  # fmt: skip
    axes.set(ylabel="bits in the worst case")
    legend(axes, ncols=3, loc="lower left", bbox_to_anchor=(0, 1.0))
    return figure


def _profiled(report: Report, key: str) -> list[Mapping[str, Any]]:
    layers = [v for v in (report.get("profile") or {}).get("layers", []) if key in v]
    if len(layers) <= MOST_LAYERS:
        return layers
    picked = np.unique(np.linspace(0, len(layers) - 1, MOST_LAYERS).round().astype(int))
    return [layers[i] for i in picked]


def _grid(
    layers: Sequence[Mapping[str, Any]], draw: Callable[[Any, Mapping[str, Any]], None]
) -> Any:
    """Small pictures, five in a row."""
    if not layers:
        return None
    columns = min(5, len(layers))
    rows = -(-len(layers) // columns)
    figure, axes = new_figure(columns, width=9.5, height=1.55 * rows + 0.2, rows=rows)
    for each, layer in zip(axes, layers, strict=False):
        draw(each, layer)
        each.set_title(_short(layer["name"]), fontsize=7, color=INK)
        each.tick_params(labelsize=6)
    for each in axes[len(layers) :]:
        each.set_visible(False)
    return figure


def _short(name: str) -> str:
    return name if len(name) <= 18 else f"{name[:6]}…{name[-10:]}"
