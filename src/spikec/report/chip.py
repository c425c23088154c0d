"""A picture of a placed network: its neurocores on the chip, as SVG."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

COLUMNS = 16
_CELL, _GAP, _EDGE, _LINE, _LEGEND = 34, 4, 16, 16, 460
_PALETTE = (
    "#4e79a7",
    "#f28e2b",
    "#59a14f",
    "#e15759",
    "#76b7b2",
    "#edc948",
    "#b07aa1",
    "#ff9da7",
    "#9c755f",
    "#86bcb6",
    "#8cd17d",
    "#d37295",
)


def draw(placement: Mapping[str, Any], title: str = "") -> str:
    """The SVG of a placement as the pass `place` reports it; the same data, the same bytes.

    A core's filled part is the larger of its shares of neurons and of synaptic memory.
    """
    figures = {row["figure"]: row["value"] for row in placement["figures"]}
    per_chip = figures["cores_per_chip"] or max(placement["cores"], 1)
    chips = max(figures["chips"] or 1, -(-placement["cores"] // per_chip))
    rows = -(-per_chip // COLUMNS)
    pitch = _CELL + _GAP
    chip_height = rows * pitch - _GAP + 2 * _EDGE
    chip_width = COLUMNS * pitch - _GAP + 2 * _EDGE
    colours = {v["name"]: colour(i) for i, v in enumerate(placement["layers"])}
    height = max(60 + chips * (chip_height + 30), 90 + _LINE * len(colours))
    width = chip_width + 3 * _EDGE + _LEGEND
    head = title or "placement"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{_EDGE}" y="24" font-size="16">{escape(head)}: {placement["cores"]} neurocores '
        f"of {escape(placement['hardware'])}</text>",
    ]
    loads = {load["core"]: load for load in placement["core_loads"]}
    for chip in range(chips):
        top = 50 + chip * (chip_height + 30)
        lines.append(f'<text x="{_EDGE}" y="{top - 6}" fill="#555555">chip {chip}</text>')
        lines.append(
            f'<rect x="{_EDGE}" y="{top}" width="{chip_width}" height="{chip_height}" '
            'rx="6" fill="#f4f4f4" stroke="#999999"/>'
        )
        for place in range(per_chip):
            x = 2 * _EDGE + place % COLUMNS * pitch
            y = top + _EDGE + place // COLUMNS * pitch
            lines += _core(loads.get(chip * per_chip + place), x, y, figures, colours)
    lines += _legend(placement, colours, chip_width + 2 * _EDGE)
    return "\n".join([*lines, "</svg>"]) + "\n"


def colour(number: int) -> str:
    """A colour for each layer; hues a golden angle apart once the named ones are used up."""
    if number < len(_PALETTE):
        return _PALETTE[number]
    lightness = (0.35, 0.6, 0.75)[number % 3]
    parts = colorsys.hls_to_rgb(number * 0.381966 % 1, lightness, 0.55)
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)


def _core(
    load: Mapping[str, Any] | None,
    x: int,
    y: int,
    figures: Mapping[str, int | None],
    colours: Mapping[str, str],
) -> list[str]:
    frame = (
        f'<rect x="{x}" y="{y}" width="{_CELL}" height="{_CELL}" rx="3" fill="#ffffff" '
        'stroke="#cccccc"'
    )
    if load is None:
        return [f"{frame}/>"]
    shares = [
        load[key] / (figures[limit] or max(load[key], 1))
        for key, limit in (("neurons", "neurons_per_core"), ("memory", "synaptic_bytes_per_core"))
    ]
    parts = ", ".join(f"{name} ({neurons:,})" for name, neurons in load["layers"].items())
    text = (
        f"core {load['core']}: {load['neurons']:,} neurons, {load['memory']:,} bytes of "
        f"synapses; {parts}"
    )
    lines = [f"<g><title>{escape(text)}</title>", f"{frame}/>"]
    filled = max(2, min(_CELL, round(max(shares) * _CELL)))
    bottom, total = y + _CELL, max(load["neurons"], 1)
    for index, (name, neurons) in enumerate(load["layers"].items()):
        last = index == len(load["layers"]) - 1
        size = bottom - (y + _CELL - filled) if last else round(filled * neurons / total)
        bottom -= size
        lines.append(
            f'<rect x="{x}" y="{bottom}" width="{_CELL}" height="{size}" fill="{colours[name]}"/>'
        )
    lines.append(
        f'<text x="{x + 3}" y="{y + 12}" font-size="9" fill="#222222">{load["core"]}</text></g>'
    )
    return lines


def _legend(placement: Mapping[str, Any], colours: Mapping[str, str], x: int) -> list[str]:
    lines = []
    for index, layer in enumerate(placement["layers"]):
        y = 50 + index * _LINE
        text = (
            f"{layer['name']}: {layer['neurons']:,} neurons, {layer['memory']:,} bytes, "
            f"{layer['cores']} core{'s' if layer['cores'] != 1 else ''}"
        )
        lines.append(
            f'<rect x="{x}" y="{y}" width="11" height="11" fill="{colours[layer["name"]]}"/>'
        )
        lines.append(f'<text x="{x + 17}" y="{y + 10}">{escape(text)}</text>')
    y = 50 + len(placement["layers"]) * _LINE + 18
    status = "fits" if placement["fits"] else f"does not fit: {placement['problems'][0]['limit']}"
    lines.append(f'<text x="{x}" y="{y}" font-size="13">{escape(status)}</text>')
    return lines
