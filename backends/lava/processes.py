"""The project's processes, and the ops that they stand for."""

from __future__ import annotations

from dataclasses import dataclass

from spikec.ir.op import Op
from spikec.ir.ops.accumulate import Accumulate
from spikec.ir.ops.accumulate_radix import AccumulateRadix
from spikec.ir.ops.max_pool_count import MaxPoolCount
from spikec.ir.ops.max_pool_radix import MaxPoolRadix
from spikec.ir.ops.neurons.integrate import Integrate
from spikec.ir.ops.neurons.integrate_graded import IntegrateGraded
from spikec.ir.ops.neurons.integrate_integer import IntegrateInteger
from spikec.ir.ops.neurons.integrate_radix import IntegrateRadix
from spikec.ir.ops.neurons.integrate_signed import IntegrateSigned
from spikec.ir.ops.neurons.integrate_window import IntegrateWindow
from spikec.ir.ops.neurons.integrate_window_graded import IntegrateWindowGraded
from spikec.ir.ops.neurons.integrate_window_integer import IntegrateWindowInteger


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
_POOL = frozenset(("kernel", "strides", "pads", "dilations"))
CLASSES: dict[type[Op], ProcessClass] = {
    Integrate: ProcessClass("Integrate", _UNIT, stock=True),
    IntegrateSigned: ProcessClass("IntegrateSigned", _UNIT | {"theta_neg"}, _FREE),
    IntegrateGraded: ProcessClass("IntegrateGraded", _UNIT | {"fire"}, _FREE | {"levels"}),
    IntegrateInteger: ProcessClass("IntegrateInteger", _UNIT, _FREE | {"bits"}),
    IntegrateWindow: ProcessClass("IntegrateWindow", _UNIT, _FREE),
    IntegrateWindowGraded: ProcessClass(
        "IntegrateWindowGraded", _UNIT | {"fire"}, _FREE | {"levels"}
    ),
    IntegrateWindowInteger: ProcessClass("IntegrateWindowInteger", _UNIT, _FREE | {"bits"}),
    IntegrateRadix: ProcessClass("IntegrateRadix", _UNIT, _FREE),
    Accumulate: ProcessClass("Accumulate", frozenset(("bias",))),
    AccumulateRadix: ProcessClass("AccumulateRadix", frozenset(("bias",))),
    MaxPoolCount: ProcessClass("MaxPoolCount", frozenset(), _POOL),
    MaxPoolRadix: ProcessClass("MaxPoolRadix", frozenset(), _POOL),
}
"""Ops with state and what stands for them; all others are refused."""
