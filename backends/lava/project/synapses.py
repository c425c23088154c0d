"""Lava's stock synapses, set up so that 8-bit weights act exactly.

With mixed signs Dense and Sparse drop the lowest bit of a weight, so they get twice the weight
and halve the sum (`weight_exp=-1`). `num_message_bits` above 0 keeps the sign and size of what
arrives. Each synapse delivers its sum one step later. All work on integers at `tag`
"fixed_pt"; at "floating_pt" they get the plain weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from lava.proc.dense.process import Dense
from lava.proc.sparse.process import DelaySparse, Sparse
from lava.utils.weightutils import SignMode
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

Array = NDArray[Any]


def _exact(weights: Any, tag: str, exponent: int) -> dict[str, Any]:
    """The arguments that make Dense and Sparse give `2^exponent` times 8-bit `weights` exactly."""
    wide = weights.astype(np.int32)
    if tag != "fixed_pt":
        return {"weights": wide.astype(float) * 2.0**exponent, "num_message_bits": 24}
    return {
        "weights": wide * 2,
        "weight_exp": exponent - 1,
        "sign_mode": SignMode.MIXED,
        "num_message_bits": 24,
    }


def dense(w: Array, tag: str, name: str, exponent: int = 0) -> Dense:
    """Fully connected synapses; w: (out, in). Ports are flat."""
    return Dense(**_exact(w, tag, exponent), name=name)


def one_to_one(w: Array, tag: str, name: str, delay: int = 0, exponent: int = 0) -> Sparse:
    """One synapse per neuron; w: one weight for each. Ports are flat."""
    places = np.arange(w.size)
    return _sparse(csr_matrix((w.ravel(), (places, places))), tag, name, delay, exponent)


def sparse(w: Mapping[str, Array], key: str, tag: str, name: str, exponent: int = 0) -> Sparse:
    """Any synapses, from the arrays `key`.weight, .row, .column and .shape. Ports are flat."""
    places = (w[f"{key}.row"], w[f"{key}.column"])
    matrix = csr_matrix((w[f"{key}.weight"], places), shape=tuple(w[f"{key}.shape"]))
    return _sparse(matrix, tag, name, exponent=exponent)


def delay(size: int, steps: int, tag: str, name: str) -> Sparse:
    """Passes on what arrives, `steps` steps later. Ports are flat."""
    return one_to_one(np.ones(size, np.int8), tag, name, steps - 1)


def _sparse(weights: Any, tag: str, name: str, delay: int = 0, exponent: int = 0) -> Sparse:
    if delay == 0:
        return Sparse(**_exact(weights, tag, exponent), name=name)
    delays = csr_matrix(weights, dtype=int, copy=True)
    delays.data[:] = delay
    return DelaySparse(**_exact(weights, tag, exponent), delays=delays, max_delay=delay, name=name)


def unrolled_conv(
    w: Array,
    in_shape: Sequence[int],
    tag: str,
    name: str,
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    groups: int = 1,
    exponent: int = 0,
) -> Sparse:
    """A convolution over any number of axes as Sparse: one synapse per weight and place.

    Several times faster than Lava's Conv. Ports are flat, in (channels, *spatial) order.

    Args:
        w: (out channels, in channels / groups, *kernel), as ONNX has them.
        in_shape: (channels, *spatial).
        tag: The arithmetic.
        name: Name of the process.
        strides: Per spatial axis.
        pads: First all begins, then all ends.
        dilations: Per spatial axis.
        groups: Channel groups.
        exponent: Sums are shifted left by so many bits.
    """
    out, fan_in = w.shape[0], math.prod(w.shape[1:])
    places = _places(w.shape[2:], in_shape, strides, pads, dilations)  # channels, out place, tap
    columns = places.reshape(groups, -1, *places.shape[1:]).transpose(0, 2, 1, 3)
    columns = columns.reshape(groups, 1, -1, fan_in)
    weights = w.reshape(groups, out // groups, 1, fan_in)
    columns, weights = np.broadcast_arrays(columns, weights)
    used = (columns >= 0) & (weights != 0)
    starts = np.concatenate([[0], np.cumsum(used.sum(axis=-1).ravel())])
    shape = (len(starts) - 1, math.prod(in_shape))
    return _sparse(
        csr_matrix((weights[used], columns[used], starts), shape=shape),
        tag,
        name,
        exponent=exponent,
    )


def _places(
    kernel: Sequence[int],
    in_shape: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
) -> NDArray[np.int32]:
    """For each channel, output place and tap the flat input place, or -1 in the padding."""
    rank = len(kernel)
    widths = [(0, 0), *zip(pads[:rank], pads[rank:], strict=True)]
    index = np.arange(math.prod(in_shape), dtype=np.int32).reshape(in_shape)
    index = np.pad(index, widths, constant_values=-1)
    taps = []
    for tap in np.ndindex(*kernel):
        places = [slice(None)]
        for axis in range(rank):
            reach = dilations[axis] * (kernel[axis] - 1)
            start = tap[axis] * dilations[axis]
            stop = start + index.shape[axis + 1] - reach
            places.append(slice(start, stop, strides[axis]))
        taps.append(index[tuple(places)].reshape(in_shape[0], -1))
    return np.stack(taps, axis=-1)
