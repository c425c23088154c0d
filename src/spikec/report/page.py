"""The page: what the template `page.html` says, from the report."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup, escape

from spikec.report import figures, plots
from spikec.report.chip import draw as draw_chip
from spikec.report.schema import Check, Evaluation, LayerEntry, Loss, PassEntry, Report, StepResult
from spikec.runtime.files import write_file
from spikec.runtime.metrics import ENERGY, energy
from spikec.ui import percent, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = {
    "over_steps": figures.over_steps,
    "network": figures.network,
    "errors": figures.errors,
    "scatter": figures.scatter,
    "rates": figures.rates,
    "thresholds": figures.thresholds,
    "margins": figures.margins,
    "raster": figures.raster,
}
"""The page's pictures by their place in the template."""


@dataclass(frozen=True, slots=True)
class Card:
    """One figure of the verdict.

    Attributes:
        name: What it is.
        figure: Its value.
        text: What it is based on.
        state: good, warn, bad, open (not measured) or nothing.
    """

    name: str
    figure: str
    text: str
    state: str = ""


class Page(str):
    """An HTML document that a notebook shows in a frame of its own."""

    def save(self, path: str | Path) -> None:
        """Write the document."""
        write_file(Path(path), self.encode())

    def _repr_html_(self) -> str:
        frame = '<iframe style="width: 100%; height: 640px; border: 0" srcdoc="{}"></iframe>'
        return frame.format(escape(self))


def verdict(report: Report, title: str) -> str:
    """The cards alone, for a notebook."""
    template, style = _template("verdict.html"), _style("cards.css")
    return template.render(title=title, style=style, cards=cards(report))


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("spikec.report", "."),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(name)


def _style(*names: str) -> Markup:
    folder = resources.files("spikec.report")
    return Markup("".join((folder / name).read_text(encoding="utf-8") for name in names))


def build(report: Report) -> str:
    """The page as one HTML document that needs nothing else.

    Raises:
        UsageError: where matplotlib is not installed.
    """
    return _template("page.html").render(
        title=f"{report.model or 'network'}, T = {report.timesteps}",
        style=_style("cards.css", "style.css"),
        cards=cards(report),
        next_steps=next_steps(report),
        pictures={name: _picture(name, draw(report)) for name, draw in PICTURES.items()},
        loss=_loss(report.loss),
        outputs=_outputs(report.evaluated()),
        passes=[_pass_row(entry) for entry in report.passes],
        chip=Markup(draw_chip(report.placement, report.model or "")) if report.placement else None,
        energy=_energy(report),
        layers=[_layer_row(layer) for layer in report.layers],
        warnings=_warnings(report),
        provenance=_provenance(report),
        date=time.strftime("%Y-%m-%d"),
    )


def cards(report: Report) -> list[Card]:
    """The verdict: accuracy, operations, room on the chip, and whether it is bit-exact."""
    best = report.evaluated()
    return [
        _accuracy_card(report, best),
        _operations_card(best),
        _chip_card(report),
        _exact_card(report.checks),
    ]


def next_steps(report: Report) -> list[str]:
    """The commands that would fill what is still open."""
    steps = []
    if report.evaluated() is None:
        steps.append("spikec eval OUT --data TEST.npz --model MODEL.onnx: accuracy against the ANN")
    if not report.checks:
        steps.append("spikec check OUT --data TEST.npz: engines compared bit for bit")
    return steps


def _accuracy_card(report: Report, best: tuple[Evaluation, StepResult] | None) -> Card:
    if best is None:
        return _agreement_card(report.loss)
    evaluation, result = best
    of = f"{evaluation.samples:,} samples of {evaluation.of.get('data')}"
    if result.accuracy is None and result.agreement is None and result.outputs:
        far = max(out.relative_error for out in result.outputs)
        return Card("off the ANN's outputs", f"{far:.3g} of their standard deviation", of)
    if result.accuracy is None:
        return Card("agreement with the ANN", percent(result.agreement), of)
    error = (result.accuracy * (1 - result.accuracy) / evaluation.samples) ** 0.5
    of = f"standard error {percent(error)}, {of}"
    name, figure = f"accuracy at T = {result.timesteps}", percent(result.accuracy)
    if evaluation.ann_accuracy is None:
        return Card(name, figure, of)
    lost = 100 * (evaluation.ann_accuracy - result.accuracy)
    state = "good" if lost <= 1 else "warn" if lost <= 3 else "bad"
    word = "below" if lost >= 0 else "above"
    ann = percent(evaluation.ann_accuracy)
    return Card(name, figure, f"{abs(lost):.1f} points {word} the ANN's {ann}; {of}", state)


def _agreement_card(loss: Loss | None) -> Card:
    """What compiling measured, where nothing else was."""
    if loss is None:
        return Card("accuracy", "not measured", "run `spikec eval` on this artifact", "open")
    of = "samples not calibrated on" if loss.held_out else "calibration samples"
    text = (
        f"standard error {percent(loss.standard_error)}, {loss.samples} {of}; accuracy is not "
        "measured: run `spikec eval` on this artifact"
    )
    if loss.agreement["int"] is None:
        far = max(out.int_error for out in loss.outputs)
        return Card("off the ANN's outputs", f"{far:.3g} of their standard deviation", text, "open")
    return Card("agreement with the ANN", percent(loss.agreement["int"]), text, "open")


