"""What prints a max pooling: running sums of each window."""

from __future__ import annotations

import math
from contextlib import ExitStack

from spikec.backends.c.functions import print_pack, sizes, stage_function
from spikec.backends.c.layout import CType, SpikeLayout, ctype
from spikec.backends.c.network import Lanes, Network, largest_divisor
from spikec.backends.c.terms import outside
from spikec.backends.c.writer import Code, add, flat, mul, number
from spikec.backends.lowering.records import Pool, Spikes


def print_pool(code: Code, network: Network, pool: Pool) -> None:
    """The change of the largest net sum in a window, for a block of channels at a time."""
    result, source, layout = pool.result, network.layout(pool.source), network.layout(pool.result)
    assert isinstance(source, SpikeLayout)
    assert isinstance(layout, SpikeLayout)
    coding, sent = pool.source.coding, result.coding
    assert isinstance(coding, Spikes)
    assert isinstance(sent, Spikes)
    lanes = Lanes(result, 1, largest_divisor(result.channels))
    taps, type_ = math.prod(axis.taps for axis in pool.axes), ctype(pool.state, 16)
    code.comment(
        f"{result.name}: max pooling of running sums, {sizes(result)}"
        + (f", from {pool.loc}" if pool.loc else ""),
        f"sums {pool.state.low} to {pool.state.high} in {type_}",
    )
    with stage_function(code, network, pool), ExitStack() as stack:
        for place, size in zip(lanes.places, result.space, strict=True):
            stack.enter_context(code.loop(place, size))
        if lanes.blocks > 1:
            stack.enter_context(code.loop("block", lanes.blocks))
            code.line(f"const int first = block * {lanes.block};")
        name = network.names[result.name]
        if network.schedule.stepping:
            network.states[f"{name}_sums"] = (type_, result.size * taps)
            network.states[f"{name}_before"] = (type_, result.size)
            block = add(mul(lanes.place, lanes.blocks), "block" if lanes.blocks > 1 else "0")
            code.line(
                f"{type_} *const sums = {add(f'{name}_sums', mul(block, taps * lanes.block))};"
            )
            code.line(f"{type_} *const before = {add(f'{name}_before', mul(block, lanes.block))};")
            with code.block("if (step == 0)"):
                code.line(f"memset(sums, 0, {taps * lanes.block} * sizeof *sums);")
                code.line(f"memset(before, 0, {lanes.block} * sizeof *before);")
        else:
            code.line(f"{type_} sums[{taps * lanes.block}] = {{0}}, before[{lanes.block}] = {{0}};")
        steps = code.loop("t", network.steps) if network.steps > 1 else code.block()
        with steps:
            earlier = "2 * before[o]" if pool.radix else "before[o]"
            code.line(f"{type_} best[{lanes.block}];")
            with code.loop("o", lanes.block):
                code.line(f"best[o] = {number(pool.state.low - 1)};")
            _window_sums(code, network, lanes, pool, source, coding, type_)
            for plane in range(len(sent.payloads)):
                code.line(f"uint8_t fired{plane}[{lanes.block}];")
            with code.loop("o", lanes.block):
                code.line(f"const {type_} change = ({type_})(best[o] - {earlier});")
                code.line("before[o] = best[o];")
                for plane, payload in enumerate(sent.payloads):
                    if sent.exclusive:
                        fires = "change > 0" if payload > 0 else "change < 0"
                    else:
                        fires = f"((unsigned)change >> {plane}) & 1u"
                    code.line(f"fired{plane}[o] = (uint8_t)({fires});")
            for plane in range(len(sent.payloads)):
                print_pack(code, network, lanes, layout, str(plane), f"fired{plane}")
            if not network.schedule.stepwise:
                step = mul(network.step, result.size)
                at = add(step, mul(lanes.place, result.channels), lanes.first)
                number_ = network.number(pool)
                code.line(f"NETWORK_POTENTIALS({number_}, {at}, before, {lanes.block});")


def _window_sums(
    code: Code,
    network: Network,
    lanes: Lanes,
    pool: Pool,
    source: SpikeLayout,
    coding: Spikes,
    type_: CType,
) -> None:
    """Add what each tap of a window sends, and take the largest sum."""
    block = lanes.block
    with ExitStack() as stack:
        reads = []
        for n, (axis, place) in enumerate(zip(pool.axes, lanes.places, strict=True)):
            stack.enter_context(code.loop(f"k{n}", axis.taps))
            read = add(mul(place, axis.stride), mul(f"k{n}", axis.dilation), -axis.pad)
            code.line(f"const int i{n} = {read};")
            if outside(axis):
                code.line(f"if (i{n} < 0 || i{n} >= {axis.inputs}) continue;")
            reads.append(f"i{n}")
        tap = flat([f"k{n}" for n in range(len(reads))], tuple(a.taps for a in pool.axes))
        code.line(f"{type_} *const sum = {add('sums', mul(tap, block))};")
        row = flat(reads[:-1], pool.source.space[:-1])
        step = network.schedule.slot(source.steps)
        bit = add(mul(reads[-1], source.channels), lanes.first)
        unpack = (
            "network_unpack_bytes" if source.channels % 8 == block % 8 == 0 else "network_unpack"
        )
        code.line(f"uint8_t seen[{block}];")
        if pool.radix:
            with code.loop("o", block):
                code.line(f"sum[o] = ({type_})(2 * sum[o]);")
        for plane, payload in enumerate(coding.payloads):
            string = flat([row, str(plane), step], (source.rows, source.planes, source.steps))
            bits = add(network.pointer(pool.source), mul(string, source.row_bytes))
            code.line(f"{unpack}(seen, {bits}, {bit}, {block});")
            with code.loop("o", block):
                factor = {1: "+ ", -1: "- "}.get(payload, f"+ {payload} * ")
                code.line(f"sum[o] = ({type_})(sum[o] {factor}seen[o]);")
        with code.loop("o", block):
            code.line("best[o] = sum[o] > best[o] ? sum[o] : best[o];")
