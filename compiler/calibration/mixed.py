"""The mixed schedule."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Literal

from spikec.compiler.calibration.gate import parted
from spikec.compiler.calibration.layer import Layer
from spikec.compiler.calibration.layerwise import windowed
from spikec.compiler.calibration.sweep import LayerPass
from spikec.compiler.pipeline import Record, within
from spikec.ir.neuron import Needs, Neuron, Sign
from spikec.ir.ops.neurons import is_offered


@dataclass(frozen=True)
class Mixed(LayerPass):
    """Let layers integrate for T steps and fire in the next T where that pays: a mixed schedule.

    Timing costs most where several spike trains meet and at linear relays, whose signed values
    cancel. Such a layer is fitted in both forms by the methods that follow, and gathers a window
    where its error on held-out calibration data falls by enough; all others fire as input arrives.
    Each window on the longest path adds T steps of latency; samples can still follow each other
    every T steps.

    With one time step there is no error of timing: no layer has a window.

    Options: gate=auto judges each layer, on gives all of them windows; gain, the share of the error
    that a window has to save; layers=joins for those at joins and relays, all for every layer.
    """

    gate: Literal["auto", "on"] = "auto"
    gain: float = 0.03
    layers: Literal["joins", "all"] = "joins"

    def check(self) -> None:
        within("gain", self.gain, 0, 1)

    def fit(self, layer: Layer, record: Record) -> Layer:
        op = layer.neurons.op
        if op is None or not is_offered(op, Needs(op.sign)) or layer.steps == 1:
            return layer
        if self.layers == "joins" and not _meets(layer, op):
            return layer
        gathering = replace(layer, neurons=layer.neurons.turned_into(windowed(op)))
        before, after = _held_out(layer), _held_out(gathering)
        taken = self.gate == "on" or after < (1 - self.gain) * before
        record.layer(layer.node.name, window=taken, held_out_before=before, held_out_after=after)
        return gathering if taken else layer


def _meets(layer: Layer, op: Neuron) -> bool:
    """Whether several spike trains meet in a layer, or it relays a signed value."""
    trains = 1 if layer.cone is None else len(layer.cone.stored)
    return trains > 1 or op.sign is Sign.FREE


def _held_out(layer: Layer) -> float:
    """The error on held-out samples when the methods that follow have fitted the layer."""
    fitted, held = parted(replace(layer, rng=deepcopy(layer.rng)))
    return replace(held, neurons=layer.following(fitted).neurons).error()
