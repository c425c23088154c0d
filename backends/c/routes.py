"""What prints stages that only move elements."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np

from spikec.backends.c.functions import sizes, stage_function
from spikec.backends.c.layout import NumberLayout, SpikeLayout
from spikec.backends.c.network import Network
from spikec.backends.c.writer import Code, add, flat, mul
from spikec.backends.lowering.records import Piece, Reshape, Route, Spikes, Value


def print_route(code: Code, network: Network, route: Route) -> None:
    """Copy boxes, place by place."""
    result, layout = route.result, network.layout(route.result)
    code.comment(
        f"{result.name}: moved, {sizes(result)}" + (f", from {route.loc}" if route.loc else "")
    )
    with stage_function(code, network, route):
        if isinstance(layout, SpikeLayout):
            assert isinstance(result.coding, Spikes)
            same = all(piece.source.coding == result.coding for piece in route.pieces)
            if not (route.filled and same):
                code.line(f"memset({network.pointer(result)}, 0, {layout.size});")
            for piece in route.pieces:
                _spikes(code, network, route, piece, layout)
        else:
            if not route.filled:
                with code.loop("i", layout.size):
                    code.line(f"{network.pointer(result)}[i] = 0;")
            for piece in route.pieces:
                _numbers(code, network, route, piece, layout)


def _picked(code: Code, network: Network, route: Route, piece: Piece, index: int) -> str:
    """Where one axis of a source is read."""
    pick = piece.picks[index]
    loop = f"i{pick.axis}" if piece.sizes[pick.axis] > 1 else "0"
    if pick.table:
        name = f"{route.result.name}.table{index}"
        table = network.constant(
            name, np.array(pick.table), f"elements that {route.result.name} takes"
        )
        return f"{table}[{loop}]"
    where = loop if pick.repeat == 1 or loop == "0" else f"{loop} / {pick.repeat}"
    if pick.step < 0:
        return f"{pick.start} - {mul(where, -pick.step)}" if where != "0" else str(pick.start)
    return add(mul(where, pick.step), pick.start)


def _boxes(code: Code, stack: ExitStack, piece: Piece, skipped: int | None = None) -> list[str]:
    """Loops over a box; returns the place in the result, per axis."""
    places = []
    for axis, (begin, size) in enumerate(zip(piece.begins, piece.sizes, strict=True)):
        variable = f"i{axis}" if size > 1 and axis != skipped else "0"
        stack.enter_context(code.loop(variable, size))
        places.append(add(variable, begin))
    return places


def _spikes(code: Code, network: Network, route: Route, piece: Piece, layout: SpikeLayout) -> None:
    source, result = network.layout(piece.source), route.result.coding
    assert isinstance(source, SpikeLayout)
    assert isinstance(result, Spikes)
    coding = piece.source.coding
    assert isinstance(coding, Spikes)
    first = piece.picks[0]
    run = first.axis == 0 and first.step == first.repeat == 1 and not first.table
    count = piece.sizes[0] if run else 1
    with code.block(), ExitStack() as stack:
        places = _boxes(code, stack, piece, 0 if run else None)
        reads = [_picked(code, network, route, piece, n) for n in range(len(piece.picks))]
        if run:
            reads[0] = str(first.start)
        code.line(f"const int from = {_bit(reads, piece.source, source)};")
        code.line(f"const int to = {_bit(places, route.result, layout)};")
        if network.steps > 1 and layout.steps > 1:
            stack.enter_context(code.loop("t", network.steps))
        for plane, payload in enumerate(coding.payloads):
            target = result.payloads.index(payload)
            there = _string(network, route.result, layout, places, target)
            here = _string(network, piece.source, source, reads, plane)
            code.line(f"network_copy({there}, to, {here}, from, {count});")


def _bit(places: list[str], value: Value, layout: SpikeLayout) -> str:
    """The bit of an element in its row."""
    channel, *space = places or ["0"]
    x = space[-1] if space else "0"
    return add(mul(x, layout.channels), channel)


def _string(
    network: Network, value: Value, layout: SpikeLayout, places: list[str], plane: int
) -> str:
    """Where the row of an element begins, in step t."""
    row = flat(places[1:-1], value.shape[1:-1])
    step = network.schedule.slot(layout.steps)
    string = flat([row, str(plane), step], (layout.rows, layout.planes, layout.steps))
    return add(network.pointer(value), mul(string, layout.row_bytes))


def _numbers(
    code: Code, network: Network, route: Route, piece: Piece, layout: NumberLayout
) -> None:
    source, result = network.layout(piece.source), route.result
    assert isinstance(source, NumberLayout)
    with ExitStack() as stack:
        if network.steps > 1 and layout.steps > 1:
            stack.enter_context(code.loop("t", network.steps))
        places = _boxes(code, stack, piece)
        reads = [_picked(code, network, route, piece, n) for n in range(len(piece.picks))]
        step = mul(network.schedule.slot(layout.steps), layout.elements)
        before = mul(network.schedule.slot(source.steps), source.elements)
        there = f"{network.pointer(result)}[{add(step, flat(places, result.shape))}]"
        here = f"{network.pointer(piece.source)}[{add(before, flat(reads, piece.source.shape))}]"
        code.line(f"{there} = ({layout.type}){here};")


def print_reshape(code: Code, network: Network, reshape: Reshape) -> None:
    """Copy spikes to their places under another shape, one by one."""
    source, layout = network.layout(reshape.source), network.layout(reshape.result)
    assert isinstance(source, SpikeLayout)
    assert isinstance(layout, SpikeLayout)
    coding = reshape.result.coding
    assert isinstance(coding, Spikes)
    code.comment(
        f"{reshape.result.name}: reshaped, {sizes(reshape.result)}"
        + (f", from {reshape.loc}" if reshape.loc else "")
    )
    with stage_function(code, network, reshape), ExitStack() as stack:
        stack.enter_context(code.loop("i", reshape.result.size))
        for name, value, held in (
            ("from", reshape.source, source),
            ("to", reshape.result, layout),
        ):
            place = f"i % {value.positions}"
            channel = f"i / {value.positions}"
            code.line(f"const int {name}_row = {place} / {held.width};")
            code.line(f"const int {name} = {place} % {held.width} * {held.channels} + {channel};")
        if network.steps > 1 and layout.steps > 1:
            stack.enter_context(code.loop("t", network.steps))
        step = network.schedule.slot(layout.steps)
        for plane in range(len(coding.payloads)):  # memory may have room for more
            ends = []
            for name, value, held in (
                ("to", reshape.result, layout),
                ("from", reshape.source, source),
            ):
                string = flat(
                    [f"{name}_row", str(plane), step], (held.rows, held.planes, held.steps)
                )
                ends.append(f"{add(network.pointer(value), mul(string, held.row_bytes))}, {name}")
            code.line(f"network_copy({ends[0]}, {ends[1]}, 1);")
