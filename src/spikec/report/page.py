"""The page itself: sections of HTML around the pictures."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any

from spikec.report import figures, plots
from spikec.runtime.chip import draw as draw_chip
from spikec.runtime.metrics import ENERGY, energy
from spikec.ui import percent, short

Report = Mapping[str, Any]


def build(report: Report) -> str:
    """The page as one HTML document that needs nothing else.

    Args:
        report: What report.json holds.

    Raises:
        UsageError: where matplotlib is not installed.
    """
    title = f"{report['model'] or 'network'}, T = {report['timesteps']}"
    style = (resources.files("spikec.report") / "style.css").read_text(encoding="utf-8")
    body = "\n".join(filter(None, (section(report) for section in SECTIONS)))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>spikec: {escape(title)}</title><style>{style}</style></head>\n"
        f"<body><main><h1>{escape(title)}</h1>\n{body}\n</main></body></html>\n"
    )


def _verdict(report: Report) -> str:
    best = _evaluation(report)
    cards = [_accuracy_card(report, best), _operations_card(best), _chip_card(report)]
    cards.append(_exact_card(report))
    return f'<div class="cards">{"".join(cards)}</div>'


def _card(name: str, figure: str, text: str, state: str = "") -> str:
    return (
        f'<div class="card {state}"><span>{escape(name)}</span><b>{escape(figure)}</b>'
        f"<small>{escape(text)}</small></div>"
    )


def _evaluation(report: Report) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    """The evaluation of the integer network with most samples, and its result at T."""
    found = [
        (e, r)
        for e in report.get("evaluations", [])
        if e["of"]["stage"] == "int"
        for r in e["results"]
        if r["timesteps"] == report["timesteps"]
    ]
    return max(found, key=lambda pair: int(pair[0]["samples"]), default=None)


def _accuracy_card(report: Report, best: Any) -> str:
    if best is None:
        return _card("accuracy", "not measured", "run `spikec eval` on this artifact", "open")
    evaluation, result = best
    of = f"{evaluation['samples']:,} samples of {evaluation['of']['data']}"
    if result["accuracy"] is None:
        return _card("same class as the ANN", percent(result["agreement"]), of)
    ann = evaluation["ann_accuracy"]
    if ann is None:
        return _card(f"accuracy at T = {result['timesteps']}", percent(result["accuracy"]), of)
    lost = 100 * (ann - result["accuracy"])
    state = "good" if lost <= 1 else "warn" if lost <= 3 else "bad"
    word = "below" if lost >= 0 else "above"
    text = f"{abs(lost):.1f} points {word} the ANN's {percent(ann)}; {of}"
    return _card(f"accuracy at T = {result['timesteps']}", percent(result["accuracy"]), text, state)


def _operations_card(best: Any) -> str:
    if best is None:
        return _card("synaptic operations", "not measured", "run `spikec eval`", "open")
    result = best[1]
    acs, macs = result["effective_acs"], result["effective_macs"]
    dense = result["dense"] / result["timesteps"]
    text = f"{short(acs)} accumulates, {short(macs)} multiply-accumulates; the ANN: {short(dense)}"
    return _card("synaptic operations", short(acs + macs), text)


def _chip_card(report: Report) -> str:
    placement = report.get("placement")
    if not placement:
        return _card("neurocores", "not placed", "the pipeline held no `place`", "open")
    cores = f"{placement['cores']} neurocores"
    if placement["fits"]:
        return _card(f"fits {placement['hardware']}", cores, "of those available", "good")
    problem = placement["problems"][0]["text"]
    return _card(f"does not fit {placement['hardware']}", cores, problem, "bad")


def _exact_card(report: Report) -> str:
    checks = report.get("checks", [])
    if not checks:
        return _card("bit-exact", "not checked", "run `spikec check` on this artifact", "open")
    best = max(checks, key=lambda c: (not c["equal"], len(c["engines"]), c["samples"]))
    spikes = sum(layer["spikes_compared"] for layer in best["layers"])
    potentials = sum(layer["potentials_compared"] for layer in best["layers"])
    text = (
        f"{' = '.join(best['engines'])}: {spikes:,} spikes, {potentials:,} potentials, "
        f"{best['samples']} samples, {best['timesteps']} steps"
    )
    if best["equal"]:
        return _card("bit-exact", "yes", text, "good")
    return _card("bit-exact", "no", f"differs at %{best['first_difference']['layer']}", "bad")


def _picture(title: str, text: str, draw: Callable[[Report], Any]) -> Callable[[Report], str]:
    def section(report: Report) -> str:
        figure = draw(report)
        if figure is None:
            return ""
        return (
            f"<section><h2>{title}</h2><p>{text}</p>{_unique(plots.svg(figure), title)}</section>"
        )

    return section


def _unique(svg: str, title: str) -> str:
    """An SVG whose ids do not meet those of the page's other pictures."""
    own = re.sub("[^a-z]", "", title.lower())
    svg = re.sub(r'\bid="', f'id="{own}-', svg)
    return re.sub(r'(href="#|url\(#)', rf"\g<1>{own}-", svg)


