"""The currents of one layer, computed from the spikes before it as far as memory allows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from spikec.ir import GraphBuilder, Node
from spikec.ir.analysis import Cone, run_cone
from spikec.ir.neuron import step_weights
from spikec.ir.op import Params
from spikec.ir.types import Array

_BLOCK_BYTES = 1 << 27
"""Largest value that is computed at once."""
_HELD_BYTES = 1 << 29
"""Currents up to this size are kept instead of computed again."""


class Currents(Protocol):
    """A layer's input current without bias, for all steps and calibration samples."""

    def blocks(self) -> Iterator[tuple[slice, Array]]:
        """Samples and their currents (steps or 1, samples, *shape), block by block."""

    def mean(self) -> Array:
        """The mean over the steps (samples, *shape)."""

    def part(self, samples: slice) -> Currents:
        """The currents of some samples, in memory if they are small enough."""


def mean_over_steps(values: Array, radix: bool) -> Array:
    """The mean of (steps or 1, samples, *shape), each step by its weight (samples, *shape)."""
    if len(values) == 1:
        return np.asarray(values[0], np.float32)
    weights = step_weights(len(values), radix=radix)
    shares = (weights / weights.sum()).astype(np.float32)
    mean = np.empty(values.shape[1:], np.float32)
    for sample in range(len(mean)):  # one at a time, since floats take four times the room
        spikes = values[:, sample].astype(np.float32)
        np.einsum("t,t...->...", shares, spikes, out=mean[sample, ...])
    return mean


def joined(blocks: Iterable[tuple[slice, Array]], samples: int) -> Array:
    """Blocks of samples (steps, samples, *shape) as one array; never all of them twice."""
    whole: Array | None = None
    for part, block in blocks:
        if whole is None:
            if block.shape[1] == samples:
                return block
            whole = np.empty((len(block), samples, *block.shape[2:]), block.dtype)
        whole[:, part] = block
    assert whole is not None
    return whole


@dataclass(frozen=True, slots=True)
class Held:
    """Currents in memory (steps or 1, samples, *shape); `radix`: of binary digits."""

    array: Array
    radix: bool = False

    def blocks(self) -> Iterator[tuple[slice, Array]]:
        """All of them at once."""
        yield slice(0, self.array.shape[1]), self.array

    def mean(self) -> Array:
        """The mean over the steps (samples, *shape)."""
        return mean_over_steps(self.array, self.radix)

    def part(self, samples: slice) -> Held:
        """The currents of some samples."""
        return Held(self.array[:, samples], self.radix)


@dataclass(frozen=True, slots=True)
class StoredCone:
    """The linear nodes between stored spikes (or inputs) and a value, to be run on demand.

    Attributes:
        output: The node whose value it is.
        nodes: The linear nodes, in topological order.
        params: The arrays of each of them, by role.
        stored: Spikes and inputs that they start from (steps or 1, samples, *shape).
        radix: Whether the spikes are binary digits.
    """

    output: Node
    nodes: tuple[Node, ...]
    params: Mapping[str, Params]
    stored: Mapping[str, Array]
    radix: bool = False

    @staticmethod
    def of(
        builder: GraphBuilder,
        output: str,
        cone: Cone,
        stored: Mapping[str, Array],
        radix: bool = False,
    ) -> StoredCone:
        """The cone of a value over what is stored, with the params that it has now."""
        return StoredCone(
            builder[output],
            cone.nodes,
            {node.name: builder.arrays(builder[node.name]) for node in cone.nodes},
            {source.name: stored[source.name] for source in cone.sources},
            radix,
        )

    @property
    def samples(self) -> int:
        """Number of samples."""
        return next(iter(self.stored.values())).shape[1]

    @property
    def _steps(self) -> int:
        return max(map(len, self.stored.values()))

    def blocks(self) -> Iterator[tuple[slice, Array]]:
        """Currents of as many samples at a time as memory allows."""
        sizes = [node.type.size for node in self.nodes] or [1]
        block = max(1, _BLOCK_BYTES // (4 * self._steps * max(sizes)))
        for start in range(0, self.samples, block):
            samples = slice(start, min(start + block, self.samples))
            yield samples, self._run({name: x[:, samples] for name, x in self.stored.items()})

    def mean(self) -> Array:
        """The mean over the steps (samples, *shape): the cone of the mean spikes."""
        rates = {n: mean_over_steps(x, self.radix)[None] for n, x in self.stored.items()}
        means = replace(self, stored=rates)
        return np.concatenate([block[0] for _, block in means.blocks()])

    def part(self, samples: slice) -> Currents:
        """The currents of some samples, in memory if they are small enough."""
        return replace(self, stored={name: x[:, samples] for name, x in self.stored.items()}).held()

    def with_weights(self, synapse: str, weights: Array) -> StoredCone:
        """The cone with other weights in one synapse."""
        changed = {**self.params[synapse], "w": weights}
        return replace(self, params={**self.params, synapse: changed})

    def held(self) -> Currents:
        """The currents in memory if they are small enough, else the cone itself."""
        if 4 * self._steps * self.samples * self.output.type.size > _HELD_BYTES:
            return self
        return Held(joined(self.blocks(), self.samples), self.radix)

    def _run(self, stored: Mapping[str, Array]) -> Array:
        values = {name: x.astype(np.float32, copy=False) for name, x in stored.items()}
        values = run_cone(self.nodes, values, lambda node: self.params[node.name])
        return values[self.output.name]
