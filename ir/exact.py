"""Exact sums of integers: in machine integers where they provably fit, else in Python's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from spikec.ir.op import Op, Params, Value

_GAINS = ("w", "exponent")
"""Params that a linear op multiplies its inputs with."""
LARGEST = 1 << 62
"""Bound of sums, found in double precision, up to which int64 holds them for certain."""


def magnitude(array: NDArray[Any]) -> int:
    """The largest absolute value, 0 where there is none."""
    return max(int(array.max(initial=0)), -int(array.min(initial=0)))


def wide(array: Value) -> Value:
    """Machine integers as int64; floats and Python's integers as they are."""
    return array.astype(np.int64, copy=False) if array.dtype.kind in "iub" else array


def unbounded(array: Value) -> Value:
    """The same numbers as Python's integers, which hold any sum."""
    return np.asarray(array).astype(object)


def machine(array: Value) -> Value:
    """Integers that fit as int64."""
    return array.astype(np.int64, copy=False)


def sum_bound(op: Op, inputs: Sequence[Value], params: Params) -> float:
    """Bound of every partial sum of a linear op, in any order: its meaning on absolute values."""
    reach = max(magnitude(x) for x in inputs)
    ones = [np.ones((1, *x.shape[1:])) for x in inputs]
    weights = {role: params[role].astype(np.float64) for role in _GAINS if role in params}
    weights = {role: np.abs(array) for role, array in weights.items()}
    gain = float(op.run(ones, weights).max(initial=0))
    return reach * gain + (magnitude(params["b"]) if "b" in params else 0)


def run_exact(op: Op, inputs: Sequence[Value], params: Params) -> Value:
    """The exact result of a linear op on integers: int64, or Python's where sums exceed it."""
    if op.result != "same" and sum_bound(op, inputs, params) >= LARGEST:
        inputs = [unbounded(x) for x in inputs]
        params = {role: unbounded(array) for role, array in params.items()}
    return op.run(inputs, params)
