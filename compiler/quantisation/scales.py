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


Scale = Fixed | Current


class Conflict(Exception):
    """Currents that meet stand in two ratios to each other at once."""


@dataclass(slots=True)
class Scales:
    """The scale variables, one for each output channel of each synapse.

    Variables are joined by `unify`; joined ones keep a known ratio.

    Attributes:
        largest: For each variable, the largest absolute real weight of its channel.
        power: For each variable, the root of the sum of squares of what its weights are
            multiplied by: rounding each weight by one step adds so much noise.
        finest: For each variable, the scale below which some potential may overflow.
        proven: The same over all inputs instead of those that were seen.
        smallest: For each variable, the smallest threshold that is measured in it.
    """

    largest: list[float] = field(default_factory=list)
    power: list[float] = field(default_factory=list)
    finest: list[float] = field(default_factory=list)
    proven: list[float] = field(default_factory=list)
    smallest: list[float] = field(default_factory=list)
    _parent: list[int] = field(default_factory=list)
    _ratio: list[float] = field(default_factory=list)
    """Scale of a variable over that of its parent."""

    def add(self, largest: Array, power: float) -> Current:
        """New variables, for the largest absolute weight and the power of each output channel."""
        first = len(self.largest)
        count = len(largest)
        self.largest += [float(value) for value in largest]
        self.power += [power] * count
        self.finest += [0.0] * count
        self.proven += [0.0] * count
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

    def require(self, value: Current, limits: Mapping[str, Array]) -> None:
        """Note what a membrane needs of its current's scale, for each channel or element.

        Args:
            value: The current.
            limits: Name of a list of this class to what a unit of the current must keep.
        """
        for name, limit in limits.items():
            bound = getattr(self, name)
            keep = min if name == "smallest" else max
            variable, gain, limit = np.broadcast_arrays(value.variable, value.gain, limit)
            for index, factor, wanted in zip(
                variable.ravel().tolist(), gain.ravel().tolist(), limit.ravel().tolist(),
                strict=True,
            ):
                if index >= 0:
                    bound[index] = keep(bound[index], wanted / factor)

    def choose(self, levels: int) -> tuple[Array, Array]:
        """The scale of each variable, and its weight exponent.

        Weights of `levels` units at most are as fine as their channel's largest allows. Where
        synapses that meet differ, the scale is as fine as the finest of them needs and the sums of
        the others are shifted, as far as potentials fit.
        """
        count = len(self.largest)
        roots, ratios = np.empty(count, int), np.empty(count)
        for variable in range(count):
            roots[variable], ratios[variable] = self.root(variable)
        own = np.asarray(self.largest) / levels / ratios
        coarsest, noise = np.zeros(count), np.zeros(count)
        np.maximum.at(coarsest, roots, own)
        np.maximum.at(noise, roots, own * self.power)
        # A synapse need not be finer than what rounding the noisiest one costs anyway.
        enough = np.maximum(own, 0.5 * noise[roots] / np.asarray(self.power))
        wanted, alive = np.full(count, np.inf), own > 0
        np.minimum.at(wanted, roots[alive], enough[alive])
        wanted = np.where(coarsest <= _TOLERATED * wanted, coarsest, wanted)
        seen, proven, small = np.zeros(count), np.zeros(count), np.full(count, np.inf)
        np.maximum.at(seen, roots, np.asarray(self.finest) / ratios)
        np.maximum.at(proven, roots, np.asarray(self.proven) / ratios)
        np.minimum.at(small, roots, np.asarray(self.smallest) / ratios)
        wanted = np.minimum(wanted, small / _FINE)
        silent = ~np.isfinite(wanted) | (wanted <= 0)
        usual = wanted[~silent].mean() if (~silent).any() else 1.0
        wanted = np.where(silent, usual, wanted)
        limit = np.where(proven <= _PROOF * wanted, proven, np.minimum(seen, proven))
        scale = np.maximum(wanted, limit)
        each = scale[roots]
        steps = np.where(alive, own / each, 1.0)
        exponent = np.ceil(np.log2(np.maximum(steps, 1.0)) - 1e-9).clip(0, MOST_EXPONENT)
        short = np.zeros(count)
        np.maximum.at(short, roots, steps / 2.0**exponent)  # beyond the largest exponent
        scale = scale * np.maximum(short, 1.0)
        return scale[roots] * ratios, exponent.astype(np.int64)
