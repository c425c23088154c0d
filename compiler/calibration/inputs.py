"""The channels of an input: those of the first layers that read it, whatever its own layout is.

A synapse takes one scale per input channel into its weights. So elements that reach the same
channel of some synapse share a scale: of an image with channels last the colours, of a flat vector
that is reshaped to an image the pixels of each channel.
"""

from __future__ import annotations

import numpy as np

from spikec.ir import Graph, Node, op_of
from spikec.ir.op import Synapse
from spikec.ir.ops.routing.add import Add
from spikec.ir.ops.synapses.affine import Affine
from spikec.ir.types import Array

_MARGIN = 0.25
"""Largest share of an observed range that its code is widened by, on each side."""


def input_channels(graph: Graph, node: Node) -> Array:
    """For each element of an input (*shape) a label; elements with one label share a scale.

    Args:
        graph: At stage ann.
        node: The input.
    """
    shape = node.type.shape
    constraints = list(_meetings(graph, node))
    if not constraints and len(shape) > 1:
        return np.broadcast_to(np.arange(shape[0]).reshape(-1, *(1,) * (len(shape) - 1)), shape)
    labels = np.arange(node.type.size)
    while True:
        before = labels.copy()
        for elements, groups in constraints:
            least = np.full(groups.max() + 1, node.type.size)
            np.minimum.at(least, groups, labels[elements])
            np.minimum.at(labels, elements, least[groups])
        labels = labels[labels]  # what an element's representative was joined with
        if (labels == before).all():
            _, numbered = np.unique(labels, return_inverse=True)
            return numbered.reshape(shape)


def _meetings(graph: Graph, source: Node) -> list[tuple[Array, Array]]:
    """Elements of an input and the number of the group that each must share a scale with."""
    reached: dict[str, Array] = {
        source.name: np.arange(1, source.type.size + 1).reshape(source.type.shape)
    }
    meetings: list[tuple[Array, Array]] = []
    for node in graph.nodes:
        op = op_of(node)
        if not any(name in reached for name in node.inputs):
            continue
        if isinstance(op, Synapse) and not isinstance(op, Affine):
            value = reached[node.inputs[0]]
            channel = np.arange(len(value)).reshape(-1, *(1,) * (value.ndim - 1))
            _note(meetings, value, np.broadcast_to(channel, value.shape))
        elif isinstance(op, Affine):
            reached[node.name] = reached[node.inputs[0]]
        elif op.linear and op.result == "same":
            parts = [
                reached.get(name, np.zeros(graph[name].type.shape, np.int64))
                for name in node.inputs
            ]
            reached[node.name] = op.run([part[None] for part in parts], {})[0]
        elif op.linear and not isinstance(op, Add):
            value = reached[node.inputs[0]]  # a sum over some of it: all of one scale
            _note(meetings, value, np.zeros(value.shape, np.int64))
            first = np.full(node.type.shape, value.max())
            reached[node.name] = first
    return meetings


def _note(meetings: list[tuple[Array, Array]], value: Array, groups: Array) -> None:
    """Keep the elements (counted from 1) that are there, without their zeros."""
    used = value > 0
    if used.any():
        meetings.append((value[used] - 1, groups[used]))


def channel_ranges(x: Array, channels: Array) -> tuple[Array, Array]:
    """Smallest and largest value of each element's channel (*shape).

    Args:
        x: Inputs (samples, *shape).
        channels: The channel of each element (*shape).
    """
    flat = channels.reshape(-1)
    low, high = np.full(flat.max() + 1, np.inf), np.full(flat.max() + 1, -np.inf)
    np.minimum.at(low, flat, x.min(axis=0).reshape(-1))
    np.maximum.at(high, flat, x.max(axis=0).reshape(-1))
    return low[channels], high[channels]


def with_margin(low: Array, high: Array, channels: Array, samples: int) -> tuple[Array, Array]:
    """Ranges widened by what other data may add: the less, the more values were seen.

    Of n values the next one lies outside their range with a chance of about 2 / n, however they
    are distributed; a margin of 2 / sqrt(n) on each side, at most a quarter, costs little of the
    code's resolution. A range of positive values stays positive.
    """
    flat = channels.reshape(-1)
    seen = samples * np.bincount(flat)[channels]
    margin = np.minimum(_MARGIN, 2 / np.sqrt(seen)) * (high - low)
    return np.where(low >= 0, np.maximum(low - margin, 0), low - margin), high + margin


def compact(values: Array) -> Array:
    """Values per element (*shape), with size 1 on the axes along which they do not differ."""
    for axis in range(values.ndim):
        first = values.take([0], axis=axis)
        values = first if (values == first).all() else values
    if values.size == 1:
        return values.reshape(())
    return values.reshape(-1) if values.size == len(values) else values
