"""The channels of an input: those of the first layer that reads it, whatever its own layout is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikec.ir import Graph, Node, op_of, spread

Array = NDArray[Any]
_ELEMENTWISE = ("affine", "relu", "clip", "relay", "qcfs", "quantize", "pointwise")
_CHANNELS_FIRST = ("conv", "conv_transpose", "sum_pool", "max_pool")


def input_channels(graph: Graph, node: Node) -> Array:
    """The channel of each element of an input (*shape).

    An image may arrive flat or with its channels last; a convolution behind reshapes and
    transposes tells its channels. Without one they are those of the input's first axis.
    """
    shape = node.type.shape
    own = np.broadcast_to(spread(np.arange(shape[0]) if shape else np.zeros(1), shape), shape)
    elements = np.arange(node.type.size, dtype=np.float64).reshape(shape)
    seen: dict[str, Array] = {node.name: elements}
    found: list[Array] = []
    for reader in graph.nodes:
        if not reader.inputs or reader.inputs[0] not in seen:
            continue
        value = seen[reader.inputs[0]]
        if reader.op in _CHANNELS_FIRST:
            found.append(_labels(value, shape))
        elif reader.op in _ELEMENTWISE:
            seen[reader.name] = value
        elif op_of(reader).result == "same" and len(reader.inputs) == 1:
            seen[reader.name] = op_of(reader).run([value[None]], {})[0]
    agreed = [labels for labels in found if np.array_equal(labels, found[0])]
    usable = found and len(agreed) == len(found) and (found[0] >= 0).all()
    return found[0] if usable else own.astype(np.int64)


def _labels(value: Array, shape: tuple[int, ...]) -> Array:
    """For each element of the input its first axis in a value that holds their numbers."""
    labels = np.full(shape, -1, np.int64)
    channels = np.broadcast_to(spread(np.arange(len(value)), value.shape), value.shape)
    labels.reshape(-1)[value.astype(np.int64).reshape(-1)] = channels.reshape(-1)
    return labels


def channel_ranges(x: Array, channels: Array) -> tuple[Array, Array]:
    """Smallest and largest value of each element's channel, as a param of the input is shaped.

    Args:
        x: Inputs (samples, *shape).
        channels: The channel of each element (*shape).
    """
    flat = channels.reshape(-1)
    low, high = np.full(flat.max() + 1, np.inf), np.full(flat.max() + 1, -np.inf)
    np.minimum.at(low, flat, x.min(axis=0).reshape(-1))
    np.maximum.at(high, flat, x.max(axis=0).reshape(-1))
    return _compact(low[channels]), _compact(high[channels])


def _compact(values: Array) -> Array:
    """Values per element (*shape), with size 1 on the axes along which they do not differ."""
    for axis in range(values.ndim):
        first = values.take([0], axis=axis)
        values = first if (values == first).all() else values
    if values.size == 1:
        return values.reshape(())
    return values.reshape(-1) if values.size == len(values) else values
