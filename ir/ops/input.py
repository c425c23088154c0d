"""A network input."""

from spikec.ir.op import Op, ParamSpec


class Input(Op):
    """A value given from outside, constant over time.

    At stage int the real input x enters as the unsigned integer `round(x / scale) + zero`.
    """

    arity = 0
    result = "any"
    params = {
        "scale": ParamSpec("real value of one input unit, per channel", False, units_only=True),
        "zero": ParamSpec("integer that stands for the real 0, per channel", False),
    }
