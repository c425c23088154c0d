"""What prints synapses that slide along rows: a spike is added to all results that it reaches.

A window gathers the spikes of its places, so neighbouring windows find the same spike again and
again. Here the sums of a stretch of a row are kept, all steps of it; a spike is found once for
each row of the kernel, and adds the weights of all taps of that row, which lie side by side.
"""

from __future__ import annotations

import math

import numpy as np

from spikec.backends.c.layout import CType, SpikeLayout
from spikec.backends.c.network import LONGEST, Lanes, Network, Stretch
from spikec.backends.c.terms import SynapsePrinter, merged
from spikec.backends.c.writer import Code, add, flat, mul
from spikec.backends.lowering.records import Integers, Layer, Spikes, Term

ROOM = 9216
"""Bytes of the sums of a stretch, at most."""
REGISTERS = 6
"""Sums that are held at once, for each lane of the target."""


def slides(term: Term) -> bool:
    """Whether a spike reaches results side by side along the last axis."""
    last = term.axes[-1]
    return merged(term) and not term.channelwise and last.taps > 1 and last.stride == 1


def stretch_of(layer: Layer, block: int, steps: int, size: int) -> Stretch | None:
    """The longest stretch that has room; None where nothing slides or its ends exceed the rest.

    Args:
        layer: What is computed.
        block: Channels that are computed at once.
        steps: Time steps.
        size: Bytes of a sum.
    """
    terms, width = tuple(term for term in layer.terms if slides(term)), layer.result.space[-1]
    if not terms:
        return None
    axes, places = [term.axes[-1] for term in terms], ROOM // (steps * block * size)
    before = max(0, *(axis.taps - 1 - axis.pad for axis in axes))
    behind = max(0, *(axis.inputs + axis.pad - width for axis in axes))
    if before + width + behind <= places:
        return Stretch(terms, width, before, behind)
    ends = max(axis.taps - 1 for axis in axes)
    fits = [n for n in range(ends + 1, width) if width % n == 0 and n + 2 * ends <= places]
    return Stretch(terms, max(fits), ends, ends) if fits else None


def print_slide(
    code: Code, network: Network, lanes: Lanes, term: Term, stretch: Stretch, type_: CType
) -> None:
    """Add what a synapse sends in all steps to the sums of a stretch."""
    _Slide(code, network, lanes, term, "", type_).slide(stretch)


