"""The gate of rewrites: a layer's neurons change only where held-out calibration data gain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from spikec.compiler.calibration.layer import Layer


def gated(
    layer: Layer, rewrite: Callable[[Layer], Layer], always: bool
) -> tuple[Layer, dict[str, Any]]:
    """The layer with rewritten neurons where their error on held-out samples is lower.

    A quarter of the samples is held out; the others fit the rewritten neurons. Neurons with more
    freedom always fit the samples they are searched on better, so only others can judge them.

    Args:
        layer: The layer.
        rewrite: Gives other neurons, fitted to the samples it is given.
        always: Take the rewritten neurons whatever their error.

    Returns:
        The layer, and for the report whether it was rewritten and both errors.
    """
    fitted, judged = parted(layer)
    neurons = rewrite(fitted).neurons
    before, after = judged.error(), replace(judged, neurons=neurons).error()
    taken = always or after < before
    figures = {"taken": taken, "held_out_before": before, "held_out_after": after}
    return (replace(layer, neurons=neurons) if taken else layer), figures


def parted(layer: Layer) -> tuple[Layer, Layer]:
    """The layer on the samples that fit it, and on those that are held out to judge it."""
    held = max(1, len(layer.target) // 4)
    # A single sample must do for both.
    fitted = layer.part(slice(held, None)) if len(layer.target) > held else layer
    return fitted, layer.part(slice(0, held))
