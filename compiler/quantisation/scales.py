"""Scales of integer values: which currents must share one, and what each becomes.

A value v of the integer graph stands for the real number `v * scale`. Spikes and inputs have a
known scale. A synapse may choose its own for each output channel; currents that meet in a neuron
must agree there, up to a weight exponent: a synapse's sum counts `2^exponent` units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikec.ir import spread

Array = NDArray[Any]
NOTHING = -1
"""In place of a variable: the value is always 0 there."""
_FINE = 64
"""Units that the smallest threshold should have, so that rounding it costs less than 1 %."""
_TOLERATED = 2.0
"""How much coarser than its own best step a synapse's may be before it gets an exponent."""
_PROOF = 1.5
"""How much coarser than wanted a scale may be for the sake of a proof over all inputs."""
MOST_EXPONENT = 20


@dataclass(frozen=True, slots=True)
class Fixed:
    """A known scale: of spikes and inputs; (), (channels,) or per element."""

    scale: Array


@dataclass(frozen=True, slots=True)
class Current:
    """A scale still to be chosen: `q[variable] * gain`.

    Attributes:
        variable: Which variable each element has: (channels,) where it is one per channel, else
            one per element; NOTHING where the value is always 0.
        gain: (), (channels,) or per element, above 0.
    """

    variable: Array
    gain: Array

    def spread(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Variables and gains as arrays of one shape: (channels,), or `shape`."""
        parts = (self.variable, self.gain)
        if any(part.ndim > 1 for part in parts):
            parts = (spread(self.variable, shape), spread(self.gain, shape))
            variable, gain = (np.broadcast_to(part, shape) for part in parts)
            return variable, gain
        variable, gain = np.broadcast_arrays(*parts)
        return variable, gain


Scale = Fixed | Current


@dataclass(frozen=True, slots=True)
class Choice:
    """What the scale variables became.

    Attributes:
        scale: Real value of one unit of current, for each variable.
        exponent: How far a synapse's sums are shifted, for each variable.
        unproven: Whether scales that provably fit all inputs would be too coarse.
    """

    scale: Array
    exponent: Array
    unproven: bool


class Conflict(Exception):
    """Currents that meet stand in two ratios to each other at once."""


@dataclass(slots=True)
class Scales:
    """The scale variables, one for each output channel of each synapse.

    Variables are joined by `unify`; joined ones keep a known ratio.

    Attributes:
        step: For each variable, the scale at which the largest weight of its channel just fits.
        power: For each variable, the root of the sum of squares of what its weights are
            multiplied by: rounding each weight by one step adds so much noise.
        proven: For each variable, the scale below which some input may overflow a potential.
        seen: The same over inputs that were seen.
        smallest: For each variable, the smallest threshold that is measured in it.
    """

    step: list[float] = field(default_factory=list)
    power: list[float] = field(default_factory=list)
    proven: list[float] = field(default_factory=list)
    seen: list[float] = field(default_factory=list)
    smallest: list[float] = field(default_factory=list)
    _parent: list[int] = field(default_factory=list)
    _ratio: list[float] = field(default_factory=list)
    """Scale of a variable over that of its parent."""

    def add(self, step: Array, power: float) -> Current:
        """New variables, one per output channel, for the steps and the power of their weights."""
        first = len(self.step)
        count = len(step)
        self.step += [float(value) for value in step]
        self.power += [power] * count
        self.proven += [0.0] * count
        self.seen += [0.0] * count
        self.smallest += [np.inf] * count
        self._parent += range(first, first + count)
        self._ratio += [1.0] * count
        return Current(np.arange(first, first + count), np.ones(()))

    def root(self, variable: int) -> tuple[int, float]:
        """The variable that stands for those joined with this one, and this one's ratio to it."""
        path = []
        while self._parent[variable] != variable:
            path.append(variable)
            variable = self._parent[variable]
        ratio = 1.0
        for member in reversed(path):
            ratio *= self._ratio[member]
            self._parent[member], self._ratio[member] = variable, ratio
        return variable, ratio

    def unify(self, left: Array, right: Array, gain: Array) -> None:
        """Make `q[left] * gain == q[right]` hold, element by element.

        Raises:
            Conflict: where the two have another ratio already.
        """
        both = (left >= 0) & (right >= 0)
        gain = np.broadcast_to(gain, left.shape)[both]
        pairs = np.stack([left[both], right[both]])
        for a, b, factor in np.unique(np.stack([*pairs.astype(np.float64), gain]), axis=1).T:
            self._join(int(a), int(b), float(factor))

    def _join(self, left: int, right: int, gain: float) -> None:
        """`q[left] * gain == q[right]`."""
        (a, ratio_a), (b, ratio_b) = self.root(left), self.root(right)
        ratio = ratio_a * gain / ratio_b  # q[b] over q[a]
        if a == b:
            if not np.isclose(ratio, 1.0, rtol=1e-6):
                raise Conflict
            return
        self._parent[b], self._ratio[b] = a, ratio

    def require(self, value: Current, shape: tuple[int, ...], limits: Mapping[str, Array]) -> None:
        """Note what a membrane needs of its current's scale.

        Args:
            value: The current.
            shape: Of the layer.
            limits: Under `proven` and `seen` the finest real value of a unit, under `smallest`
                the thresholds; (), (channels,) or per neuron.
        """
        variable, gain = value.spread(shape)
        for name, limit in limits.items():
            bound: list[float] = getattr(self, name)
            keep, worst = (min, np.minimum) if name == "smallest" else (max, np.maximum)
            full = np.broadcast_to(spread(limit, shape) / spread(gain, shape), shape)
            index = np.broadcast_to(spread(variable, shape), shape).ravel()
            used, place = np.unique(index, return_inverse=True)
            found = np.full(len(used), np.inf if name == "smallest" else 0.0)
            worst.at(found, place.ravel(), full.ravel())
            for which, wanted in zip(used.tolist(), found.tolist(), strict=True):
                if which >= 0:
                    bound[which] = keep(bound[which], wanted)

    def choose(self, *, checked: bool = False) -> Choice:
        """The scale of each variable, and its weight exponent.

        Weights are as fine as their channel's largest allows. Where
        synapses that meet differ, the scale is as fine as the finest of them needs and the sums of
        the others are shifted, as far as potentials fit. With `checked`, potentials need fit as
        far as they were seen only, where a proof over all inputs would cost too much.
        """
        roots, ratios = self._roots()
        count = len(roots)
        power = np.asarray(self.power)
        own = np.asarray(self.step) / ratios

        def over_group(values: Array, worst: Any, start: float) -> Array:
            total = np.full(count, start)
            worst.at(total, roots, values)
            return total

        coarsest = over_group(own, np.maximum, 0.0)
        noise = over_group(own * power, np.maximum, 0.0)
        # A synapse need not be finer than what rounding the noisiest one costs anyway.
        enough = np.maximum(own, 0.5 * noise[roots] / power)
        wanted = over_group(np.where(own > 0, enough, np.inf), np.minimum, np.inf)
        wanted = np.where(coarsest <= _TOLERATED * wanted, coarsest, wanted)
        smallest = over_group(np.asarray(self.smallest) / ratios, np.minimum, np.inf)
        # Finer by whole bits, so that a synapse by itself keeps all levels of its weights.
        bits = np.ceil(np.log2(np.maximum(wanted * _FINE / smallest, 1.0)))
        wanted = np.where(np.isfinite(wanted), wanted / 2.0**bits, wanted)
        silent = ~np.isfinite(wanted) | (wanted <= 0)
        wanted = np.where(silent, wanted[~silent].mean() if (~silent).any() else 1.0, wanted)
        limit = over_group(np.asarray(self.proven) / ratios, np.maximum, 0.0)
        costly = limit > _PROOF * wanted
        if checked:
            seen = over_group(np.asarray(self.seen) / ratios, np.maximum, 0.0)
            limit = np.where(costly, np.minimum(limit, seen), limit)
        scale = np.maximum(wanted, limit)
        steps = np.where(own > 0, own / scale[roots], 1.0)
        exponent = np.ceil(np.log2(np.maximum(steps, 1.0)) - 1e-9).clip(0, MOST_EXPONENT)
        beyond = over_group(steps / 2.0**exponent, np.maximum, 1.0)
        exact = (scale * beyond)[roots] * ratios
        return Choice(exact, exponent.astype(np.int64), bool(costly[roots].any()))

    def _roots(self) -> tuple[Array, Array]:
        """For each variable the one that stands for its group, and its ratio to that."""
        count = len(self.step)
        roots, ratios = np.empty(count, np.int64), np.empty(count)
        for variable in range(count):
            roots[variable], ratios[variable] = self.root(variable)
        return roots, ratios
