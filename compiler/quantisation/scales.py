"""Scales of integer values: which currents must share one, and what each becomes.

A value v of the integer graph stands for the real number `v * scale`. Spikes and inputs have a
known scale. A synapse may choose its own for each output channel; currents that meet in a neuron
must agree there, up to a weight exponent: a synapse's sum counts `2^exponent` units.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from spikec.ir import spread
from spikec.ir.types import Array

NOTHING = -1
"""In place of a variable: the value is always 0 there."""
_FINE = 64
"""Units that the smallest threshold should have, so that rounding it costs less than 1 %."""
_READOUT = 16
"""How much finer than that the largest weight of a readout should be where its bias, a whole number
of units, would else be the largest error: behind exact layers, and where each output has one weight
alone, as a quantised output has, for it may vary by a small part of its range."""
_TOLERATED = 1.5
"""How much noisier the rounding of weights may be for the sake of doing without exponents."""
_PROOF = 1.5
"""How much coarser than wanted a scale may be for the sake of a proof over all inputs."""
MOST_EXPONENT = 20
_SILENT = 0.25
"""Share of the noise of the noisiest synapse that no other one needs to fall below."""
_PHASES = 4
"""Members of a group whose steps are tried."""
_GRID = 1e-4
"""How far from a whole number of steps a weight on a grid may lie: rounding of float32."""
_PROBED = 32
"""Weights of a row that are looked at first."""


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
        unproven: For each variable, whether a scale that provably fits all inputs is too coarse.
    """

    scale: Array
    exponent: Array
    unproven: Array


class Conflict(Exception):
    """Currents that meet stand in two ratios to each other at once."""


