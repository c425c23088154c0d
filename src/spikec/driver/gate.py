"""Whether rounding to integers loses more than it should."""

from __future__ import annotations

from math import hypot, inf

from spikec.ir import RangeError
from spikec.report.schema import OutputLoss, Report

TIMES, MORE = 1.5, 0.05
"""An output's error may be so many times that of the float network with plainly rounded weights,
and so much more."""
ROUNDED = 0.2
"""The most that plainly rounded weights excuse where the target has more bits for them."""
NOISE = 2.0
"""How much noisier than by plain rounding a layer's weights may become."""
WEIGHTS = 0.25
"""Share of their norm that weights may always lose: where sums are wide, outputs stay near."""


def check_rounding(report: Report, *, allowed: bool, few_bits: bool = False) -> str | None:
    """What rounding loses too much, in a sentence; None where it does not.

    Args:
        report: Of the compiled network.
        allowed: Whether it may lose that much.
        few_bits: Whether weights were given fewer bits than the target has for them.

    Raises:
        RangeError: when it does and is not allowed to, naming the layer that contributes most.
    """
    excused = ROUNDED if few_bits else inf
    outputs = [out for out in (report.loss.outputs if report.loss else []) if is_far(out, excused)]
    noisy = noisy_layers(report)
    if not outputs and not noisy:
        return None
    worst = max(noisy, key=lambda name: noisy[name], default=None)
    named = worst or (report.loss.most_rounded if report.loss else None)
    text = " and ".join([*map(_output_text, outputs[:3]), *_layer_text(named, noisy)])
    if allowed:
        return f"rounding to integers loses much: {text}"
    loc = next((layer.onnx_node for layer in report.layers if layer.name == named), None)
    cause = (
        "the state is too narrow for the weights that meet there: fewer --timesteps, fewer "
        "--weight-bits, or hardware with a wider state or fewer input_bits"
        if worst is not None
        else "more --weight-bits (--set layer:NAME.weight_bits=8 for single layers)"
    )
    raise RangeError(
        f"rounding to integers loses too much: {text}",
        loc=loc,
        hint=f"{cause}; --allow-rounding-loss goes on all the same",
    )


def is_far(output: OutputLoss, excused: float = inf) -> bool:
    """Whether integers are much further from the ANN than the float network is.

    What the ANN itself would lose to weights of so few bits is no fault of the network, up to
    `excused`.
    """
    rounded = min(output.rounded_error or 0.0, excused)
    return output.int_error > TIMES * hypot(output.float_error, rounded) + MORE


def noisy_layers(report: Report) -> dict[str, float]:
    """How much noisier than by plain rounding the weights of layers are that lose too much."""
    entries = [entry.layers for entry in report.passes if entry.name == "quantise"]
    figures = entries[-1] if entries else {}
    if not any(values.get("weight_error", 0) > WEIGHTS for values in figures.values()):
        return {}
    noise = {name: values.get("rounding_noise", 0) for name, values in figures.items()}
    return {name: more for name, more in noise.items() if more > NOISE}


def _output_text(out: OutputLoss) -> str:
    rounded = (
        ""
        if out.rounded_error is None
        else (f" and the ANN with plainly rounded weights {out.rounded_error:.2f}")
    )
    return (
        f"output '{out.output}' is {out.int_error:.2f} of its standard deviation from the ANN, "
        f"the float network {out.float_error:.2f}{rounded}"
    )


def _layer_text(name: str | None, noisy: dict[str, float]) -> list[str]:
    if name is None:
        return []
    if name in noisy:
        return [
            f"the weights of %{name} are rounded {noisy[name]:.1f} times as coarsely as their "
            "bits allow"
        ]
    return [f"most of it is lost in %{name}"]
