"""Lava with its own neuron process (ATRLIF) wherever that is exact, ours elsewhere."""

from functools import partial

from spikec.backends.backend import Backend
from spikec.backends.lava import unavailable
from spikec.backends.lava.emit import emit
from spikec.backends.lava.legalise import describe
from spikec.backends.lava.simulate import simulate

BACKEND = Backend(
    doc="Lava with its stock neuron (ATRLIF) where that is proven exact",
    emit=partial(emit, neuron="stock"),
    simulate=partial(simulate, neuron="stock"),
    describe=partial(describe, neuron="stock"),
    legalise=("compose",),
    stages=("int",),
    unavailable=unavailable,
)
