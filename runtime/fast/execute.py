"""Executes the steps of a plan on one slice of samples."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import DTypeLike

from spikec.ir.op import steps_of
from spikec.ir.ops.max_pool_count import MaxPoolCount
from spikec.ir.types import Array
from spikec.runtime.fast import pools, simple
from spikec.runtime.fast.counts import Narrow, counting
from spikec.runtime.fast.layer import run_layer
from spikec.runtime.fast.matrix import words_slack
from spikec.runtime.fast.neurons import UNIT
from spikec.runtime.fast.steps import Fire, Plan, Pool, Simple, Step, View
from spikec.runtime.fast.tiles import QUAD, WIDE
from spikec.runtime.fast.vector import LANES
from spikec.runtime.fast.words import (
    Coding,
    aligned,
    lane_masks,
    memory_order,
    pack,
    unpack,
    words_shape,
)
from spikec.runtime.interpreter import Feeds, LayerTrace, Simulation, unit_events


class Overflow(Exception):
    """A potential left its declared width somewhere in a slice."""


class Arena:
    """Recycles large arrays of one thread, so that their pages stay mapped."""

    def __init__(self) -> None:
        self._free: list[Array] = []
        self._lent: dict[int, Array] = {}

    def words(self, shape: tuple[int, ...], dtype: DTypeLike, coding: Coding | None) -> Array:
        """An uninitialised aligned array for words (block, y, x, group, t, lane)."""
        order = memory_order(coding)
        return self.take(shape, dtype, words_slack(shape[4]), order)

    def take(
        self,
        shape: tuple[int, ...],
        dtype: DTypeLike,
        slack: int = 0,
        order: tuple[int, ...] | None = None,
    ) -> Array:
        """An uninitialised aligned array, `slack` bytes behind it.

        Axes lie in memory in `order`, which swaps some of them.
        """
        order = tuple(range(len(shape))) if order is None else order
        used = math.prod(shape) * np.dtype(dtype).itemsize
        raw = self._spare(used + slack)
        lying = raw[:used].view(dtype).reshape([shape[k] for k in order])
        array: Array = lying.transpose(order)
        self._lent[id(array)] = raw
        return array

    def _spare(self, size: int) -> Array:
        """The smallest spare of at least `size` bytes; where none is, a new array for all."""
        fitting = [k for k, raw in enumerate(self._free) if raw.nbytes >= size]
        if fitting:
            return self._free.pop(min(fitting, key=lambda k: self._free[k].nbytes))
        self._free.clear()
        return aligned((size,), np.uint8)

    def give(self, array: Array) -> None:
        """Return an array that came from `take`; others are ignored."""
        raw = self._lent.pop(id(array), None)
        if raw is not None:
            self._free.append(raw)

    def reset(self) -> None:
        """Forget lent arrays, after a failure."""
        self._lent.clear()


@dataclass(slots=True)
class Value:
    """A node's value in one slice: plain (steps or 1, samples, *shape), as words, or both.

    Currents are sums that layers add to their own (block, y, x, channel, t, lane).
    """

    dense: Array | None = None
    words: Array | None = None
    counts: Array | None = None
    units: Array | None = None
    currents: Array | None = None


class Run:
    """One slice of samples on its way through a plan."""

    def __init__(self, plan: Plan, feeds: Feeds, trace: Collection[str], arena: Arena) -> None:
        self.plan, self.trace, self.arena = plan, trace, arena
        self.feeds = feeds
        self.samples = len(next(iter(feeds.values())))
        self.lanes = lane_masks(self.samples)
        self.values: dict[str, Value] = {}
        self.events: dict[str, Array] = {}
        self.result = Simulation(events=Narrow(), units=Narrow())

    def execute(self, events: bool) -> Simulation:
        """Run all steps."""
        for step in self.plan.program:
            self._execute(step)
            name = step.node.name
            if events and name in self.plan.counted:
                self.result.events[name] = self._events(step)
                if step.node.type.dtype.is_graded:
                    self.result.units[name] = self._units(step)
            if name in self.plan.graph.outputs:
                self.result.readout[name] = self._dense(name)
            for old in self.plan.last.get(name, ()):
                self._release(old)
        return self.result

    def _release(self, name: str) -> None:
        value = self.values.pop(name, None)
        for array in (
            () if value is None else (value.words, value.counts, value.units, value.currents)
        ):
            if array is not None:
                self.arena.give(array)

    def _execute(self, step: Step) -> None:
        if isinstance(step, Fire):
            self._fire(step)
        elif isinstance(step, Pool):
            self._pool(step)
        elif isinstance(step, Simple):
            self._simple(step)

    def _fire(self, step: Fire) -> None:
        layer, node = step.layer, step.node
        assert layer is not None
        inputs = [self._words(s.source.name) for s in step.sum.synapses]
        out = self.arena.words(layer.out_shape(self.samples), layer.out_dtype, layer.coding)
        pixels = layer.space[0] * layer.space[1]
        counted = (len(out), pixels, layer.padded, layer.steps)
        counts = self.arena.take(counted, np.uint8)
        units = self.arena.take(counted if layer.fixed.rule != UNIT else (0,), np.uint8)
        sums, potentials = None, None
        if step.keeps:
            sums = self.arena.take(layer.sums_shape(self.samples), layer.sums_dtype)
            self.values.setdefault(step.current, Value()).currents = sums
        if step.spec is not None and node.name in self.trace:
            shape = (layer.steps, self.samples, layer.channels, *layer.space)
            potentials = np.empty(shape, np.int32)
        added = [self._current(current.name) for current in step.sum.currents]
        results = out, counts, units, potentials
        if run_layer(layer, inputs, self.lanes, *results, added, sums):
            raise Overflow(node.name)
        if step.spec is None:
            self.values[node.name] = Value(self._currents(step, out))
            self.arena.give(out)
            return
        self.values[node.name] = Value(words=out, counts=counts, units=units)
        if potentials is not None:
            spikes = self._dense(node.name).astype(node.type.dtype.storage, copy=False)
            own = potentials.reshape(spikes.shape)
            self.result.traces[node.name] = LayerTrace(spikes, own)

    def _current(self, name: str) -> Array:
        """What a layer before has summed."""
        currents = self.values[name].currents
        assert currents is not None
        return currents

    def _currents(self, step: Fire, out: Array) -> Array:
        """Currents (steps, samples, *shape) from (block, y, x, channel, t, lane)."""
        assert step.layer is not None
        part = out.transpose(4, 0, 5, 3, 1, 2)[:, :, :, : step.layer.channels]
        flat = part.reshape(step.layer.steps, -1, *step.node.type.shape)
        return np.array(flat[:, : self.samples], order="C")

    def _pool(self, step: Pool) -> None:
        node, codings = step.node, self.plan.codings
        if node.name in self.trace:
            self._simple(step)
            return
        words, coding = self._words(step.below), codings[node.name]
        space = (1, 1, *node.type.shape[1:])[-2:]
        shape = words_shape(coding, self.samples, (space[0], space[1]), words.shape[4])
        out = self.arena.words(shape, np.uint32, coding)
        channels = coding.groups // coding.quad_words * QUAD
        counts = np.empty((2, len(out), space[0] * space[1], channels, shape[4]), np.uint8)
        below, wide = codings[step.below], int(coding.kind == WIDE)
        scratch = aligned((shape[4], 2 * LANES), np.int16)
        rest = (self.lanes, step.window, scratch, out, counts)
        if isinstance(node.operation, MaxPoolCount):
            pools.max_pool(words, below.zero_word, wide, int(node.operation.radix), *rest)
        else:
            zeros = below.zero_word, coding.zero_word
            pools.sum_pool(words, *zeros, wide, int(below.kind == WIDE), *rest)
        self.values[node.name] = Value(words=out, counts=counts[0], units=counts[1])

    def _simple(self, step: Simple | Pool) -> None:
        node, graph = step.node, self.plan.graph
        inputs = [self._dense(name) for name in node.inputs]
        keep = node.name in self.trace
        steps, parallel = self.plan.steps, self.plan.serial
        value, potentials = simple.run_node(graph, node, inputs, self.feeds, steps, keep, parallel)
        self.values[node.name] = Value(value)
        if keep and potentials is not None:
            spikes = value if node.type.dtype.is_spike else None
            self.result.traces[node.name] = LayerTrace(spikes, potentials)

    def _dense(self, name: str) -> Array:
        """A value as a plain array (steps or 1, samples, *shape)."""
        value = self.values[name]
        if value.dense is None:
            assert value.words is not None
            unpacked = self._unpacked(name, value.words)
            shape = self.plan.graph[name].type.shape
            value.dense = unpacked.reshape(*unpacked.shape[:2], *shape)
        return value.dense

    def _unpacked(self, name: str, words: Array) -> Array:
        """Values (steps, samples, channels, height, width) of words."""
        return unpack(words, self._coding(name), self.samples)

    def _packed(self, name: str, values: Array) -> Array:
        """Words of such values."""
        return pack(values, self.plan.codings[name])

    def _coding(self, name: str) -> Coding:
        if name in self.plan.codings:
            return self.plan.codings[name]
        for step in self.plan.program:
            if isinstance(step, Fire) and step.node.name == name and step.spec is not None:
                return step.spec.coding
        raise KeyError(name)

    def _words(self, name: str) -> Array:
        """A value as words in the coding that the plan gives it."""
        value = self.values[name]
        if value.words is None:
            assert value.dense is not None
            shape = value.dense.shape
            space = (1, 1, *shape[3:])[-2:]
            value.words = self._packed(name, value.dense.reshape(*shape[:3], *space))
        return value.words

    def _events(self, step: Step) -> Array:
        """How many samples have a non-zero element, per step and element (steps, *shape)."""
        node, steps = step.node, self.plan.steps
        if isinstance(step, View):
            inner = node.inputs[0]
            counted = self.events[inner] if inner in self.events else self._counted(inner)
            return counted.reshape(steps, *node.type.shape)
        counted = self._counted(node.name)
        self.events[node.name] = counted
        return counted

    def _units(self, step: Step) -> Array:
        """As `_events`, of payloads 1 and -1 alone."""
        node = step.node
        source = node.inputs[0] if isinstance(step, View) else node.name
        value = self.values[source]
        if value.units is None:
            alone = unit_events(self._dense(source)).reshape(-1, *node.type.shape)
            return alone.astype(counting(self.samples))
        return self._summed(source, value.units).reshape(-1, *node.type.shape)

    def _counted(self, name: str) -> Array:
        value = self.values[name]
        if value.counts is None:
            assert value.dense is not None
            counted = np.count_nonzero(value.dense, axis=1).astype(counting(self.samples))
            return steps_of(counted, self.plan.steps)
        return self._summed(name, value.counts)

    def _summed(self, name: str, counts: Array) -> Array:
        """Counts (block, pixel, channel, t) summed over blocks (steps, *shape)."""
        shape = self.plan.graph[name].type.shape
        blocks, pixels, padded, steps = counts.shape
        sums = np.empty((pixels, padded, steps), counting(self.samples))
        add_blocks(counts.reshape(blocks, -1), sums.reshape(-1))
        return sums[:, : shape[0]].T.reshape(steps, *shape)


@njit(cache=True, nogil=True)
def add_blocks(counts: Array, sums: Array) -> None:
    """Sum counts (block, element) over blocks into (element,)."""
    sums[:] = counts[0]
    for block in range(1, len(counts)):
        for i in range(len(sums)):
            sums[i] += counts[block, i]
