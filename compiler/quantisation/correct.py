"""Correction after rounding: what integers lose is mostly a constant offset."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from spikec.compiler.calibration.cone import mean_over_steps
from spikec.compiler.pipeline import Context, Pass, Record, within
from spikec.ir import Graph, Node, Param, PassError, op_of, spread
from spikec.ir.neuron import Membrane, step_weights
from spikec.ir.types import Array
from spikec.runtime.coding import encode
from spikec.runtime.fast.walk import Walk
from spikec.runtime.interpreter import Feeds

_HELD_BYTES = 1 << 28
"""Spikes and currents that are held at once."""


@dataclass(frozen=True)
class Correct(Pass):
    """Add to each channel's bias what its mean current lost to rounding.

    Both networks run on the same calibration samples, layer by layer: the spiking one in floats and
    the integer one with the corrections made so far. Where their mean currents differ, a channel's
    bias makes up for it.

    Options: samples to run.
    """

    samples: int = 64
    stages = ("int",)

    def run(self, graph: Graph, context: Context, record: Record) -> Graph:
        within("samples", self.samples, 1)
        calib = context.calib
        if calib is None:
            record.note("no calibration data: nothing to correct by")
            return graph
        if "snn" not in context.last:
            raise PassError("pass correct needs the float network that was quantised")
        means = _mean_currents(context.last["snn"], _some(graph, calib, self.samples))
        walk = _Correcting(graph, encode(graph, _some(graph, calib, self.samples)).feeds)
        for done, node in enumerate(graph.nodes, 1):
            if isinstance(node.operation, Membrane):
                walk.correct(node, means[node.name], record)
            walk.step(node)
            context.progress("correct", done, len(graph.nodes))
        return walk.graph


def _some(graph: Graph, calib: Feeds, samples: int) -> Feeds:
    """As many samples as memory allows, at most `samples`."""
    widest = sum(sorted(node.type.size for node in graph.nodes)[-4:]) * 4 * graph.steps
    count = max(1, min(samples, _HELD_BYTES // max(widest, 1)))
    return {name: np.asarray(x[:count]) for name, x in calib.items()}


def _mean_currents(graph: Graph, feeds: Feeds) -> dict[str, Array]:
    """The mean current of each layer with bias, per channel, in real units."""
    means, walk = {}, Walk(graph, feeds)
    for node in graph.nodes:
        if isinstance(node.operation, Membrane):
            (current,) = walk.inputs(node)
            mean = mean_over_steps(current, node.operation.radix)
            bias = graph.array(node, "bias") if "bias" in node.params else np.zeros(())
            means[node.name] = _by_channel(mean) + _by_channel(_full(node, bias)[None])
        walk.step(node)
    return means


def _full(node: Node, array: Array) -> Array:
    return np.broadcast_to(spread(array, node.type.shape), node.type.shape)


def _by_channel(value: Array) -> Array:
    """The mean of each channel of (samples, *shape), float64."""
    axes = (0, *range(2, value.ndim))
    return np.asarray(value.mean(axis=axes, dtype=np.float64))


class _Correcting(Walk):
    """A walk of the integer network that corrects each layer before it runs."""

    def correct(self, node: Node, wanted: Array, record: Record) -> None:
        """Change the bias of a layer so that its mean current becomes `wanted`."""
        graph = self.graph
        scale = graph.array(node, "scale").astype(np.float64)
        bias = graph.array(node, "bias").astype(np.int64)
        (current,) = self.inputs(node)
        if len(current) > 1:
            weights = step_weights(len(current), radix=op_of(node, Membrane).radix)
            total = np.tensordot(weights.astype(np.float64), current.astype(np.float64), axes=1)
            current = (total / weights.sum())[None]
        real = (current[0] + _full(node, bias)) * _full(node, scale)
        lack = wanted - _by_channel(real)
        units = np.rint(spread(lack, node.type.shape) / _full(node, scale)).astype(np.int64)
        changed = _full(node, bias) + units
        name = node.params["bias"]
        old = graph.params[name]
        low, high = old.type.dtype.bounds
        flat = changed.reshape(len(changed), -1) if changed.ndim else changed
        if changed.ndim > 1 and (flat == flat[:, :1]).all():
            changed = flat[:, 0]
        new = Param.of(np.clip(changed, low, high), old.type.dtype)
        params = {**graph.params, name: new}
        self.graph = replace(graph, params=params)
        reach = max(float(abs(lack).max()), 1e-30)
        record.layer(node.name, corrected=reach)
