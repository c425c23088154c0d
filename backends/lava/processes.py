"""The project's processes, and the ops that they stand for."""

from __future__ import annotations

from dataclasses import dataclass

from spikec.ir.op import Op
from spikec.ir.ops.accumulate import Accumulate
from spikec.ir.ops.max_pool_count import MaxPoolCount
from spikec.ir.ops.neurons.integrate import Integrate
from spikec.ir.ops.neurons.integrate_graded import IntegrateGraded
from spikec.ir.ops.neurons.integrate_signed import IntegrateSigned
from spikec.ir.ops.neurons.integrate_window import IntegrateWindow


@dataclass(frozen=True, slots=True)
class ProcessClass:
    """A class of the project that stands for an op.

    Attributes:
        name: Of the class.
        roles: Params that it takes, besides units.
        attributes: Attributes that it takes, besides the placement.
        stock: Whether Lava's ATRLIF may stand for it, where that is proven exact.
    """

    name: str
    roles: frozenset[str]
    attributes: frozenset[str] = frozenset()
    stock: bool = False


_UNIT = frozenset(("theta", "v0", "bias"))
_FREE = frozenset(("free",))
CLASSES: dict[type[Op], ProcessClass] = {
    Integrate: ProcessClass("Integrate", _UNIT, stock=True),
    IntegrateSigned: ProcessClass("IntegrateSigned", _UNIT | {"theta_neg"}, _FREE),
    IntegrateGraded: ProcessClass("IntegrateGraded", _UNIT | {"fire"}, _FREE | {"levels"}),
    IntegrateWindow: ProcessClass("IntegrateWindow", _UNIT, _FREE),
    Accumulate: ProcessClass("Accumulate", frozenset(("bias",))),
    MaxPoolCount: ProcessClass(
        "MaxPoolCount", frozenset(), frozenset(("kernel", "strides", "pads", "dilations"))
    ),
}
"""Ops with state and what stands for them; all others are refused."""
