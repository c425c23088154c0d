"""A network input."""

from dataclasses import dataclass

from spikec.ir.op import Op, ParamSpec


@dataclass(frozen=True, slots=True)
class Input(Op):
    """A value given from outside, constant over time.

    At stage int the real input x enters as the unsigned integer `round((x - offset) / scale)`.
    """

    arity = 0
    params = {
        "scale": ParamSpec("real value of one input unit, per channel", False, units_only=True),
        "offset": ParamSpec("real value of the integer 0, per channel", False, units_only=True),
    }
