"""Figures of a design: memory, and what of a device it takes, about."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from spikec.backends.lowering.records import doubles
from spikec.backends.verilog.cells import cell_of, constants_of
from spikec.backends.verilog.design import Design
from spikec.backends.verilog.devices import DEVICES, DeviceName
from spikec.backends.verilog.engines import (
    Engine,
    LayerEngine,
    PoolEngine,
    ReorderEngine,
)
from spikec.backends.verilog.windows import Window
from spikec.ir import BackendError

BLOCK = 18 * 1024
"""Bits of a block memory."""
SMALL = 2048
"""Bits of a memory up to which synthesis takes look-up tables, about."""


@dataclass(slots=True)
class Need:
    """What a part of the hardware takes.

    Attributes:
        luts: Look-up tables of 4 inputs.
        registers: Flip-flops.
        blocks: Block memories of 18 kbit.
        multipliers: DSP slices.
        memory: Bits of memory, constants included.
    """

    luts: int = 0
    registers: int = 0
    blocks: int = 0
    multipliers: int = 0
    memory: int = 0

    def __iadd__(self, other: Need) -> Need:
        self.luts += other.luts
        self.registers += other.registers
        self.blocks += other.blocks
        self.multipliers += other.multipliers
        self.memory += other.memory
        return self


@dataclass(frozen=True, slots=True)
class EngineFigures:
    """One layer's hardware.

    Attributes:
        layer: Its node.
        cycles: For a sample.
        fold: Neurons and channels at once, and neurons that are scanned together; empty of what
            only moves elements.
        rings: Words of the ring of each source, and bits of a word.
        need: What it takes.
    """

    layer: str
    cycles: int
    fold: Mapping[str, int]
    rings: tuple[tuple[int, int], ...]
    need: Need = field(default_factory=Need)


def figures(design: Design) -> list[EngineFigures]:
    """The hardware of all engines."""
    return [_figures(engine) for engine in design.engines]


def total(rows: list[EngineFigures]) -> Need:
    """What all engines take."""
    every = Need()
    for row in rows:
        every += row.need
    return every


def check_device(rows: list[EngineFigures], name: DeviceName) -> None:
    """Raise BackendError where the engines need more than a device has, with the largest layer."""
    device, need = DEVICES[name], total(rows)
    for what, held in (
        ("luts", device.luts),
        ("registers", device.registers),
        ("blocks", device.blocks),
        ("multipliers", device.multipliers),
    ):
        if getattr(need, what) > held:
            largest = max(rows, key=lambda row: int(getattr(row.need, what)))
            raise BackendError(
                f"the network needs about {getattr(need, what)} {what} ({BLOCK // 1024} kbit a "
                f"block), {name} has {held}; %{largest.layer} needs {getattr(largest.need, what)}",
                hint="a larger device, or a larger cycles=... where luts are too many",
            )


def _figures(engine: Engine) -> EngineFigures:
    stage = engine.stage
    cycles = engine.pixel_cycles * stage.result.positions
    match engine:
        case LayerEngine():
            fold = engine.fold
            folded = {
                "neurons": fold.outputs,
                "channels": 1 if fold.diagonal else fold.inputs,
                "scanned": fold.units,
            }
            rings = tuple(
                _ring(w, s.element) for w, s in zip(engine.windows, engine.inputs, strict=True)
            )
            return EngineFigures(stage.result.name, cycles, folded, rings, _layer(engine))
        case PoolEngine():
            rings = (_ring(engine.window, engine.sent.element),)
            return EngineFigures(stage.result.name, cycles, {}, rings, _pool(engine))
        case ReorderEngine():
            word = (1 << engine.ring, engine.out.element)
            rings = tuple(word for _ in engine.edges)
            return EngineFigures(stage.result.name, cycles, {}, rings, _reorder(engine))


def _ring(window: Window, element: int) -> tuple[int, int]:
    return 1 << window.ring, window.walk.lanes * element


def _memory(words: int, bits: int) -> Need:
    """A memory; a block holds up to 36 bits side by side."""
    size = words * bits
    if size <= SMALL or words <= 16:
        return Need(luts=-(-size // 16), memory=size)
    widest = max(w for w in (1, 2, 4, 9, 18, 36) if BLOCK // max(w, 1) >= min(words, BLOCK))
    deep = -(-words // (BLOCK // 36 if widest == 36 else BLOCK // widest))
    return Need(blocks=math.ceil(bits / widest) * max(deep, 1), memory=size)


def _window(window: Window, element: int) -> Need:
    words, bits = _ring(window, element)
    place = 2 + window.frame.bit_length()
    need = Need(luts=16 * place * len(window.axes), registers=9 * place + bits)
    need += _memory(words, bits)
    return need


def _layer(engine: LayerEngine) -> Need:
    stage, fold, sent = engine.stage, engine.fold, engine.sent
    need = Need()
    for window, stream in zip(engine.windows, engine.inputs, strict=True):
        need += _window(window, stream.element)
    lanes = fold.outputs * sent.steps
    rows = 1 if fold.diagonal else fold.inputs
    products = fold.outputs * rows * sent.steps
    width = stage.sum.bits
    multiplied = sent.bits > 1 and not sent.powers
    need += Need(
        luts=products * (engine.weight_bits if not multiplied else 0)
        + products * min(width, engine.weight_bits + 3)
        + lanes * width * 3,
        registers=4 * lanes * width + fold.inputs * sent.element,
        multipliers=products if multiplied else 0,
    )
    if engine.weight_words:
        need += _memory(engine.weight_words, fold.outputs * rows * engine.weight_bits)
    constants = constants_of(stage)
    if not constants.same:
        words = max(len(f) for f in constants.fields) // fold.units
        need += _memory(words, fold.units * sum(constants.bits))
    cell = cell_of(stage.rule, engine.out)
    levels = {"integer": 3 * engine.out.bits, "powers": 5 * cell.levels}.get(cell.rule, 5)
    state = stage.state.bits
    need += Need(
        luts=fold.units * state * (levels + doubles(stage.rule)),
        registers=fold.units * (state + 2 * engine.out.element + 8),
        multipliers=fold.units if cell.rule == "integer" else 0,
    )
    return need


def _pool(engine: PoolEngine) -> Need:
    need = _window(engine.window, engine.sent.element)
    state = (engine.stage.state.bits + 1) * engine.sent.steps
    need += Need(luts=5 * state, registers=2 * state + engine.out.element)
    return need


def _reorder(engine: ReorderEngine) -> Need:
    need = Need()
    for edge in engine.edges:
        bits = 2 + edge.source.size.bit_length()
        need += Need(luts=6 * bits, registers=4 * bits)
        need += _memory(1 << engine.ring, engine.out.element)
    need += _memory(len(engine.table.source), 4 + engine.ring)
    return need


def rows_of(rows: list[EngineFigures]) -> Iterator[str]:
    """Lines of a table."""
    for row in rows:
        fold = " x ".join(str(row.fold[key]) for key in row.fold) or "-"
        rings = ", ".join(f"{words} x {bits}" for words, bits in row.rings)
        need = row.need
        yield (
            f"| {row.layer} | {row.cycles:,} | {fold} | {rings} | {need.memory:,} | "
            f"{need.luts:,} | {need.registers:,} | {need.blocks} | {need.multipliers} |"
        )