def _passes(report: Report) -> str:
    rows = []
    for each in report["passes"]:
        layers = [v for v in each["layers"].values() if "error_after" in v]
        before, after = (
            f"{sum(v[key] for v in layers) / len(layers):.4g}" if layers else ""
            for key in ("error_before", "error_after")
        )
        judged = each.get("judged") or {}
        accuracy = percent(judged.get("accuracy") or judged.get("agreement")) if judged else ""
        notes = "; ".join(each["notes"][:2])
        rows.append((each["name"], _options(each["options"]), before, after, accuracy, notes))
    heads = ("pass", "options", "error before", "after", "accuracy after", "notes")
    text = (
        "Errors are squared, relative to the ANN's activations, on calibration samples, and the "
        "mean over layers. Accuracy (agreement where there are no labels) is on validation data."
    )
    return f"<section><h2>What each pass did</h2><p>{text}</p>{_table(heads, rows)}</section>"


def _options(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in options.items())


def _layers(report: Report) -> str:
    rows = []
    for layer in report["layers"]:
        last = list(layer["error_after"].values())[-1:]
        shape = "x".join(map(str, layer["shape"]))
        bits = layer["range"] or {}
        proven = {True: "proven", False: "calibration data", None: ""}[bits.get("proven")]
        error = f"{last[0]:.4g}" if last else ""
        rows.append((layer["name"], layer["op"], shape, error, bits.get("bits", ""), proven,
                     layer["onnx_node"] or ""))  # fmt: skip
    heads = ("layer", "neuron", "shape", "error", "bits", "range", "ONNX node")
    return f"<section><h2>Layers</h2>{_table(heads, rows)}</section>"


def _chip(report: Report) -> str:
    if not report.get("placement"):
        return ""
    picture = draw_chip(report["placement"], str(report["model"] or ""))
    return f'<section><h2>Neurocores</h2><div class="paper">{picture}</div></section>'


def _energy(report: Report) -> str:
    best = _evaluation(report)
    if best is None:
        return ""
    result = best[1]
    found = energy(result["effective_acs"], result["effective_macs"])
    ann = energy(0, result["dense"] / result["timesteps"])
    rows = [(k, f"{v.picojoules} pJ", v.source) for k, v in ENERGY.items()]
    text = (
        f"An <b>estimate</b> of arithmetic alone, without memory, routing and leakage: "
        f"{short(found * 1e6)} µJ per sample for the spiking network, {short(ann * 1e6)} µJ for "
        "the ANN with all its multiply-accumulates. It compares, it does not predict a chip."
    )
    return (
        f"<section><h2>Energy</h2><p>{text}</p>"
        f"{_table(('operation', 'energy', 'source'), rows)}</section>"
    )


def _warnings(report: Report) -> str:
    lines = [*report["warnings"], *report["notes"]]
    lines += [f"{p['name']}: {n}" for p in report["passes"] for n in p["notes"]
              if p["name"] in ("range", "place")]  # fmt: skip
    lines += [f"only in Lava's CPU simulation: %{row['layer']}: {row['what']} ({row['how']})"
              for row in report.get("mapping") or [] if not row["chip"]]  # fmt: skip
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<section><h2>Warnings and notes</h2><ul>{items}</ul></section>"


def _provenance(report: Report) -> str:
    rows = [(key, _value(value)) for key, value in (report.get("provenance") or {}).items()]
    for kind in ("evaluations", "checks"):
        rows += [(kind, _value(entry["of"])) for entry in report.get(kind, [])]
    return f"<section><h2>Provenance</h2>{_table(('', ''), rows)}</section>" if rows else ""


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {_value(v)}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    head = "".join(f"<th>{escape(h)}</th>" for h in heads)
    lines = "".join(
        f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>{lines}</table></div>'


SECTIONS: tuple[Callable[[Report], str], ...] = (
    _verdict,
    _picture("Over time steps", "One network, read after each number of steps.",
             figures.over_steps),
    _picture("Network", "Layers in order; arcs are paths that skip some.", figures.network),
    _picture("Calibration error", "Spike rates against the ANN's activations, layer by layer, "
             "before and after each pass.", figures.errors),
    _passes,
    _picture("Activation and rate", "To the right the ANN's activation, upwards the rate of "
             "spikes times their amplitude; calibration samples.", figures.scatter),
    _picture("Spike rates", "A row per layer.", figures.rates),
    _picture("Thresholds", "A dash per channel.", figures.thresholds),
    _picture("Range of potentials", "Integer potentials in the worst case.", figures.margins),
    _picture("One sample", "Spikes of some neurons: time steps to the right, neurons upwards; "
             "blue is positive, red takes back.", figures.raster),
    _chip,
    _energy,
    _layers,
    _warnings,
    _provenance,
)  # fmt: skip
"""The page from top to bottom."""
