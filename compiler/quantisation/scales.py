"""Scales of integer values: which synapses must share one, and what each becomes.

A value v of the integer graph stands for the real number `v * scale`. A synapse may choose its
scale per output channel; synapses whose currents meet in an add must agree there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Fixed:
    """A known scale: of spikes and inputs; (), (channels,) or per element."""

    scale: Array


@dataclass(frozen=True, slots=True)
class Chosen:
    """A scale still to be chosen: that of a synapse times a factor, () or (channels,)."""

    synapse: str
    factor: Array


Scale = Fixed | Chosen


@dataclass(slots=True)
class _Member:
    largest: Array
    """Largest absolute real weight per output channel (channels,)."""
    ratio: Array
    """The synapse's scale over that of its group."""
    group: int


@dataclass(slots=True)
class ScaleGroups:
    """Synapses that share a scale, up to known ratios."""

    members: dict[str, _Member] = field(default_factory=dict)
    uniform: set[int] = field(default_factory=set)
    floors: dict[int, Array] = field(default_factory=dict)

    def add(self, synapse: str, largest: Array) -> Chosen:
        """A new synapse with the largest absolute weight of each output channel."""
        self.members[synapse] = _Member(largest, np.ones(()), len(self.members))
        return Chosen(synapse, np.ones(()))

    def same(self, left: Chosen, right: Chosen) -> None:
        """Make two values have one scale."""
        a, b = self.members[left.synapse], self.members[right.synapse]
        if a.group == b.group:
            return
        old, gain = b.group, (a.ratio * left.factor) / (b.ratio * right.factor)
        for member in self.members.values():
            if member.group == old:
                member.ratio, member.group = member.ratio * gain, a.group
        if old in self.floors:
            moved = self.floors.pop(old) / gain
            self.floors[a.group] = np.maximum(self.floors.get(a.group, 0.0), moved)
        if old in self.uniform:
            self.uniform.add(a.group)

    def make_uniform(self, value: Chosen) -> None:
        """Let all channels of a value's group share one scale."""
        self.uniform.add(self.members[value.synapse].group)

    def at_least(self, value: Chosen, smallest: Array) -> None:
        """Keep the scale of a value from falling below `smallest`, () or (channels,)."""
        member = self.members[value.synapse]
        need = smallest / (member.ratio * value.factor)
        held = self.floors.get(member.group, np.zeros(()))
        channels = need.shape == () or need.shape == member.largest.shape
        self.floors[member.group] = np.maximum(held, need if channels else need.max())

    def choose(self, levels: Mapping[str, int]) -> dict[str, Array]:
        """The scale of each synapse (channels,): its largest weight becomes at most its levels."""
        shared: dict[int, Array] = {}
        for name, member in self.members.items():
            need = member.largest / member.ratio / levels[name]
            shared[member.group] = np.maximum(shared.get(member.group, 0.0), need)
        for group, scale in shared.items():
            scale = np.maximum(scale, self.floors.get(group, 0.0))
            if group in self.uniform:
                scale = np.full_like(scale, scale.max())
            fallback = scale[scale > 0].mean() if (scale > 0).any() else 1.0
            shared[group] = np.where(scale > 0, scale, fallback)
        return {name: shared[m.group] * m.ratio for name, m in self.members.items()}
