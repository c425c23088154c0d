"""Integers of the model, which the graph carries as the reals that they stand for."""

from __future__ import annotations

import numpy as np

from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.values import Constant, Grid, Tensor


def off_grid(node: OnnxNode, x: Tensor) -> Tensor:
    """The integers of the model themselves as a value: `x / scale + zero`."""
    grid = x.grid
    if grid is None:
        node.invalid("its input holds no integers")
    real = Tensor(x.name, x.shape)
    if grid == Grid():
        return real
    scale, zero = spread_grid(grid, len(x.shape))
    return node.emit("affine", [real], params={"w": 1 / scale, "b": zero})


def spread_grid(grid: Grid, rank: int) -> tuple[Constant, Constant]:
    """Scale and zero point of a grid as params of a value of `rank` axes."""
    scale, zero = np.array(grid.scale, np.float64), np.array(grid.zero, np.float64)
    if scale.size == 1:
        return scale.reshape(()), zero.reshape(())
    shape = (-1,) if grid.axis == 0 else tuple(-1 if a == grid.axis else 1 for a in range(rank))
    return scale.reshape(shape), zero.reshape(shape)
