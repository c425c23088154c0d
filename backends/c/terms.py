"""What prints a synapse: how its events reach the sums of a layer's neurons."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np

from spikec.backends.c.layout import CType, NumberLayout, SpikeLayout
from spikec.backends.c.network import Constant, Lanes, Network
from spikec.backends.c.writer import Code, add, flat, mul
from spikec.backends.lowering.records import Axis, Spikes, Term

UNROLLED = 2
"""Planes that are printed one after the other; more of them are looped over."""
AHEAD = 4
"""Words of bits of a plane that are read before the events of any are added.

Where a word ends, processors guess wrong; the next one is then at hand.
"""


def merged(term: Term) -> bool:
    """Whether a window reads one run of bits in each row: all channels of neighbouring places."""
    last = term.axes[-1]
    spiking = isinstance(term.source.coding, Spikes)
    return spiking and term.groups == 1 and last.dilation == last.up == 1


def may_widen(term: Term) -> bool:
    """Whether sums of neighbouring neurons can be computed from one wider window."""
    if term.channelwise or not isinstance(term.source.coding, Spikes):
        return True
    return merged(term) and term.axes[-1].stride == 1


def print_term(
    code: Code, network: Network, lanes: Lanes, term: Term, into: str, type_: CType
) -> None:
    """Add what a synapse sends to sums.

    Args:
        code: Where to print.
        network: What is printed.
        lanes: The neurons.
        term: The synapse.
        into: The expression of their sums, with {} for the step unless the source is constant.
        type_: Of the sums.
    """
    SynapsePrinter(code, network, lanes, term, into, type_).print()


class SynapsePrinter:
    """One synapse of a layer being printed."""

    def __init__(
        self, code: Code, network: Network, lanes: Lanes, term: Term, into: str, type_: CType
    ) -> None:
        self.code, self.network, self.lanes, self.term = code, network, lanes, term
        self.type = type_
        self.source = network.layout(term.source)
        self.pointer = network.pointer(term.source)
        self.reach = lanes.pixels - 1
        self.step = network.step if term.source.timed else "0"
        self.slot = network.schedule.slot(self.source.steps)
        self.into = into.format(self.step)
        self.places = [
            "0" if axis.outputs == 1 else lanes.places[number]
            for number, axis in enumerate(term.axes)
        ]

    def print(self) -> None:
        term, code = self.term, self.code
        self.describe()
        with code.block():
            if isinstance(self.source, NumberLayout):
                with code.loop(self.step, self.network.steps):
                    self._of_numbers(self.source)
            elif term.channelwise:
                self._channelwise(self.source)
            else:
                self._events(self.source)

    def describe(self) -> None:
        """Say what is added."""
        term = self.term
        kernel = " x ".join(str(axis.taps) for axis in term.axes)
        self.code.comment(
            f"{term.name}: {term.outputs} x {term.inputs} x {kernel}, from {term.source.name}"
        )

    # Sums over all channels

    def _weights(self, pixels: int = 1) -> str:
        """The identifier of the weights (block, outer taps, row, pixel, neuron of the block).

        Rows follow the bits of a window: (last tap, channel). The window of several pixels is
        wider; a row holds 0 for those pixels that do not read it.
        """
        term, block = self.term, self.lanes.block
        w = term.weights
        assert w is not None
        *outer, last = (axis.taps for axis in term.axes)
        parts = w.reshape(term.outputs // block, block, term.inputs, math.prod(outer), last)
        rows = parts.transpose(0, 3, 4, 2, 1).reshape(len(parts), math.prod(outer), -1, block)
        step, name = term.inputs, f"{term.name}.w"
        shifted = [
            np.pad(rows, ((0, 0), (0, 0), (p * step, (pixels - 1 - p) * step), (0, 0)))
            for p in range(pixels)
        ]
        order = "block, outer tap, row (last tap, channel), "
        order += "neuron" if pixels == 1 else f"neuron of {pixels} neighbours"
        wide = np.stack(shifted, axis=-2).reshape(len(parts), -1, pixels * block)
        comment = f"weights of {term.name}: {order}"
        return self.network.rows(name, wide, comment)

    def _row(self, rows: int, *skipped: str | int) -> str:
        """The number of the row `skipped` of this block and these taps."""
        *outer, _ = self.term.axes
        place = "block" if self.lanes.blocks > 1 else "0"
        sizes = tuple(axis.taps for axis in outer)
        indices = [self.tap(number) for number in range(len(outer))]
        position = flat([place, *indices], (self.lanes.blocks, *sizes))
        return add(mul(position, rows), *skipped)

    def _group(self) -> str:
        """The first source channel of the block's group."""
        if self.term.groups == 1:
            return "0"
        outputs = self.term.outputs // self.term.groups
        group = self.lanes.first if outputs == 1 else f"{self.lanes.first} / {outputs}"
        return mul(group, self.term.inputs)

    def _events(self, source: SpikeLayout) -> None:
        term, code, channels = self.term, self.code, source.channels
        last = len(term.axes) - 1
        if not merged(term):
            rows = term.axes[-1].taps * term.inputs
            with self.outer(), self._taps(last) as place:
                bit = add(mul(place, channels), self._group())
                skip = mul(self.tap(last), term.inputs)
                aligned = channels % 8 == 0 and term.inputs % 8 == 0
                self._runs(
                    source, bit, str(term.inputs), aligned, self._weights(), rows, skip, term.inputs
                )
            return
        axis = term.axes[-1]
        span = axis.taps + self.reach
        start = add(mul(self.places[-1], axis.stride), -axis.pad)
        outputs = axis.outputs - self.reach
        inside = axis.pad == 0 and axis.stride * (outputs - 1) + span <= axis.inputs
        aligned, weights = channels % 8 == 0, self._weights(self.lanes.pixels)
        rows = span * channels
        if inside:
            bit, count = mul(start, channels), str(span * channels)
            with self.outer():
                self._runs(source, bit, count, aligned, weights, rows, "0", rows)
            return
        code.line(f"const int start = {start};")
        code.line("const int from = start < 0 ? 0 : start;")
        end = add("start", span)
        code.line(f"const int to = {end} > {axis.inputs} ? {axis.inputs} : {end};")
        with ExitStack() as stack:
            starts = (axis.stride * o - axis.pad for o in range(0, axis.outputs, self.lanes.pixels))
            if any(s + span <= 0 or s >= axis.inputs for s in starts):  # a window of pads alone
                stack.enter_context(code.block("if (from < to)"))
            stack.enter_context(self.outer())
            skip = mul("(from - start)", channels)
            bit, count = mul("from", channels), mul("(to - from)", channels)
            self._runs(source, bit, count, aligned, weights, rows, skip, rows)

    def _runs(
        self,
        source: SpikeLayout,
        bit: str,
        count: str,
        aligned: bool,
        weights: str,
        rows: int,
        skip: str,
        longest: int,
    ) -> None:
        """Add a row of weights for each bit of a run, step by step and plane by plane."""
        code, coding, size = self.code, self.term.source.coding, self.lanes.count
        assert isinstance(coding, Spikes)
        constant = self.network.constants[weights]
        type_, stride = constant.declared, constant.stride
        code.line(
            f"const {type_} *const rows = {add(weights, mul(self._row(rows, skip), stride))};"
        )
        read, width, least = (
            ("network_bytes", "NETWORK_WORD", 32)
            if aligned
            else ("network_bits", "(NETWORK_WORD - 8)", 24)
        )
        single, short = longest <= least, longest <= AHEAD * least
        with code.loop(self.step, self.network.steps), ExitStack() as parts:
            code.line(f"{self.type} part[{size}];")
            code.line(f"memcpy(part, {self.into}, sizeof part);")
            parts.callback(code.line, f"memcpy({self.into}, part, sizeof part);")
            words, start = "1", "0"
            if not single:
                words = f"({longest} + {width} - 1) / {width}" if short else str(AHEAD)
                start = f"w * {width}" if short else f"i + w * {width}"
            if not short:
                loop = f"for (int i = 0; i < {count}; i += {AHEAD} * {width})"
                parts.enter_context(code.block(loop))
            word = "0" if single else "w"
            code.line(f"network_word ahead[{len(coding.payloads)}][{words}];")
            for plane in self.each_plane(coding):
                code.line(f"const uint8_t *const bits = {self.string(source, plane)};")
                with code.loop(word, words):
                    rest = count if single else f"{count} - ({start})"
                    bits = f"{read}(bits, {add(bit, start)}, {rest})"
                    bits = bits if single else f"{start} < {count} ? {bits} : 0"
                    code.line(f"ahead[{plane}][{word}] = {bits};")
            for plane, factor in self.planes(coding):
                with code.loop(word, words):
                    code.line(f"network_word left = ahead[{plane}][{word}];")
                    with code.block("while (left)"):
                        row = mul(add(start, "network_lowest(left)"), stride)
                        code.line(f"const {type_} *const row = rows + {row};")
                        code.line("left &= left - 1;")
                        for at, weight in self.row_of(constant, "row"):
                            self.assign(weight, factor, f"[{at}]", "part")

    # Sums of numbers

    def _of_numbers(self, source: NumberLayout) -> None:
        code, last = self.code, len(self.term.axes) - 1
        with ExitStack() as stack:
            if self.reach:
                stack.enter_context(code.loop("p", self.lanes.pixels))
            stack.enter_context(self.outer())
            place = stack.enter_context(self._taps(last, pixel=bool(self.reach)))
            if self.term.channelwise:
                self._numbers(source, place)
            else:
                self._products(source, place)

    def _products(self, source: NumberLayout, place: str) -> None:
        term, code = self.term, self.code
        weights, last = self._weights(), len(term.axes) - 1
        constant = self.network.constants[weights]
        type_, stride = constant.declared, constant.stride
        row = self._row(term.axes[-1].taps * term.inputs, mul(self.tap(last), term.inputs))
        code.line(f"const {type_} *row = {add(weights, mul(row, stride))};")
        outer = flat([*self._reads(), place], term.source.space)
        with code.loop("c", term.inputs, also=f"row += {stride}"):
            position = add(mul(add("c", self._group()), source.positions), outer)
            step = mul(self.slot, source.elements)
            value = f"({self.type}){self.pointer}[{add(step, position)}]"
            code.line(f"const {self.type} number = {value};")
            with code.block("if (number != 0)"):
                pixel = mul("p", self.lanes.block) if self.reach else "0"
                for at, weight in self.row_of(constant, "row"):
                    self.assign(f"number * {weight}", "+", f"[{add(pixel, at)}]")

    def _numbers(self, source: NumberLayout, place: str) -> None:
        outer = flat([*self._reads(), place], self.term.source.space)
        step = mul(self.slot, source.elements)
        position = add(step, mul(self.lanes.channel, source.positions), outer)
        weight = self._weight()
        with self.code.loop("o", self.lanes.block):
            value = f"{self.pointer}[{position}]"
            if weight is not None:
                value = f"({self.type}){value} * {weight}"
            elif source.type.bits >= 32:
                value = f"({self.type}){value}"
            self.assign(value, "+", f"[{self.lanes.lane}]")

    # Spikes of one channel each

    def _channelwise(self, source: SpikeLayout) -> None:
        code, last = self.code, len(self.term.axes) - 1
        if self.term.pointwise:
            self._seen(source, self.places[-1], self.lanes.count, "[o]")
            return
        with ExitStack() as stack:
            if self.reach:
                stack.enter_context(code.loop("p", self.lanes.pixels))
            stack.enter_context(self.outer())
            place = stack.enter_context(self._taps(last, pixel=bool(self.reach)))
            self._seen(source, place, self.lanes.block, f"[{self.lanes.lane}]")

    def _seen(self, source: SpikeLayout, place: str, count: int, at: str) -> None:
        """Unpack the spikes of `count` lanes and add them up, step by step."""
        code, coding, weight = self.code, self.term.source.coding, self._weight()
        assert isinstance(coding, Spikes)
        bit = add(mul(place, source.channels), self.lanes.first)
        aligned = source.channels % 8 == self.lanes.block % 8 == 0
        unpack = "network_unpack_bytes" if aligned else "network_unpack"
        with code.loop(self.step, self.network.steps):
            for plane, factor in self.planes(coding):
                code.line(f"uint8_t seen[{count}];")
                code.line(f"{unpack}(seen, {self.string(source, plane)}, {bit}, {count});")
                with code.loop("o", count):
                    value = "seen[o]" if weight is None else f"seen[o] * {weight}"
                    self.assign(value, factor, at)

    def _weight(self) -> str | None:
        """The expression of the weight of neuron o of a pixel, or of lane o; None for 1."""
        term, w = self.term, self.term.weights
        if w is None:
            return None
        name, lanes = f"{term.name}.w", self.lanes
        whole = term.pointwise and isinstance(self.source, SpikeLayout)  # all lanes at once
        if term.local:
            by_place = np.moveaxis(w.reshape(len(w), -1), 0, -1)
            comment = f"weights of {term.name}: place, channel"
            weights = self.network.constant(name, by_place, comment)
            place = f"p * {lanes.block}" if self.reach and not whole else "0"
            return f"{weights}[{add(lanes.neuron, place)}]"
        by_tap = w.reshape(len(w), -1).T
        by_tap = lanes.tiled(by_tap) if whole else by_tap
        weights = self.network.constant(name, by_tap, f"weights of {term.name}: tap, channel")
        tap = flat([self.tap(n) for n in range(len(term.axes))], tuple(a.taps for a in term.axes))
        return f"{weights}[{add(mul(tap, term.outputs), lanes.channel)}]"

    # Parts

    def row_of(self, constant: Constant, row: str) -> Iterator[tuple[str, str]]:
        """Loops over a row's weights; yields a weight's place in the sums and its value."""
        if not constant.bits:
            with self.code.loop("o", constant.row):
                yield "o", f"{row}[o]"
            return
        stride, scale = constant.stride, constant.scale
        block = mul("block" if self.lanes.blocks > 1 else "0", constant.row)
        for number, first in enumerate(range(0, constant.row, stride)):
            with self.code.loop("o", min(stride, constant.row - first)):
                bits = f"{number * constant.bits}, {constant.bits}"
                place, weight = add("o", first), f"network_part({row}[o], {bits})"
                yield place, f"{weight} * {scale}[{add(block, place)}]" if scale else weight

    def planes(self, coding: Spikes) -> Iterator[tuple[str, str]]:
        """Open a block for each plane; yields its number and the sign or factor of its events."""
        code, payloads = self.code, coding.payloads
        if len(payloads) <= UNROLLED:
            for plane, payload in enumerate(payloads):
                with code.block():
                    yield str(plane), {1: "+", -1: "-"}.get(payload, f"+ {payload} *")
            return
        table = ", ".join(map(str, payloads))
        code.line(f"static const int16_t payloads[{len(payloads)}] = {{{table}}};")
        with code.loop("q", len(payloads)):
            yield "q", "+ payloads[q] *"

    def each_plane(self, coding: Spikes) -> Iterator[str]:
        """Open a block for each plane; yields its number."""
        if len(coding.payloads) > UNROLLED:
            with self.code.loop("q", len(coding.payloads)):
                yield "q"
            return
        for plane in range(len(coding.payloads)):
            with self.code.block():
                yield str(plane)

    def string(self, source: SpikeLayout, plane: str) -> str:
        """Where the bits of a row, plane and step begin."""
        term = self.term
        row = flat(self._reads(), term.source.space[:-1])
        string = flat([row, plane, self.slot], (source.rows, source.planes, source.steps))
        return add(self.pointer, mul(string, source.row_bytes))

    def assign(self, value: str, factor: str, at: str, into: str | None = None) -> None:
        target = f"{into or self.into}{at}"
        cast = f"({self.type}){value}" if self.type.bits > 32 else value
        self.code.line(f"{target} = ({self.type})({target} {factor} {cast});")

    def tap(self, number: int) -> str:
        return f"k{number}" if self.term.axes[number].taps > 1 else "0"

    def _reads(self) -> list[str]:
        """Where the outer axes are read."""
        return [self._read(number) for number in range(len(self.term.axes) - 1)]

    def _read(self, number: int) -> str:
        """Where an axis is read, as a variable where it is computed."""
        straight = self.term.axes[number].straight
        return self.places[number] if straight else f"i{number}"

    @contextmanager
    def outer(self) -> Iterator[None]:
        """Loops over the taps of the outer axes that lie inside."""
        with ExitStack() as stack:
            for number in range(len(self.term.axes) - 1):
                stack.enter_context(self._taps(number))
            yield

    @contextmanager
    def _taps(self, number: int, pixel: bool = False) -> Iterator[str]:
        """A loop over the taps of an axis that lie inside; yields where it is read."""
        axis, code = self.term.axes[number], self.code
        place = self.places[number]
        with ExitStack() as stack:
            guarded = axis.up > 1 or outside(axis)
            if axis.taps > 1 or guarded:  # a guard leaves the round that it stands in
                stack.enter_context(code.loop(f"k{number}", axis.taps))
            out = add(place, "p") if pixel else place
            if self._read(number) == place:
                yield out
                return
            read = add(mul(out, axis.stride), mul(self.tap(number), axis.dilation), -axis.pad)
            code.line(f"{'' if axis.up > 1 else 'const '}int i{number} = {read};")
            if axis.up > 1:
                code.line(f"if (i{number} % {axis.up} != 0) continue;")
                code.line(f"i{number} /= {axis.up};")
            if outside(axis):
                code.line(f"if (i{number} < 0 || i{number} >= {axis.inputs}) continue;")
            yield f"i{number}"


def outside(axis: Axis) -> bool:
    """Whether a tap may lie outside."""
    highest = axis.stride * (axis.outputs - 1) + axis.dilation * (axis.taps - 1) - axis.pad
    return axis.pad > 0 or highest > (axis.inputs - 1) * axis.up
