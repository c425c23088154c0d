"""What each module of the library is told: its parameters, and words of its memories."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from spikec.backends.lowering.records import doubles, gathers
from spikec.backends.verilog.cells import RULES, Constants, cell_of
from spikec.backends.verilog.engines import (
    LayerEngine,
    PoolEngine,
    ReorderEngine,
)
from spikec.backends.verilog.streams import Stream, hex_words
from spikec.backends.verilog.windows import Window
from spikec.backends.verilog.writer import bits_of, packed

Parameters = dict[str, "int | str"]


def of_window(window: Window, element: int) -> Parameters:
    """Parameters of a `window`."""
    bits = place_bits(window)
    axes, pitches = window.axes[::-1], window.pitches[::-1]  # the last axis is the fastest

    def listed(part: Callable[[int], int]) -> str:
        return packed([part(n) for n in range(len(axes))], bits)

    return {
        "ELEMENT": element,
        "LANES": window.walk.lanes,
        "RING": window.ring,
        "WIDTH": bits,
        "AXES": len(axes),
        "OUTPUTS": listed(lambda n: axes[n].outputs),
        "TAPS": listed(lambda n: axes[n].taps),
        "STRIDES": listed(lambda n: axes[n].stride),
        "DILATIONS": listed(lambda n: axes[n].dilation),
        "PADS": listed(lambda n: axes[n].pad),
        "INPUTS": listed(lambda n: axes[n].inputs),
        "UPS": listed(lambda n: axes[n].up),
        "PITCHES": packed(pitches, bits),
        "STRIDE_PITCHES": listed(lambda n: axes[n].stride * pitches[n]),
        "TAP_PITCHES": listed(lambda n: axes[n].dilation * pitches[n]),
        "FREES": window.frees,
        "BLOCKS": window.walk.blocks,
        "REPEATS": window.walk.repeats,
        "BEATS": window.walk.beats,
        "FRAME": window.frame,
    }


def of_adapt(lanes: int, stream: Stream, out: Stream) -> Parameters:
    """Parameters of an `adapt`."""
    return {
        "LANES": lanes,
        "STEPS": stream.steps,
        "BITS": stream.bits,
        "SIGNED": int(stream.signed),
        "OUT_STEPS": out.steps,
        "OUT_BITS": out.bits,
    }


def of_sums(engine: LayerEngine) -> Parameters:
    """Parameters of `sums`, but for its memory."""
    fold, sent = engine.fold, engine.sent
    return {
        "OUTPUTS": fold.outputs,
        "INPUTS": fold.inputs,
        "DIAGONAL": int(fold.diagonal),
        "STEPS": sent.steps,
        "BITS": sent.bits,
        "SIGNED": int(sent.signed),
        "POWERS": int(sent.powers),
        "WEIGHT": engine.weight_bits,
        "SUM": engine.stage.sum.bits,
        "BEATS": engine.beats,
    }


def of_neurons(engine: LayerEngine, constants: Constants) -> Parameters:
    """Parameters of `neurons`, but for its constants."""
    stage, out = engine.stage, engine.out
    cell = cell_of(stage.rule, out)
    bias, start, theta, level = constants.bits
    reach = max(stage.state.bits, stage.sum.bits, bias, start, out.bits)
    wide = max(reach, theta + cell.shift, level + cell.shift) + 2
    parameters: Parameters = {
        "NEURONS": engine.fold.outputs,
        "UNITS": engine.fold.units,
        "STEPS": out.steps,
        "SUM_STEPS": engine.sent.steps,
        "SUM": stage.sum.bits,
        "STATE": stage.state.bits,
        "WIDE": wide,
        "NET": max((out.steps * cell.high).bit_length() + 1, out.bits + 1),
        "OUT": out.bits,
        "RULE": f"{RULES.index(cell.rule)} /* {cell.rule} */",
        "GATHERS": int(gathers(stage.rule)),
        "DOUBLES": int(doubles(stage.rule)),
        "FREE": int(cell.free),
        "LEVELS": cell.levels,
        "LOW": cell.low,
        "HIGH": cell.high,
        "BIAS": bias,
        "START": start,
        "THETA": theta,
        "LEVEL": level,
    }
    if stage.limits is not None:
        ends = (stage.limits.low, stage.limits.high)
        lowest, highest = (f"{wide}'d{end & ((1 << wide) - 1)}" for end in ends)
        parameters |= {"LIMITED": 1, "LOWEST": lowest, "HIGHEST": highest}
    return parameters


def of_pool(engine: PoolEngine) -> Parameters:
    """Parameters of a `max_pool`."""
    return {
        "STEPS": engine.sent.steps,
        "BITS": engine.sent.bits,
        "SIGNED": int(engine.sent.signed),
        "RADIX": int(engine.stage.radix),
        "STATE": pool_bits(engine),
        "OUT": engine.out.bits,
        "TAPS": engine.window.taps,
    }


def of_reorder(engine: ReorderEngine) -> Parameters:
    """Parameters of a `reorder`, but for its table."""
    bits, table = _position_bits(engine), engine.table
    return {
        "ELEMENT": engine.out.element,
        "SOURCES": len(engine.edges),
        "SELECT": bits_of(len(engine.edges)),
        "RING": engine.ring,
        "WIDTH": bits,
        "PERIODS": table.periods,
        "STEPS": packed(table.steps, bits),
        "LAGS": packed(table.lags, bits),
        "FRAMES": packed([edge.source.size for edge in engine.edges], bits),
    }


def table_words(engine: ReorderEngine) -> str:
    """Entries of a table: whether an element is not 0, its source and its position there."""
    bits, select = _position_bits(engine), bits_of(len(engine.edges))
    source, position = engine.table.source, engine.table.position
    filled = source >= 0
    words = filled.astype(np.int64) << (select + bits) | np.maximum(source, 0) << bits
    words |= np.where(filled, position, 0) & ((1 << bits) - 1)
    return hex_words(words[:, None], 1 + select + bits)


def _position_bits(engine: ReorderEngine) -> int:
    reach = sum(edge.source.size for edge in engine.edges) + (2 << engine.ring)
    return reach.bit_length() + 2


def data_bits(bits: int) -> int:
    """Bits of TDATA: whole bytes."""
    return -(-bits // 8) * 8


def probe_file(name: str) -> str:
    """Where a simulation writes a layer's spikes and potentials."""
    return f"probe_{name}.txt"


def pool_bits(engine: PoolEngine) -> int:
    """Bits of net sums, and of a number below all of them."""
    return max(engine.stage.state.bits + 1, engine.sent.bits + 1)


def place_bits(window: Window) -> int:
    """Bits of places and positions in the stream of a window."""
    reach = window.frame + (2 << window.ring)
    for axis, pitch in zip(window.axes, window.pitches, strict=True):
        far = (axis.outputs - 1) * axis.stride + (axis.taps - 1) * axis.dilation + abs(axis.pad)
        reach += far * pitch
    limits = [window.walk.blocks, window.walk.repeats, window.walk.beats]
    limits += [n for axis in window.axes for n in (axis.outputs, axis.taps, axis.inputs)]
    return max(reach, *limits).bit_length() + 2
