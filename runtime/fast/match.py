"""Finds synapses and joins that one compiled layer can sum, and proves their ranges."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

import numpy as np

from spikec.ir import Graph, Node, op_of, spread
from spikec.ir.exact import magnitude
from spikec.ir.neuron import Neuron, Sign
from spikec.ir.ops.input import Input
from spikec.ir.ops.max_pool_count import MaxPoolCount
from spikec.ir.ops.routing.add import Add
from spikec.ir.ops.routing.reshape import Reshape
from spikec.ir.ops.routing.sum_pool import SumPool
from spikec.ir.ops.synapses.affine import Affine
from spikec.ir.ops.synapses.conv import Conv
from spikec.ir.ops.synapses.dense import Dense
from spikec.ir.types import Array
from spikec.runtime.fast.links import INT8
from spikec.runtime.fast.words import BYTE, HALF

LARGEST = 1 << 25
"""Weights of a synapse that is compiled; larger ones go to BLAS."""
COMPILED = (Affine, Conv, Dense)
"""Synapses that a compiled layer sums."""
LARGEST_WEIGHT = 1 << 15
"""Absolute weight of a compiled synapse: dot products take it in parts of one byte."""
INT32_REACH = 1 << 30
"""Bound of currents and potentials that 32-bit kernels may meet."""


@dataclass(frozen=True)
class Net:
    """A graph that runs for T steps."""

    graph: Graph
    steps: int

    @cached_property
    def nodes(self) -> Mapping[str, Node]:
        """By name."""
        return self.graph.by_name


@dataclass(frozen=True, slots=True)
class Source:
    """A value that a compiled layer reads as words.

    Attributes:
        name: Its node.
        channels: Of the words.
        space: Height and width.
        low: Smallest value per step.
        high: Largest value per step.
        constant: Whether it is constant over time.
    """

    name: str
    channels: int
    space: tuple[int, int]
    low: int
    high: int
    constant: bool = False


@dataclass(frozen=True, slots=True)
class Synapse:
    """One weighted path from a source into a layer; fields as those of `links.Link`."""

    source: Source
    weight: Array
    groups: int = 1
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int] = (0, 0)
    dilations: tuple[int, int] = (1, 1)
    exponents: Array | None = None

    @property
    def own_channels(self) -> bool:
        """Whether each channel reads its own alone."""
        return self.groups == self.source.channels == len(self.weight) and self.groups > 1

    def stays_inside(self, space: tuple[int, int]) -> bool:
        """Whether no tap of results (height, width) lies outside the image."""
        if any(self.pads):
            return False
        kernel, size = self.weight.shape[2:], self.source.space
        parts = zip(space, self.strides, kernel, self.dilations, size, strict=True)
        return all((n - 1) * step + (k - 1) * gap < limit for n, step, k, gap, limit in parts)


@dataclass(frozen=True, slots=True)
class Current:
    """A sum that a layer before has computed.

    Attributes:
        name: Its node.
        bound: Its largest absolute value (channels,).
    """

    name: str
    bound: Array


@dataclass(frozen=True, slots=True)
class Sum:
    """What reaches a layer: synapses, a constant current, and bounds of the sum per channel.

    Attributes:
        nodes: What it stands for, down to the synapses' sources.
        currents: What is added as it is.
    """

    synapses: tuple[Synapse, ...]
    bias: Array
    low: Array
    high: Array
    nodes: frozenset[str] = frozenset()
    currents: tuple[Current, ...] = ()


def geometry(shape: tuple[int, ...]) -> tuple[int, tuple[int, int]] | None:
    """Channels and (height, width) of a value of up to two spatial axes."""
    if len(shape) not in (1, 2, 3) or math.prod(shape) == 0:
        return None
    space = (1, 1, *shape[1:])[-2:]
    return shape[0], (space[0], space[1])


def source_of(net: Net, name: str) -> Source | None:
    """A value as a source of words, or None if it is none."""
    node = net.nodes[name]
    fits = geometry(node.type.shape)
    if fits is None:
        return None
    channels, space = fits
    flat = isinstance(node.operation, Reshape)
    given = net.nodes[node.inputs[0]].operation if flat else node.operation
    if isinstance(given, Input):
        low, high = node.type.dtype.bounds
        known = node.type.dtype.is_integer and max(-low, high) <= HALF
        return Source(name, channels, space, low, high, not given.timed) if known else None
    if node.type.dtype.is_spike and op_of(node).stateful:
        return Source(name, channels, space, *payload_bounds(net, node))
    if isinstance(node.operation, SumPool):
        return _pooled(net, node, node.operation, space)
    return None


def payload_bounds(net: Net, node: Node) -> tuple[int, int]:
    """The smallest and the largest payload that a spiking layer may send."""
    low, high = node.type.dtype.bounds
    op = node.operation
    if isinstance(op, Neuron):
        positive = op.sign is Sign.UNSIGNED or (op.sign is Sign.TAKES_BACK and net.steps == 1)
        return 0 if positive else low, high
    if isinstance(op, MaxPoolCount):  # counts that never fall have a maximum that never falls
        return payload_bounds(net, net.nodes[node.inputs[0]])[0], high
    return low, high


def _pooled(net: Net, node: Node, pool: SumPool, space: tuple[int, int]) -> Source | None:
    inner = net.nodes[node.inputs[0]]
    spiking = inner.type.dtype.is_spike and op_of(inner).stateful
    below = source_of(net, inner.name) if spiking else None
    if below is None:
        return None
    size = math.prod(pool.kernel)
    low, high = node.type.dtype.bounds
    least, most = size * below.low, size * below.high
    fits = max(low, -HALF) <= least and most <= min(high, HALF)
    return Source(node.name, below.channels, space, least, most) if fits else None


def sum_of(net: Net, name: str, kept: Collection[str] = ()) -> Sum | None:
    """The synapses whose sum a current node is; None if it is anything else.

    Terms of it that are `kept` are currents, whatever they are sums of.
    """
    node = net.nodes[name]
    total: Sum | None = None
    if isinstance(node.operation, Add):
        parts = [_term(net, term, kept) for term in node.inputs]
        known = [part for part in parts if part is not None]
        total = _joined(known) if len(known) == len(parts) else None
    elif isinstance(node.operation, COMPILED):
        synapse = _synapse(net, node)
        total = None if synapse is None else _bounded(net, node, synapse)
    if total is None:
        return None
    low, high = node.type.dtype.bounds
    reach = max(abs(int(total.low.min())), abs(int(total.high.max())))
    within = low <= total.low.min() and total.high.max() <= high
    total = replace(total, nodes=total.nodes | {name})
    return total if within and reach < INT32_REACH else None


def _term(net: Net, name: str, kept: Collection[str]) -> Sum | None:
    total = sum_of(net, name, kept)
    if total is None or name not in kept:
        return total
    current = Current(name, np.maximum(np.abs(total.low), np.abs(total.high)))
    return replace(total, synapses=(), bias=np.zeros_like(total.bias), currents=(current,))


def _joined(parts: list[Sum]) -> Sum | None:
    synapses = tuple(s for part in parts for s in part.synapses)
    if len({s.source.constant for s in synapses}) > 1:
        return None
    bias, low, high = (
        np.sum([getattr(part, role) for part in parts], axis=0) for role in ("bias", "low", "high")
    )
    nodes = frozenset[str]().union(*(part.nodes for part in parts))
    return Sum(synapses, bias, low, high, nodes, tuple(c for part in parts for c in part.currents))


def _bounded(net: Net, node: Node, synapse: Synapse) -> Sum | None:
    w = synapse.weight.astype(np.int64).reshape(len(synapse.weight), -1)
    if magnitude(w) > LARGEST_WEIGHT:
        return None
    w = w if synapse.exponents is None else w << synapse.exponents[:, None]
    up, down = np.maximum(w, 0).sum(axis=1), np.minimum(w, 0).sum(axis=1)
    low, high = synapse.source.low, synapse.source.high
    if synapse.weight.size * synapse.groups > LARGEST:
        return None
    most = float(np.abs(w).sum(axis=1, dtype=np.float64).max(initial=0))
    if max(BYTE, high, -low) * most >= INT32_REACH:
        return None
    bias = np.zeros(len(w), np.int64)
    if "b" in node.params:
        spreaded = per_channel(net.graph.array(node, "b"), node.type.shape)
        if spreaded is None:
            return None
        bias = spreaded
    return Sum(
        (synapse,),
        bias,
        np.minimum(up * low + down * high, 0) + bias,
        np.maximum(up * high + down * low, 0) + bias,
    )


def per_channel(array: Array, shape: tuple[int, ...]) -> Array | None:
    """A param as int64 (channels,), or None when it differs within a channel."""
    full = np.broadcast_to(spread(array, shape), shape).reshape(shape[0], -1)
    return full[:, 0].astype(np.int64) if (full == full[:, :1]).all() else None


def per_neuron(array: Array, shape: tuple[int, ...]) -> Array:
    """A param as int64, (channels,) or (channels, height, width)."""
    same = per_channel(array, shape)
    if same is not None:
        return same
    _, space = cast("tuple[int, tuple[int, int]]", geometry(shape))
    full = np.broadcast_to(spread(array, shape), shape).astype(np.int64)
    return full.reshape(shape[0], *space)


def _synapse(net: Net, node: Node) -> Synapse | None:
    synapse = _mantissas(net, node)
    if synapse is None or "exponent" not in node.params:
        return synapse
    exponents = np.broadcast_to(net.graph.array(node, "exponent"), len(synapse.weight))
    exponents = exponents.astype(np.int64)
    if magnitude(synapse.weight) > LARGEST_WEIGHT:
        return None
    whole = synapse.weight.astype(np.int64) << exponents.reshape(-1, 1, 1, 1)
    if np.abs(whole).max(initial=0) <= INT8:  # in one byte
        return replace(synapse, weight=whole)
    return replace(synapse, exponents=exponents)


def _mantissas(net: Net, node: Node) -> Synapse | None:
    if geometry(node.type.shape) is None:
        return None
    w = net.graph.array(node, "w")
    if w.dtype.kind not in "iu":
        return None
    source = source_of(net, node.inputs[0])
    op = node.operation
    if isinstance(op, Dense):
        return _dense(net, node, w, source)
    if source is None:
        return None
    if not isinstance(op, Conv):
        factors = per_channel(w, node.type.shape)
        if factors is None:
            return None
        return Synapse(source, factors.reshape(-1, 1, 1, 1), groups=len(factors))
    rank = w.ndim - 2
    return Synapse(
        source,
        w.reshape(*w.shape[:2], *(1,) * (2 - rank), *w.shape[2:]),
        op.groups,
        _two(op.strides, 1),
        _two(op.pads[:rank], 0),
        _two(op.dilations, 1),
    )


def _two(values: tuple[int, ...], missing: int) -> tuple[int, int]:
    return (values[0], values[1]) if len(values) == 2 else (missing, values[0])


def _dense(net: Net, node: Node, w: Array, source: Source | None) -> Synapse | None:
    """A dense synapse; behind a flattening reshape, a kernel as large as the image."""
    inner = net.nodes[node.inputs[0]]
    if source is None and isinstance(inner.operation, Reshape):
        source = source_of(net, inner.inputs[0])
    if source is None:
        return None
    return Synapse(source, w.reshape(len(w), source.channels, *source.space))