@dataclass(slots=True)
class Scales:
    """The scale variables, one for each output channel of each synapse.

    Variables are joined by `unify`; joined ones keep a known ratio.

    Attributes:
        largest: For each variable, the largest absolute real weight of its channel.
        step: For each variable, the scale at which that weight just fits.
        grid: For each variable, the step that all its weights are multiples of, or 0.
        fan: For each variable, how many weights meet in its channel.
        power: For each variable, the root of the sum of squares of what its weights are
            multiplied by: rounding each weight by one step adds so much noise.
        proven: For each variable, the scale below which some input may overflow a potential.
        seen: The same over inputs that were seen.
        smallest: For each variable, the smallest threshold that is measured in it.
    """

    largest: list[float] = field(default_factory=list)
    step: list[float] = field(default_factory=list)
    grid: list[float] = field(default_factory=list)
    fan: list[int] = field(default_factory=list)
    power: list[float] = field(default_factory=list)
    proven: list[float] = field(default_factory=list)
    seen: list[float] = field(default_factory=list)
    smallest: list[float] = field(default_factory=list)
    _parent: list[int] = field(default_factory=list)
    _ratio: list[float] = field(default_factory=list)
    """Scale of a variable over that of its parent."""

    def add(self, rows: Array, levels: int, largest_input: float) -> Current:
        """New variables for a synapse, one per output channel.

        Args:
            rows: The real weights of each output channel (channels, weights).
            levels: The largest integer weight.
            largest_input: The largest integer that reaches a weight.
        """
        first, count = len(self.step), len(rows)
        largest = np.abs(rows).max(axis=1, initial=0.0)
        self.largest += largest.tolist()
        self.step += (largest / levels).tolist()
        self.grid += grid_of(rows, levels).tolist()
        self.fan += [rows.shape[1]] * count
        self.power += [largest_input * float(np.sqrt(rows.shape[1]))] * count
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
        for a, b, factor in _pairs(left, right, gain):
            self._join(a, b, factor)

    def agree(self, left: Array, right: Array, gain: Array) -> bool:
        """Whether `unify` would succeed; nothing is joined."""
        trial = replace(self, _parent=list(self._parent), _ratio=list(self._ratio))
        try:
            trial.unify(left, right, gain)
        except Conflict:
            return False
        return True

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
            worst_of = np.full(len(used), np.inf if name == "smallest" else 0.0)
            worst.at(worst_of, place.ravel(), full.ravel())
            for which, wanted in zip(used.tolist(), worst_of.tolist(), strict=True):
                if which >= 0:
                    bound[which] = keep(bound[which], wanted)

    def resolve(self, value: Current, *, exact: bool = False) -> None:
        """Let units be small beside the largest weight, as a bias is a whole number of them.

        Args:
            value: A readout's current.
            exact: Whether all layers before it compute quantisers without an error of timing.
        """
        used = np.unique(value.variable[value.variable >= 0]).tolist()
        which = max(used, key=lambda variable: self.largest[variable], default=NOTHING)
        if which >= 0 and self.largest[which] > 0:
            share = _READOUT if exact or self.fan[which] == 1 else 1
            self.smallest[which] = min(self.smallest[which], self.largest[which] / share)

    def choose(self, *, checked: bool = False) -> Choice:
        """The scale of each variable, and its weight exponent.

        Weights are as fine as their channel's largest allows. Where synapses that meet differ, the
        scale is as fine as the finest of them needs and the sums of the others are shifted, as far
        as potentials fit. With `checked`, potentials need fit as far as they were seen only, where
        a proof over all inputs would cost too much.
        """
        groups = _Groups(
            *self.roots(), np.asarray(self.step), np.asarray(self.grid), np.asarray(self.power)
        )
        wanted = groups.wanted()
        smallest = groups.over(np.asarray(self.smallest) / groups.ratios, np.minimum, np.inf)
        limit = groups.over(np.asarray(self.proven) / groups.ratios, np.maximum, 0.0)
        # Finer by whole bits, so that weights on a grid stay there.
        finest = wanted / 2.0 ** np.ceil(np.log2(np.maximum(wanted * _FINE / smallest, 1.0)))
        costly = _fitting(wanted, finest, limit) > _PROOF * finest
        if checked:
            seen = groups.over(np.asarray(self.seen) / groups.ratios, np.maximum, 0.0)
            costly &= _PROOF * seen < limit
            limit = np.where(costly, seen, limit)
        scale = _fitting(wanted, finest, limit)
        exponent = groups.exponents(scale).clip(0, MOST_EXPONENT)
        steps = np.where(groups.own > 0, groups.own / scale[groups.roots], 1.0)
        beyond = groups.over(steps / 2.0**exponent, np.maximum, 1.0)
        exact = (scale * beyond)[groups.roots] * groups.ratios
        return Choice(exact, exponent.astype(np.int64), costly[groups.roots])

    def roots(self) -> tuple[Array, Array]:
        """For each variable the one that stands for its group, and its ratio to that."""
        count = len(self.step)
        roots, ratios = np.empty(count, np.int64), np.empty(count)
        for variable in range(count):
            roots[variable], ratios[variable] = self.root(variable)
        return roots, ratios


def _pairs(left: Array, right: Array, gain: Array) -> Iterator[tuple[int, int, float]]:
    """Each pair of variables with its gain, once."""
    both = (left >= 0) & (right >= 0)
    columns = left[both], right[both], np.broadcast_to(gain, left.shape)[both]
    for a, b, factor in np.unique(np.stack(columns).astype(np.float64), axis=1).T:
        yield int(a), int(b), float(factor)


