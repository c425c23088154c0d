"""What a target can hold: plain data that a backend provides and passes receive."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HardwareSpec:
    """Integer widths of a target, in bits.

    Attributes:
        name: The target's name.
        weight_bits: Signed synaptic weights.
        state_bits: Signed currents, potentials, thresholds and biases.
        input_bits: Unsigned graded inputs.
    """

    name: str
    weight_bits: int = 8
    state_bits: int = 24
    input_bits: int = 8


LOIHI2 = HardwareSpec("loihi2")
"""Widths of Loihi 2 as Lava 0.10 models them."""
