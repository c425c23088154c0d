"""Which elements of an input share the scale of its code.

A synapse takes one scale per input channel into its weights. So elements that reach the same
channel of some synapse share a scale, whatever layout the input has: of an image with channels
last the colours, of a flat vector that is reshaped to an image the pixels of each channel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikec.ir import Graph, Node, op_of

Array = NDArray[Any]


def shared_scale(graph: Graph, node: Node) -> Array:
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
            return labels.reshape(shape)


def _meetings(graph: Graph, source: Node) -> list[tuple[Array, Array]]:
    """Elements of an input and the number of the group that each must share a scale with."""
    reached: dict[str, Array] = {
        source.name: np.arange(1, source.type.size + 1).reshape(source.type.shape)
    }
    found: list[tuple[Array, Array]] = []
    for node in graph.nodes:
        op = op_of(node)
        if not any(name in reached for name in node.inputs):
            continue
        if op.weighted and node.op != "affine":
            value = reached[node.inputs[0]]
            channel = np.arange(len(value)).reshape(-1, *(1,) * (value.ndim - 1))
            _note(found, value, np.broadcast_to(channel, value.shape))
        elif node.op == "affine":
            reached[node.name] = reached[node.inputs[0]]
        elif op.linear and op.result == "same":
            parts = [
                reached.get(name, np.zeros(graph[name].type.shape, np.int64))
                for name in node.inputs
            ]
            reached[node.name] = op.run([part[None] for part in parts], node.attrs, {})[0]
        elif op.linear and node.op != "add":
            value = reached[node.inputs[0]]  # a sum over some of it: all of one scale
            _note(found, value, np.zeros(value.shape, np.int64))
            first = np.full(node.type.shape, value.max())
            reached[node.name] = first
    return found


def _note(found: list[tuple[Array, Array]], value: Array, groups: Array) -> None:
    """Keep the elements (counted from 1) that are there, without their zeros."""
    used = value > 0
    if used.any():
        found.append((value[used] - 1, groups[used]))


def group_ranges(x: Array, labels: Array) -> tuple[Array, Array]:
    """The smallest and largest value (*shape) of each element's group in x (samples, *shape)."""
    place = labels.ravel()
    low, high = np.full(place.max() + 1, np.inf), np.full(place.max() + 1, -np.inf)
    flat = x.reshape(len(x), -1)
    np.minimum.at(low, place, flat.min(axis=0).astype(np.float64))
    np.maximum.at(high, place, flat.max(axis=0).astype(np.float64))
    return low[labels], high[labels]


def compact(array: Array) -> Array:
    """An array as (), as (channels,) or with axes of size 1 where its values allow it."""
    for axis in range(array.ndim):
        first = array.take([0], axis=axis)
        if (array == first).all():
            array = first
    if array.size == 1:
        return array.reshape(())
    return array.reshape(-1) if array.size == array.shape[0] else array
