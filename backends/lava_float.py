"""Lava's floating-point process models: the same integers, held in doubles."""

from functools import partial

from spikec.backends.backend import Backend
from spikec.backends.lava import unavailable
from spikec.backends.lava.simulate import simulate

BACKEND = Backend(
    doc="Lava with its floating-point process models, exact for integers as well",
    simulate=partial(simulate, tag="floating_pt"),
    stages=("int",),
    unavailable=unavailable,
)
