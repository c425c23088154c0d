"""A network input with a value of its own for each time step."""

from dataclasses import dataclass

from spikec.ir.ops.input import Input


@dataclass(frozen=True, slots=True)
class Frames(Input):
    """A value given from outside, another one in each step: step t takes frame t.

    Its data have a time axis after that of the samples. An ANN has no time: there it is the mean
    over the frames. Otherwise as `input`.
    """

    timed = True
