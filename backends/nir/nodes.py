"""Each op as a node of NIR."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from spikec.backends.nir.arrays import real, sizes
from spikec.ir import BackendError, Graph, Node, spread
from spikec.ir.ops.accumulate import Accumulate
from spikec.ir.ops.input import Input
from spikec.ir.ops.neurons.integrate import Integrate
from spikec.ir.ops.neurons.integrate_graded import IntegrateGraded
from spikec.ir.ops.neurons.integrate_signed import IntegrateSigned
from spikec.ir.ops.routing.reshape import Reshape
from spikec.ir.ops.routing.sum_pool import SumPool
from spikec.ir.ops.synapses.affine import Affine
from spikec.ir.ops.synapses.conv import Conv
from spikec.ir.ops.synapses.dense import Dense
from spikec.ir.types import Array
from spikec.ir.windows import Window

NEURONS = (Integrate, IntegrateSigned, IntegrateGraded)
"""Neurons that NIR's IF stands for, as far as the accepted losses go."""


def library() -> Any:
    """The package `nir`."""
    return importlib.import_module("nir")


def node_of(graph: Graph, node: Node, bias: Array | None) -> Any:
    """The NIR node that computes `node`, without metadata.

    Args:
        graph: Of stage int.
        node: One of its nodes; no `add`, which is two edges into one node.
        bias: What a convolution or dense layer adds.

    Raises:
        BackendError: when NIR has no such node.
    """
    before = graph[node.inputs[0]].type.shape if node.inputs else ()
    made = _made(graph, node, before, bias)
    made.input_type = {"input": sizes(*(before or node.type.shape))}
    made.output_type = {"output": sizes(*node.type.shape)}
    return made


def margin(steps: int) -> float:
    """What a threshold is lowered by so that `v > theta - margin` is `v >= theta`.

    Integers allow anything below 1 in the first step. Where a reset subtracts the lowered
    threshold, each spike leaves one margin more in v, so T of them must stay below 1.
    """
    return float(2.0 ** -steps.bit_length())


def _made(graph: Graph, node: Node, before: tuple[int, ...], bias: Array | None) -> Any:
    nir, shape = library(), node.type.shape
    op = node.operation
    if isinstance(op, Input):
        return nir.Input(sizes(*shape))
    if type(op) is Accumulate:  # not a readout of digits
        return nir.Output(sizes(*shape))
    if isinstance(op, Conv):
        assert bias is not None
        return _conv(graph, node, op, before, bias)
    if isinstance(op, Dense):
        assert bias is not None
        return nir.Affine(real(graph.weights(node)), real(bias))
    if isinstance(op, Affine):
        factor = spread(graph.weights(node), shape)
        return nir.Scale(real(np.broadcast_to(factor, shape)))
    if isinstance(op, SumPool):
        return _sum_pool(node, op)
    if isinstance(op, Reshape) and len(shape) == 1:
        return nir.Flatten(sizes(*before), 0, -1)
    if type(op) in NEURONS:
        return _fire(graph, node)
    raise BackendError(f"NIR has no node for {node.op} %{node.name}", loc=node.loc)


def _fire(graph: Graph, node: Node) -> Any:
    theta = spread(graph.array(node, "theta"), node.type.shape)
    threshold = real(np.broadcast_to(theta, node.type.shape) - margin(graph.steps))
    ones = np.ones(node.type.shape, threshold.dtype)
    return library().IF(r=ones, v_threshold=threshold, v_reset=np.zeros_like(ones))


def _conv(graph: Graph, node: Node, op: Conv, before: tuple[int, ...], bias: Array) -> Any:
    w = graph.weights(node)
    w, padding = _symmetric(node, w, op.window(w.shape[2:]))
    strides, dilations = op.strides, op.dilations
    shared = {"weight": real(w), "groups": op.groups, "bias": real(bias)}
    if len(padding) == 1:
        return library().Conv1d(
            input_shape=before[1],
            stride=strides[0],
            padding=padding[0],
            dilation=dilations[0],
            **shared,
        )
    if len(padding) == 2:
        return library().Conv2d(
            input_shape=before[1:],
            stride=strides,
            padding=padding,
            dilation=dilations,
            **shared,
        )
    raise BackendError(
        f"NIR has no convolution over {len(padding)} axes, as %{node.name} is", loc=node.loc
    )


def _symmetric(node: Node, w: Array, window: Window) -> tuple[Array, tuple[int, ...]]:
    """Weights and pads that are the same at both ends: taps of 0 take the place of the others."""
    rank = len(window.kernel)
    begins, ends = window.pads[:rank], window.pads[rank:]
    more = [(0, 0), (0, 0)]
    for begin, end, dilation in zip(begins, ends, window.dilations, strict=True):
        taps, rest = divmod(abs(end - begin), dilation)
        if rest:
            raise BackendError(
                f"NIR has no pads as {list(window.pads)} of %{node.name}", loc=node.loc
            )
        more.append((taps, 0) if begin < end else (0, taps))
    return np.pad(w, more), tuple(map(max, begins, ends))


def _sum_pool(node: Node, op: SumPool) -> Any:
    window = op.window
    begins, ends = window.pads[: len(window.kernel)], window.pads[len(window.kernel) :]
    if len(window.kernel) != 2 or begins != ends or set(window.dilations) != {1}:
        raise BackendError(f"NIR has no sum_pool as %{node.name}", loc=node.loc)
    return library().SumPool2d(sizes(*window.kernel), sizes(*window.strides), sizes(*begins))