def _loss(loss: Loss | None) -> dict[str, Any] | None:
    """The loss budget, for the template."""
    if loss is None:
        return None
    stages = (("float", "float spiking network"), ("int", "integers"))
    return {
        "samples": f"{loss.samples} {'' if loss.held_out else 'calibration '}samples",
        "held_out": loss.held_out,
        "classes": loss.agreement["int"] is not None,
        "stages": [
            (name, percent(loss.agreement[stage]), f"{loss.relative_error[stage]:.3g}")
            for stage, name in stages
        ],
        "outputs": [
            (out.output, f"{out.float_error:.3g}", f"{out.int_error:.3g}") for out in loss.outputs
        ],
        "layers": [(v.layer, f"{v.error:.3g}", f"{v.rounding:.3g}") for v in loss.worst_layers],
        "advice": loss.advice,
    }


def _outputs(best: tuple[Evaluation, StepResult] | None) -> dict[str, Any] | None:
    """Each output as it was evaluated, for the template; None where one of classes is all."""
    results = [] if best is None else best[1].outputs
    if best is None or not results or (len(results) == 1 and results[0].metric == "argmax"):
        return None
    rows = [
        (
            out.name,
            _METRICS[out.metric],
            percent(out.agreement),
            f"{out.relative_error:.3g}",
            f"{out.max_error:.3g}",
            "-" if out.correlation is None else f"{out.correlation:.3f}",
        )
        for out in results
    ]
    return {"rows": rows, "samples": best[0].samples}


_METRICS = {"argmax": "its classes", "relative": "its numbers"}


def _operations_card(best: tuple[Evaluation, StepResult] | None) -> Card:
    if best is None:
        return Card("synaptic operations", "not measured", "run `spikec eval`", "open")
    result = best[1]
    dense = (result.dense or 0) / result.timesteps
    text = (
        f"per sample: {short(result.effective_acs or 0)} accumulates, "
        f"{short(result.effective_macs or 0)} multiply-accumulates; the ANN: {short(dense)}"
    )
    return Card("synaptic operations", short(result.operations), text)


def _chip_card(report: Report) -> Card:
    placement = report.placement
    if not placement:
        return Card("neurocores", "not placed", "the pipeline held no `place`", "open")
    figure, chip = f"{placement['cores']} neurocores", placement["hardware"]
    if not placement["fits"]:
        return Card(f"does not fit {chip}", figure, placement["problems"][0]["text"], "bad")
    simulated = {part.what: part.change for part in report.mapping if not part.chip}
    if simulated:
        parts = (f"{what} ({change})" if change else what for what, change in simulated.items())
        text = f"there is room, but only a simulation can do (instead): {', '.join(parts)}"
        return Card(f"not all of it runs on {chip}", figure, text, "warn")
    coded = sorted({part.what for part in report.mapping if part.microcode})
    text = f"microcode is needed for: {', '.join(coded)}" if coded else "of those available"
    return Card(f"fits {chip}", figure, text, "good")


def _exact_card(checks: list[Check]) -> Card:
    if not checks:
        return Card("bit-exact", "not checked", "run `spikec check` on this artifact", "open")
    best = max(checks, key=lambda c: (not c.equal, len(c.engines), c.samples))
    if not best.equal:
        where = best.first_difference.get("layer") if best.first_difference else "its layers"
        return Card("bit-exact", "no", f"differs at %{where}", "bad")
    spikes = sum(layer.spikes_compared for layer in best.layers)
    potentials = sum(layer.potentials_compared for layer in best.layers)
    text = (
        f"{' = '.join(best.engines)}: {spikes:,} spikes, {potentials:,} potentials, "
        f"{best.samples} samples, {best.timesteps} steps"
    )
    return Card("bit-exact", "yes", text, "good")


def _picture(name: str, figure: Figure | None) -> Markup | None:
    """An SVG whose ids do not meet those of the page's other pictures."""
    if figure is None:
        return None
    svg = re.sub(r'\bid="', f'id="{name}-', plots.svg(figure))
    return Markup(re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", svg))


def _pass_row(entry: PassEntry) -> tuple[str, ...]:
    errors, judged = entry.mean_errors(), entry.judged
    before, after = (f"{error:.4g}" for error in errors) if errors else ("", "")
    options = ", ".join(f"{key}={value}" for key, value in entry.options.items())
    share = "" if judged is None else percent(judged.accuracy or judged.agreement)
    return entry.name, options, before, after, share, "; ".join(entry.notes[:2])


def _layer_row(layer: LayerEntry) -> tuple[Any, ...]:
    error, bounds = layer.last_error, layer.range
    proven = "" if bounds is None else "proven" if bounds.proven else "calibration data"
    bits = "" if bounds is None or bounds.bits is None else f"{bounds.bits} of {bounds.state_bits}"
    shape = "x".join(map(str, layer.shape))
    shown = "" if error is None else f"{error:.4g}"
    return layer.name, layer.op, shape, shown, bits, proven, layer.onnx_node or ""


def _energy(report: Report) -> dict[str, Any] | None:
    best = report.evaluated()
    if best is None:
        return None
    result = best[1]
    network = energy(result.effective_acs or 0, result.effective_macs or 0)
    ann = energy(0, (result.dense or 0) / result.timesteps)
    rows = [(name, f"{v.picojoules} pJ", v.source) for name, v in ENERGY.items()]
    return {"network": short(network * 1e6), "ann": short(ann * 1e6), "rows": rows}


def _warnings(report: Report) -> list[str]:
    return [
        *report.warnings,
        *report.notes,
        *(
            f"{entry.name}: {note}"
            for entry in report.passes
            for note in entry.notes
            if entry.name in ("range", "place")
        ),
        *(
            f"only in simulation: %{part.layer}: {part.what} ({part.how})"
            for part in report.mapping
            if not part.chip
        ),
    ]


def _provenance(report: Report) -> list[tuple[str, str]]:
    rows = [(key, _text(value)) for key, value in report.provenance.items()]
    rows += [("evaluation", _text(evaluation.of)) for evaluation in report.evaluations]
    return rows + [("check", _text(check.of)) for check in report.checks]


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {_text(v)}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
