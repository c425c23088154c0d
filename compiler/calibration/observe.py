"""Runs calibration data through the ANN once and stores statistics as params."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from spikec.compiler.calibration.inputs import (
    channel_ranges,
    compact,
    input_channels,
    with_margin,
)
from spikec.compiler.pipeline import Context, Pass, Record, within
from spikec.compiler.rewrites.input_codes import Code, without_input_quantisers
from spikec.ir import F32, F64, Graph, InvalidData, Node, Param, PassError, op_of
from spikec.ir.ops.input import Input
from spikec.ir.types import Array, DType
from spikec.runtime.coding import as_quantised
from spikec.runtime.interpreter import Feeds, check_feeds, evaluate

_BLOCK = 32


@dataclass(frozen=True)
class Observe(Pass):
    """Store the range and a histogram of every activation, and code the inputs in 8 bits.

    Later passes that need only statistics are pure functions of them.
    """

    bins: int = 512

    def run(self, graph: Graph, context: Context, record: Record) -> Graph:
        within("bins", self.bins, 1)
        calib = context.data("observe")
        samples = check_feeds(graph, calib, context.steps)
        graph, given = without_input_quantisers(graph, context.spec.input_bits)
        codes = {
            node.name: _input_code(graph, node, calib, context, record, given.get(node.name))
            for node in graph.inputs
        }
        acts = [node for node in graph.nodes if op_of(node).activation]
        low = {node.name: np.zeros(node.type.shape[0]) for node in acts}
        high = {node.name: np.zeros(node.type.shape[0]) for node in acts}
        for done, name, value in _values(graph, calib, low):
            if not np.isfinite(value).all():
                raise PassError(
                    f"%{name} becomes NaN or infinite on the calibration data", loc=graph[name].loc
                )
            axes = (0, *range(2, value.ndim))
            np.minimum(low[name], value.min(axis=axes), out=low[name])
            np.maximum(high[name], value.max(axis=axes), out=high[name])
            context.progress("observe", done, 2 * samples)
        hist = {node.name: np.zeros((node.type.shape[0], self.bins), np.int64) for node in acts}
        for done, name, value in _values(graph, calib, low):
            _count(hist[name], value, low[name], high[name])
            context.progress("observe", samples + done, 2 * samples)
        params: dict[str, Param] = {}
        nodes = []
        for node in graph.nodes:
            if isinstance(node.operation, Input):
                statistics = codes[node.name]
            elif node.name in hist:
                statistics = {
                    "low": Param.of(low[node.name], F32),
                    "high": Param.of(high[node.name], F32),
                    "hist": Param.of(np.minimum(hist[node.name], 2**32 - 1), DType("u", 32)),
                }
                dead = int((high[node.name] <= 0).sum()) if not low[node.name].any() else 0
                record.layer(node.name, high=float(high[node.name].max()), silent_channels=dead)
            else:
                nodes.append(node)
                continue
            if node.name in given:
                coded = replace(op_of(node, Input), levels=given[node.name].levels)
                node = replace(node, operation=coded)
            roles = {**node.params, **{role: f"{node.name}.{role}" for role in statistics}}
            nodes.append(replace(node, params=roles))
            params.update({f"{node.name}.{role}": param for role, param in statistics.items()})
        record.note(f"observed {len(acts)} activations on {samples} samples")
        graph = graph.with_nodes(nodes, params)
        if given:  # from here on the network reads what its own quantisers made of the data
            context.calib = {
                node.name: as_quantised(graph, node, np.asarray(calib[node.name]))
                for node in graph.inputs
            }
        return graph


def _values(
    graph: Graph, feeds: Feeds, wanted: dict[str, Array]
) -> Iterator[tuple[int, str, Array]]:
    """The wanted activations of all samples, block by block, with the samples done so far."""
    total = len(next(iter(feeds.values())))
    for start in range(0, total, _BLOCK):
        block = {name: x[start : start + _BLOCK] for name, x in feeds.items()}
        for node, value in evaluate(graph, block):
            if node.name in wanted:
                yield min(start + _BLOCK, total), node.name, value


def _count(hist: Array, value: Array, low: Array, high: Array) -> None:
    channels, bins = hist.shape
    flat = np.moveaxis(value, 1, 0).reshape(channels, -1)
    width = np.where(high > low, high - low, 1.0)[:, None]
    index = ((flat - low[:, None]) * (bins / width)).astype(np.int64)
    index = np.clip(index, 0, bins - 1) + np.arange(channels)[:, None] * bins
    hist += np.bincount(index.reshape(-1), minlength=channels * bins).reshape(channels, bins)


def _input_code(
    graph: Graph, node: Node, calib: Feeds, context: Context, record: Record, given: Code | None
) -> dict[str, Param]:
    """Scale and offset of an input: given by the model, or per channel where these differ."""
    x = np.asarray(calib[node.name])
    if op_of(node, Input).timed:  # a code holds single frames
        x = x.reshape(-1, *node.type.shape)
    if not np.isfinite(x).all():
        raise InvalidData(f"calibration data of '{node.loc}' hold NaN or infinite values")
    levels = context.spec.input_bits
    top = (1 << levels) - 1
    if given is not None:
        scale, offset = np.array(given.scale), np.array(given.offset)
        what = "the range of its quantiser"
    elif x.min() >= 0 and x.max() <= 1:
        scale, offset, what = np.array(1 / top), np.array(0.0), "the range 0..1"
    elif (x == np.rint(x)).all() and (first := _first_integer(x, top)) is not None:
        scale, offset, what = np.array(1.0), np.array(first), f"integers {first:g}..{first + top:g}"
    else:
        channels = input_channels(graph, node)
        low, high = with_margin(*channel_ranges(x.astype(np.float64), channels), channels, len(x))
        varied = high > low
        usual = np.median((high - low)[varied]) if varied.any() else 1.0  # of silent elements
        scale = compact(np.where(varied, high - low, usual) / top)
        offset, what = compact(low), "its observed range per channel"
    record.note(f"input '{node.loc or node.name}' is coded in {levels} bits over {what}")
    return {"scale": Param.of(scale, F64), "offset": Param.of(offset, F64)}


def _first_integer(x: Array, top: int) -> float | None:
    """Where a code of single integers starts: at 0, twice as low as seen, or as low, if any fits.

    Rounding to another grid could move an integer to either side of a threshold at 0.
    """
    low = float(x.min())
    for first in (0.0, max(2 * low, -float(top // 2 + 1)), low):
        if first <= low and x.max() <= first + top:
            return first
    return None