class _Groups:
    """Variables by groups that share a scale, each group's values under one of its variables.

    Attributes:
        roots: For each variable the one that stands for its group.
        ratios: For each variable its scale over that of its group.
        own: For each variable its step, in the scale of its group.
    """

    def __init__(self, roots: Array, ratios: Array, step: Array, grid: Array, power: Array) -> None:
        self.roots, self.ratios, self.power = roots, ratios, power
        self.own, self.grid = step / ratios, grid / ratios

    def over(self, values: Array, worst: np.ufunc, start: float) -> Array:
        """One value for each group."""
        total = np.full(len(self.roots), start)
        worst.at(total, self.roots, values)
        return total

    def wanted(self) -> Array:
        """The scale that each group should have for the sake of its weights.

        One without exponents is taken unless it makes rounding `_TOLERATED` times as noisy.
        """
        plain, plain_noise = self._best(self.over(self.own, np.maximum, 0.0)[self.roots])
        loudest = self.over(self.own * self.power, np.maximum, 0.0)[self.roots]
        shifted, noise = self._best(np.maximum(self.own, _SILENT * loudest / self.power))
        wanted = np.where(plain_noise <= _TOLERATED * noise + 1e-12, plain, shifted)
        usable = np.isfinite(wanted) & (wanted > 0)
        return np.where(usable, wanted, wanted[usable].mean() if usable.any() else 1.0)

    def _best(self, enough: Array) -> tuple[Array, Array]:
        """For each group the least noisy scale that is fine enough for a member, and its noise."""
        enough = np.where(self.own > 0, enough, np.inf)
        best, least = np.full(len(self.roots), np.inf), np.full(len(self.roots), np.inf)
        for phase in self._phases():
            scale = self.over(_octave(enough, phase[self.roots]), np.minimum, np.inf)
            noise = self._noise(scale)
            best = np.where(noise < least, scale, best)
            least = np.minimum(least, noise)
        return best, least

    def _phases(self) -> Iterator[Array]:
        """Steps of the noisiest members of each group: a scale is one of them by whole bits."""
        noise = self.own * self.power
        order = np.lexsort((-noise, self.roots))
        roots = self.roots[order]
        rank = np.arange(len(order)) - np.searchsorted(roots, roots)
        step = np.where((self.grid > 0) & ~self._exact(self.own), self.grid, self.own)[order]
        phase = np.zeros(len(order))
        for place in range(_PHASES):
            chosen = (rank == place) & (step > 0)
            phase[roots[chosen]] = step[chosen]
            yield phase

    def exponents(self, scale: Array) -> Array:
        """How far each synapse's sums are shifted, so that its weights fit."""
        steps = self.own / scale[self.roots]
        return np.ceil(np.log2(np.maximum(steps, 1.0)) - 1e-9)

    def _noise(self, scale: Array) -> Array:
        """What rounding the weights costs each group: nothing where they stay on their grid."""
        usable = np.where(np.isfinite(scale) & (scale > 0), scale, 1.0)
        step = usable[self.roots] * 2.0 ** self.exponents(usable)
        lost = np.where(self._exact(step) | (self.own <= 0), 0.0, self.power * step)
        return np.sqrt(self.over(lost**2, np.add, 0.0))

    def _exact(self, step: Array) -> Array:
        """Whether weights that lie on a grid are whole multiples of a step."""
        whole = self.grid / np.where(step > 0, step, 1.0)
        return np.asarray((whole > 0.5) & (np.abs(whole - np.rint(whole)) < 1e-6 * whole))


def _octave(enough: Array, phase: Array) -> Array:
    """The smallest `phase 2^k` that is not below `enough`."""
    usable = (phase > 0) & np.isfinite(enough) & (enough > 0)
    ratio = np.where(usable, enough, 1.0) / np.where(usable, phase, 1.0)
    return np.where(usable, phase * 2.0 ** np.ceil(np.log2(ratio) - 1e-9), np.inf)


def _fitting(wanted: Array, finest: Array, limit: Array) -> Array:
    """The finest scales above `limit` that are `wanted` divided by a power of 2, at most `finest`.

    Where `limit` itself is above `wanted`, it is taken.
    """
    room = np.floor(np.log2(wanted / np.maximum(limit, 1e-300)))
    most = np.rint(np.log2(wanted / finest))
    return np.maximum(wanted / 2.0 ** np.clip(room, 0, most), limit)


def grid_of(rows: Array, levels: int) -> Array:
    """The coarsest step of at most `levels` that all weights of a row are multiples of, or 0.

    Args:
        rows: Weights (channels, weights).
        levels: The largest multiple.
    """
    largest = np.abs(rows).max(axis=1, initial=0.0)
    grid = np.zeros(len(rows))
    few = rows[:, :: max(1, rows.shape[1] // _PROBED)]  # enough to rule out nearly all
    for multiple in range(1, levels + 1):
        left = np.flatnonzero((grid == 0) & (largest > 0))
        left = left[_on_grid(few[left], largest[left] / multiple)]
        left = left[_on_grid(rows[left], largest[left] / multiple)]
        grid[left] = largest[left] / multiple
    return grid


def _on_grid(rows: Array, step: Array) -> Array:
    whole = rows / step[:, None]
    return np.asarray((np.abs(whole - np.rint(whole)) < _GRID).all(axis=1))