class _Slide(SynapsePrinter):
    """One synapse that slides.

    The spikes of a place and step that a kernel sees lie in words: one for all rows of the kernel
    if they have room, else for some of them, or for a part of the channels. Some steps are added
    in one loop, as processors guess wrong where a loop ends; a step without spikes left adds zeros
    then, which follow the weights of each word.
    """

    def slide(self, stretch: Stretch) -> None:
        code, last = self.code, self.term.axes[-1]
        self.describe()
        begin, reach = self.lanes.begin, stretch.length + last.taps - 1 - last.pad
        if begin == "0":
            first, end = str(max(0, -last.pad)), str(min(last.inputs, reach))
        else:
            first, end = add(begin, -last.pad), add(begin, reach)
            first = f"({first} < 0 ? 0 : {first})"
            end = f"({end} > {last.inputs} ? {last.inputs} : {end})"
        past = "" if begin == "0" else f" - {begin}"
        column = add(f"i{past}", last.pad + stretch.before - (last.taps - 1))
        with code.block(), code.block(f"for (int i = {first}; i < {end}; ++i)"):
            self._read_words()
            self._add_words(mul(column, self.lanes.block))

    @property
    def _outer(self) -> list[int]:
        """Taps of the outer axes."""
        return [axis.taps for axis in self.term.axes[:-1]]

    @property
    def _size(self) -> int:
        """Weights that a spike adds."""
        return self.term.axes[-1].taps * self.lanes.block

    @property
    def _most(self) -> int:
        """Bits that are read at once, at most."""
        return LONGEST if self.term.source.channels % 8 == 0 else LONGEST - 8

    @property
    def _packed(self) -> int:
        """Outer taps whose spikes share a word."""
        return max(1, self._most // self.term.source.channels)

    @property
    def _words(self) -> int:
        """Words of an outer tap, more than one if its channels have no room in one."""
        return -(-self.term.source.channels // self._most)

    @property
    def _total(self) -> int:
        """Words of a place and step."""
        return -(-math.prod(self._outer) // self._packed) * self._words

    @property
    def _rows(self) -> int:
        """Bits of a word, and rows of weights."""
        if self._words > 1:
            return self._most
        return min(self._packed, math.prod(self._outer)) * self.term.source.channels

    def _together(self, steps: int) -> int:
        """Steps that are added in one loop."""
        most = max(1, REGISTERS * self.network.lanes // self._size)
        return max(n for n in range(1, steps + 1) if steps % n == 0 and n <= most)

    @property
    def _held(self) -> bool:
        """Whether registers hold sums while spikes are added."""
        return self.network.lanes > 1

    @property
    def _stride(self) -> int:
        """Rows of weights of a word, with zeros where some steps are added in one loop."""
        return self._rows + (self._together(self.network.plan.steps) > 1)

    @property
    def _length(self) -> int:
        """Rows of weights of a block."""
        together = self._stride > self._rows
        rows = self._total * self._stride
        return rows if together or self._words > 1 else math.prod(self._outer) * self.term.inputs

    def _read_words(self) -> None:
        code, source, step, channels = self.code, self.source, self.step, self.term.inputs
        assert isinstance(source, SpikeLayout)
        coding = self.term.source.coding
        assert isinstance(coding, Spikes)
        read = "network_bytes" if channels % 8 == 0 else "network_bits"
        size = f"[{len(coding.payloads)}][{self.network.steps}][{self._total}]"
        code.line(f"network_word words{size} = {{{{{{0}}}}}};")
        with self.outer(), code.loop(step, self.network.steps):
            tap = flat([self.tap(n) for n in range(len(self._outer))], tuple(self._outer))
            word, place = (tap, "0") if self._packed == 1 else ("0", tap)
            if self._packed > 1 and self._total > 1:
                word, place = f"({tap}) / {self._packed}", f"({tap}) % {self._packed}"
            shift = "" if place == "0" else f" << ({mul(place, channels)})"
            for plane in self.each_plane(coding):
                bits, first = self.string(source, plane), mul("i", channels)
                if self._words == 1:
                    value = f"{read}({bits}, {first}, {channels}){shift}"
                    code.line(f"words[{plane}][{step}][{word}] |= {value};")
                    continue
                with code.loop("w", self._words):
                    part = f"w * {self._most}"
                    value = f"{read}({bits}, {add(first, part)}, {channels} - {part})"
                    at = add(mul(tap, self._words), "w")
                    code.line(f"words[{plane}][{step}][{at}] = {value};")

    def _add_words(self, column: str) -> None:
        code, coding, steps = self.code, self.term.source.coding, self.network.steps
        assert isinstance(coding, Spikes)
        count, group = self._together(steps), "g" if self._total > 1 else "0"
        weights, parts = self._taps_together(), range(count)
        constant = self.network.constants[weights]
        type_, stride = constant.declared, constant.stride
        block = "block" if self.lanes.blocks > 1 else "0"
        rows = add(mul(block, self._length), mul(group, self._stride))
        rows = add(weights, mul(rows, stride))
        with code.loop(self.step, steps, count):
            sums = [add(f"sums[{add(self.step, n)}]", column) for n in parts]
            for n in parts:
                if not self._held:
                    code.line(f"{self.type} *const part{n} = {sums[n]};")
                    continue
                code.line(f"{self.type} part{n}[{self._size}];")
                code.line(f"memcpy(part{n}, {sums[n]}, sizeof part{n});")
            for plane, factor in self.planes(coding):
                with code.loop(group, self._total):
                    code.line(f"const {type_} *const rows = {rows};")
                    for n in parts:
                        word = f"words[{plane}][{add(self.step, n)}][{group}]"
                        code.line(f"network_word left{n} = {word};")
                    with code.block(f"while ({' | '.join(f'left{n}' for n in parts)})"):
                        for n in parts:
                            row = mul(self._lowest(f"left{n}", count), stride)
                            code.line(f"const {type_} *const row{n} = rows + {row};")
                            code.line(f"left{n} &= left{n} - 1;")
                        for n in parts:
                            for at, weight in self.row_of(constant, f"row{n}"):
                                self.assign(weight, factor, f"[{at}]", f"part{n}")
            for n in parts if self._held else ():
                code.line(f"memcpy({sums[n]}, part{n}, sizeof part{n});")

    def _lowest(self, word: str, count: int) -> str:
        """The number of the next spike; of the row of zeros if there is none."""
        if count == 1:
            return f"network_lowest({word})"
        if self._rows < LONGEST:
            return f"network_lowest({word} | (network_word)1 << {self._rows})"
        return f"({word} ? network_lowest({word}) : {self._rows})"

    def _taps_together(self) -> str:
        """The identifier of the weights (block, word, row, last tap backwards, neuron).

        A row is (outer tap, channel).
        """
        term, block = self.term, self.lanes.block
        w = term.weights
        assert w is not None
        taps, blocks = math.prod(self._outer), self.lanes.blocks
        parts = w.reshape(blocks, block, term.inputs, taps, -1)[..., ::-1]
        parts = parts.transpose(0, 3, 2, 4, 1).reshape(blocks, taps, term.inputs, self._size)
        if self._words > 1:
            parts = _longer(parts, 2, self._words * self._rows)
        parts = parts.reshape(blocks, -1, self._size)
        parts = _longer(parts, 1, self._total * self._rows)
        parts = parts.reshape(blocks, self._total, self._rows, self._size)
        parts = _longer(parts, 2, self._stride).reshape(blocks, -1, self._size)
        parts = parts[:, : self._length]
        order = "block, word, row (outer tap, channel), last tap backwards, neuron"
        comment = f"weights of {term.name}: {order}"
        return self.network.rows(f"{term.name}.w", parts, comment)


def _longer(values: Integers, axis: int, size: int) -> Integers:
    """Values with zeros behind them along an axis."""
    behind = [(0, size - values.shape[n] if n == axis else 0) for n in range(values.ndim)]
    return np.pad(values, behind)
