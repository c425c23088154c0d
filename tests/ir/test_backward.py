"""Gradients of linear ops are their adjoints: `<g, A d> = <A^T g, d>` for any direction d."""

from __future__ import annotations

import numpy as np
import pytest

from spikec.ir.op import Op
from spikec.ir.ops.input import Input
from spikec.ir.ops.routing.add import Add
from spikec.ir.ops.routing.concat import Concat
from spikec.ir.ops.routing.pad import Pad
from spikec.ir.ops.routing.reduce_sum import ReduceSum
from spikec.ir.ops.routing.reshape import Reshape
from spikec.ir.ops.routing.slice import Slice
from spikec.ir.ops.routing.sum_pool import SumPool
from spikec.ir.ops.routing.transpose import Transpose
from spikec.ir.ops.synapses.affine import Affine
from spikec.ir.ops.synapses.conv import Conv
from spikec.ir.ops.synapses.dense import Dense

IMAGE = (4, 9, 8)
WINDOWS = [
    ((1, 1), (1, 1, 1, 1), (1, 1), 3),
    ((2, 2), (0, 0, 1, 1), (1, 1), 3),
    ((2, 1), (3, 1, 0, 2), (2, 1), 2),
    ((3, 3), (0, 0, 0, 0), (1, 1), 1),
]
CASES: list[tuple[Op, list[tuple[int, ...]], tuple[int, ...] | None]] = [
    *(
        (Conv(strides, pads, dilations, groups), [IMAGE], (8, 4 // groups, k, k))
        for strides, pads, dilations, k in WINDOWS
        for groups in (1, 2, 4)
    ),
    (Conv((1, 1), (1, 1, 1, 1), (1, 1), 4), [IMAGE], (4, 1, 3, 3)),
    (Conv((2,), (1, 0), (1,), 1), [(3, 7)], (2, 3, 3)),
    *((SumPool((k, k), *window), [IMAGE], None) for *window, k in WINDOWS),
    (Dense(), [(5,)], (4, 5)),
    *((Affine(), [(4, 3, 2)], shape) for shape in [(), (4,), (4, 1, 1), (4, 3, 2), (1, 3, 1)]),
    (Add(), [(3, 2)] * 3, None),
    (Concat(1), [(3, 4), (3, 2), (3, 1)], None),
    (Slice((0, 2), (2, 2), (1, -1)), [(3, 4)], None),
    (Pad((0, 1, 2, 0)), [(3, 4)], None),
    (Transpose((2, 0, 1)), [(3, 4, 5)], None),
    (Reshape((12,)), [(3, 4)], None),
    (ReduceSum((1, 2)), [(3, 4, 5)], None),
]


@pytest.mark.parametrize(("op", "shapes", "weights"), CASES, ids=lambda x: str(x)[:48])
def test_gradients_are_adjoints(
    op: Op, shapes: list[tuple[int, ...]], weights: tuple[int, ...] | None
) -> None:
    rng = np.random.default_rng(1)
    inputs = [rng.normal(size=(2, *shape)) for shape in shapes]
    params = {} if weights is None else {"w": rng.normal(size=weights)}
    result = op.run(inputs, params)
    gradient = rng.normal(size=result.shape)
    backs, own = op.backward(gradient, inputs, params)
    assert [back.shape for back in backs] == [x.shape for x in inputs]
    assert {role: value.shape for role, value in own.items()} == {
        role: value.shape for role, value in params.items()
    }
    for place, back in enumerate(backs):
        direction = rng.normal(size=back.shape)
        moved = [*inputs[:place], inputs[place] + direction, *inputs[place + 1 :]]
        change = (gradient * (op.run(moved, params) - result)).sum()
        assert change == pytest.approx((back * direction).sum())
    for role, value in own.items():
        direction = rng.normal(size=value.shape)
        other = op.run(inputs, {role: params[role] + direction})
        assert (gradient * (other - result)).sum() == pytest.approx((value * direction).sum())


def test_what_has_no_gradient_says_so() -> None:
    assert not Input().differentiable
    assert Dense().differentiable
