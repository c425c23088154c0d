"""What prints a layer: the sums that arrive, then the rule of its neurons."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, ExitStack
from functools import reduce

from spikec.backends.c.functions import print_pack, print_watch, sizes, stage_function
from spikec.backends.c.layout import NumberLayout, SpikeLayout, ctype
from spikec.backends.c.network import LONGEST, Lanes, Network, Stretch, largest_divisor
from spikec.backends.c.rules import (
    RULES,
    Firing,
    begins,
    charged,
    joined,
    over_lanes,
    over_pixels,
    remembers,
    watch,
)
from spikec.backends.c.slide import print_slide, stretch_of
from spikec.backends.c.terms import may_widen, merged, print_term
from spikec.backends.c.writer import Code, add, mul
from spikec.backends.lowering.records import (
    Accumulate,
    Layer,
    Spikes,
    Store,
    Term,
    gathers,
)


def print_layer(code: Code, network: Network, layer: Layer) -> None:
    """Add the function of a layer."""
    _Layer(code, network, layer).print()


def lanes_of(network: Network, layer: Layer) -> Lanes:
    """How many neurons a layer computes at once."""
    result = layer.result
    full = [term for term in layer.terms if not term.channelwise]
    group = reduce(math.gcd, (t.outputs // t.groups for t in full), result.channels)
    divisor = largest_divisor(group)
    block = divisor if divisor >= LONGEST // 4 or group <= LONGEST else group
    stretch = stretch_of(layer, block, network.schedule.plan.steps, ctype(layer.sum, 16).size)
    sliding = stretch.terms if stretch else ()
    length, pixels = stretch.length if stretch else result.space[-1], 1
    others = [term for term in layer.terms if term not in sliding]
    if block == result.channels and all(may_widen(term) for term in others):
        fits = [n for n in range(1, max(1, network.lanes // block) + 1) if length % n == 0]
        read = [term for term in others if not term.channelwise]
        pixels = min(fits, key=lambda n: (sum(_words(term, n) for term in read) / n, -n))
    return Lanes(result, pixels, block, stretch)


def _words(term: Term, pixels: int) -> int:
    """Words of bits that some neighbours read in a row."""
    span = term.axes[-1].taps + pixels - 1
    return -(-span * term.source.channels // LONGEST) if merged(term) else pixels


class _Layer:
    """One layer being printed."""

    def __init__(self, code: Code, network: Network, layer: Layer) -> None:
        self.code, self.network, self.layer = code, network, layer
        self.lanes = lanes_of(network, layer)
        self.sum_type = ctype(layer.sum, 16)
        self.state_type = ctype(layer.state, 16)
        self.firing = Firing(code, network, self.lanes, layer, self.state_type)
        self.number = network.number(layer)

    def print(self) -> None:
        code, layer, lanes = self.code, self.layer, self.lanes
        self._describe()
        with stage_function(code, self.network, layer), ExitStack() as stack:
            if layer.limits is not None:
                code.line("int overflow = 0;")
            for place, size in zip(lanes.places[:-1], layer.result.space[:-1], strict=True):
                stack.enter_context(code.loop(place, size))
            if lanes.stretch is None:
                stack.enter_context(self._pixels("0", layer.result.space[-1]))
            if lanes.blocks > 1:
                stack.enter_context(code.loop("block", lanes.blocks))
                code.line(f"const int first = block * {lanes.block};")
            if lanes.stretch is not None:
                begin, length = lanes.begin, lanes.stretch.length
                stack.enter_context(code.loop(begin, layer.result.space[-1], length))
                self._slide(lanes.stretch)
                stack.enter_context(self._pixels(begin, length))
            self._neurons()
            stack.close()
            if layer.limits is not None:
                code.line("return overflow;")

    def _pixels(self, begin: str, length: int) -> AbstractContextManager[None]:
        """A loop over places along the last axis."""
        place, pixels = self.lanes.places[-1], self.lanes.pixels
        if begin == "0":
            return self.code.loop(place, length, pixels)
        head = f"for (int {place} = {begin}; {place} < {add(begin, length)}; {place} += {pixels})"
        return self.code.block(head)

    def _slide(self, stretch: Stretch) -> None:
        """Add up what slides along a stretch."""
        size = stretch.places * self.lanes.block
        self.code.line(f"{self.sum_type} sums[{self.network.steps}][{size}];")
        self.code.line("memset(sums, 0, sizeof sums);")
        for term in stretch.terms:
            print_slide(self.code, self.network, self.lanes, term, stretch, self.sum_type)

    def _describe(self) -> None:
        layer = self.layer
        kind = type(layer.rule).__name__
        lines = [f"{layer.result.name}: {kind}, {sizes(layer.result)}"]
        lines[0] += f", from {layer.loc}" if layer.loc else ""
        lines.append(f"sums {layer.sum.low} to {layer.sum.high} in {self.sum_type}")
        if not isinstance(layer.rule, Store):
            lines.append(f"potentials {layer.state.low} to {layer.state.high} in {self.state_type}")
        if layer.limits is not None:
            lines.append(
                f"not proven to stay in {layer.limits.low} to {layer.limits.high}: checked"
            )
        self.code.comment(*lines)

    def _neurons(self) -> None:
        """All steps of the neurons that are computed at once."""
        code, layer, rule = self.code, self.layer, self.layer.rule
        constant = [term for term in layer.terms if not term.source.timed]
        timed = [term for term in layer.terms if term.source.timed]
        bias = self.firing.constant("bias", layer.bias)
        if constant:
            code.line(f"{self.sum_type} base[{self.lanes.count}];")
            with over_lanes(code, self.lanes):
                code.line(f"base[o] = {bias};")
            for term in constant:
                print_term(code, self.network, self.lanes, term, "base", self.sum_type)
            bias = "base[o]"
        stretch, first = self.lanes.stretch, bias
        into = "sum[{}]" if stretch is None else "(sums[{}] + at)"
        summed = f"{into.format(self.network.step)}[o]"
        if stretch is not None:
            self._point(stretch)
            first = f"({self.sum_type})({summed} + {bias})"
        elif timed:
            code.line(f"{self.sum_type} sum[{self.network.steps}][{self.lanes.count}];")
            first = summed
            with self._steps(), over_lanes(code, self.lanes):
                code.line(f"{first} = {bias};")
        for term in timed:
            if stretch is None or term not in stretch.terms:
                print_term(code, self.network, self.lanes, term, into, self.sum_type)
        arriving = first.replace("[o]", "[{lane}]").replace("[o +", "[{lane} +")
        if isinstance(rule, Store):
            self._store(arriving)
            return
        self._begin()
        arriving = arriving.format(lane="o")
        if gathers(rule):
            with self._steps(), over_lanes(code, self.lanes):
                self._integrate(arriving)
            self._window()
            return
        if isinstance(rule, Accumulate):
            with self._steps():
                with over_lanes(code, self.lanes):
                    self._integrate(arriving)
                    watch(self.firing)
                if layer.result.name in self.network.memory.offsets:
                    self._write("v[{lane}]")
                self._trace()
        else:
            with self._steps():
                with over_lanes(code, self.lanes):
                    self._integrate(arriving)
                self._fire()
        self._end()

    def _point(self, stretch: Stretch) -> None:
        """Where the sums of these neurons lie in a stretch."""
        past = "" if self.lanes.begin == "0" else f" - {self.lanes.begin}"
        column = add(f"{self.lanes.places[-1]}{past}", stretch.before)
        self.code.line(f"const int at = {mul(column, self.lanes.block)};")

    def _window(self) -> None:
        """Fire in all steps, after the last one of them arrived."""
        schedule = self.network.schedule
        if not schedule.stepping:
            joined(self.firing)
            with self._steps():
                self._fire()
            return
        self._end()
        last = f"if (step == {self.network.plan.steps - 1})"
        with self.code.block(last), schedule.all_steps():
            joined(self.firing)
            with self._steps():
                self._fire()

    def _steps(self) -> AbstractContextManager[None]:
        if self.network.steps > 1:
            return self.code.loop("t", self.network.steps)
        return self.code.block()

    def _kept(self) -> list[tuple[str, str]]:
        """What neurons hold from step to step, and what it begins with."""
        kept = [("v", begins(self.firing))]
        return kept + ([("net", "0")] if remembers(self.layer.rule) else [])

    def _begin(self) -> None:
        code, name = self.code, self.network.names[self.layer.result.name]
        for variable, value in self._kept():
            code.line(f"{self.state_type} {variable}[{self.lanes.count}];")
            with over_lanes(code, self.lanes):
                if self.network.schedule.stepping:
                    state = f"{name}_{variable}"
                    self.network.states[state] = (self.state_type, self.layer.result.size)
                    value = f"step ? {state}[{self.lanes.neuron}] : {value}"
                code.line(f"{variable}[o] = {value};")

    def _end(self) -> None:
        code, name = self.code, self.network.names[self.layer.result.name]
        if self.network.schedule.stepping:
            for variable, _ in self._kept():
                with over_lanes(code, self.lanes):
                    state = f"{name}_{variable}[{self.lanes.neuron}]"
                    code.line(f"{state} = {variable}[o];")
        if self.layer.result.name in self.network.plan.outputs:
            with over_pixels(code, self.lanes):
                code.line(f"{name}[{self.lanes.number}] = v[{self.lanes.lane}];")

    def _integrate(self, arriving: str) -> None:
        held = charged(self.layer.rule)
        self.code.line(f"v[o] = ({self.state_type})({held} + {arriving});")

    def _fire(self) -> None:
        code, layer, lanes = self.code, self.layer, self.lanes
        coding, layout = layer.result.coding, self.network.layout(layer.result)
        assert isinstance(coding, Spikes)
        assert isinstance(layout, SpikeLayout)
        planes = range(len(coding.payloads))
        for plane in planes:
            code.line(f"uint8_t fired{plane}[{lanes.count}];")
        with over_lanes(code, lanes):
            watch(self.firing)
            RULES[type(layer.rule)](self.firing, layer.rule)
            watch(self.firing)
        for plane in planes:
            print_pack(code, self.network, lanes, layout, str(plane), f"fired{plane}")
        self._trace()

    def _trace(self) -> None:
        lanes, size = self.lanes, self.layer.result.size
        if not self.network.schedule.stepwise:
            step = mul(self.network.step, size)
            at = add(step, mul(lanes.place, self.layer.result.channels), lanes.first)
            self.code.line(f"NETWORK_POTENTIALS({self.number}, {at}, v, {lanes.count});")

    def _store(self, arriving: str) -> None:
        layer, layout = self.layer, self.network.layout(self.layer.result)
        assert isinstance(layout, NumberLayout)
        steps = self._steps() if layer.result.timed else self.code.block()
        with steps, over_pixels(self.code, self.lanes):
            value = arriving.format(lane=self.lanes.lane)
            if layer.limits is not None:
                print_watch(self.code, value, self.sum_type, layer.limits)
            self._element(value, layout)

    def _write(self, value: str) -> None:
        """Keep the numbers of a readout that something reads."""
        layout = self.network.layout(self.layer.result)
        assert isinstance(layout, NumberLayout)
        with over_pixels(self.code, self.lanes):
            self._element(value.format(lane=self.lanes.lane), layout)

    def _element(self, value: str, layout: NumberLayout) -> None:
        step = mul(self.network.schedule.slot(layout.steps), layout.elements)
        target = f"{self.network.pointer(self.layer.result)}[{add(step, self.lanes.number)}]"
        self.code.line(f"{target} = ({layout.type}){value};")
