"""What the activation ops of stage ann share: statistics that `observe` stores on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spikec.ir.op import Op, ParamSpec

STATISTICS = {
    "low": ParamSpec("smallest observed value, per channel", "real", required=False),
    "high": ParamSpec("largest observed value, per channel", "real", required=False),
    "hist": ParamSpec("histogram over [low, high], (channels, bins)", "real", required=False),
}


@dataclass(frozen=True, slots=True)
class Activation(Op):
    """Base of the ops that become neurons."""

    stages = ("ann",)
    params = STATISTICS
    activation = True
    signed: ClassVar[bool] = False
    """Whether the value may be negative."""
