"""A network input."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from spikec.ir.op import Op, ParamSpec


@dataclass(frozen=True, slots=True)
class Input(Op):
    """A value given from outside, constant over time.

    At stage int the real input x enters as the unsigned integer `round((x - offset) / scale)`.
    With `levels` it stands for the nearest of these values before that, too: the model quantises
    its input itself.
    """

    levels: Annotated["int | None", "largest unsigned integer that the model rounds x to"] = None

    timed: ClassVar[bool] = False
    """Whether each step has a value of its own."""
    arity = 0
    params = {
        "scale": ParamSpec("real value of one input unit, per channel", "unit", required=False),
        "offset": ParamSpec("real value of the integer 0, per channel", "unit", required=False),
    }
