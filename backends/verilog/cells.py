"""Neurons as cells of the library: what they hold, and what follows from their rule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikec.backends.lowering.records import (
    Accumulate,
    Integers,
    Integrate,
    IntegrateGraded,
    IntegrateInteger,
    IntegrateRadix,
    IntegrateSigned,
    IntegrateWindow,
    Layer,
    Rule,
    Store,
)
from spikec.backends.verilog.streams import Stream, per_element, width

RULES = ("integrate", "signed", "powers", "integer", "radix", "accumulate", "current")
"""Rules as the library's `neurons` numbers them."""


@dataclass(frozen=True, slots=True)
class Constants:
    """What each neuron of a layer holds; arrays are (channels,) or (elements,).

    Attributes:
        bias: Added in each step.
        start: The first potential.
        theta: The threshold.
        level: What else a rule compares with.
    """

    bias: Integers
    start: Integers
    theta: Integers
    level: Integers

    @property
    def fields(self) -> tuple[Integers, Integers, Integers, Integers]:
        """All of them, the lowest first."""
        return self.bias, self.start, self.theta, self.level

    @property
    def bits(self) -> tuple[int, ...]:
        """Bits of each field."""
        return tuple(width(int(f.min(initial=0)), int(f.max(initial=0))) for f in self.fields)

    @property
    def same(self) -> bool:
        """Whether all neurons hold the same."""
        return all((f == f[0]).all() for f in self.fields)

    def words(self, units: int) -> list[int]:
        """Words of the memory, those of `units` neurons in each."""
        count = max(len(f) for f in self.fields)
        channels = min(len(f) for f in self.fields)
        spread = [np.tile(f, count // len(f)).tolist() for f in self.fields]
        assert count % channels == 0
        neurons = []
        for values in zip(*spread, strict=True):
            word = 0
            for value, bits in zip(reversed(values), reversed(self.bits), strict=True):
                word = word << bits | (value & ((1 << bits) - 1))
            neurons.append(word)
        total, words = sum(self.bits), []
        for start in range(0, count, units):
            word = 0
            for neuron in reversed(neurons[start : start + units]):
                word = word << total | neuron
            words.append(word)
        return words


@dataclass(frozen=True, slots=True)
class Cell:
    """The parameters of `neurons` that follow from a rule.

    Attributes:
        rule: Its name in the library.
        free: Spikes of both signs in any order.
        levels: Of payloads 1, 2, 4, ...
        low: Smallest integer payload.
        high: Largest.
        shift: Most bits by which a threshold is shifted.
    """

    rule: str
    free: bool = False
    levels: int = 1
    low: int = 0
    high: int = 1
    shift: int = 0


def cell_of(rule: Rule, out: Stream) -> Cell:
    """The library's neuron for a rule."""
    match rule:
        case Integrate():
            return Cell("integrate")
        case IntegrateSigned(free=free):
            return Cell("signed", free)
        case IntegrateWindow(free=free):
            return Cell("signed" if free else "integrate", free)
        case IntegrateGraded(free=free, levels=levels):
            return Cell("powers", free, levels, high=1 << (levels - 1), shift=levels)
        case IntegrateInteger(free=free, low=low, high=high):
            return Cell("integer", free, low=low, high=high, shift=out.bits)
        case IntegrateRadix(free=free):
            return Cell("radix", free, shift=out.steps)
        case Accumulate():
            return Cell("accumulate")
        case Store():
            return Cell("current")


def constants_of(stage: Layer) -> Constants:
    """What the neurons of a layer hold."""
    rule, shape, nothing = stage.rule, stage.result.shape, np.zeros(1, np.int64)

    def given(role: str) -> Integers:
        array = getattr(rule, role, None)
        return nothing if array is None else per_element(array, shape)

    level = given("fire") if isinstance(rule, IntegrateGraded) else given("theta_neg")
    return Constants(per_element(stage.bias, shape), given("v0"), given("theta"), level)
