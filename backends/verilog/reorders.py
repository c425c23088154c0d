"""Tables of what moves elements: where each one that leaves comes from."""

from __future__ import annotations

import numpy as np

from spikec.backends.lowering.records import Integers, Pick, Reshape, Route, Value
from spikec.backends.verilog.engines import ReorderEngine, Table
from spikec.backends.verilog.streams import in_order, stream_of
from spikec.backends.verilog.windows import Edge


def reorder_engine(stage: Route | Reshape, steps: int) -> ReorderEngine:
    """The engine of a route or a reshape."""
    sources = stage.sources
    source, position = origins(stage)
    table = _table(source, position, sources, stage.result)
    edges = [_edge(source == n, position, value, stage.result) for n, value in enumerate(sources)]
    inputs = tuple(stream_of(value, steps) for value in sources)
    return ReorderEngine(stage, table, edges, inputs, stream_of(stage.result, steps))


def moves_nothing(stage: Route | Reshape) -> bool:
    """Whether the result's stream is the source's."""
    source, position = origins(stage)
    same = len(stage.sources) == 1 and len(position) == stage.sources[0].size
    return bool(same and (source == 0).all() and (position == np.arange(len(position))).all())


def origins(stage: Route | Reshape) -> tuple[Integers, Integers]:
    """For each element of the result's stream its source (-1 for none) and its position there."""
    result = stage.result
    number = np.full(result.shape or (1,), -1, np.int64)
    place = np.zeros_like(number)
    if isinstance(stage, Reshape):
        number[...] = 0
        place.reshape(-1)[...] = np.arange(result.size)
        places = [_positions(stage.source)]
    else:
        names = [value.name for value in stage.sources]
        places = [_positions(value) for value in stage.sources]
        for piece in stage.pieces:
            box = tuple(slice(b, b + s) for b, s in zip(piece.begins, piece.sizes, strict=True))
            coordinates = [_picked(pick, piece.sizes) for pick in piece.picks]
            flat = np.ravel_multi_index(tuple(coordinates), piece.source.shape)
            number[box] = names.index(piece.source.name)
            place[box] = flat
    number, place = in_order(number, result.shape), in_order(place, result.shape)
    for n, table in enumerate(places):
        mine = number == n
        place[mine] = table[place[mine]]
    return number, place


def _positions(value: Value) -> Integers:
    """For each element in row-major order, channels first, its position in the stream."""
    positions = np.empty(value.size, np.int64)
    positions[in_order(np.arange(value.size).reshape(value.shape), value.shape)] = np.arange(
        value.size
    )
    return positions


def _picked(pick: Pick, sizes: tuple[int, ...]) -> Integers:
    """The coordinates along an axis of the source that fill a box (*sizes)."""
    index = np.arange(sizes[pick.axis])
    table = np.asarray(pick.table)
    read = table[index] if pick.table else pick.start + pick.step * (index // pick.repeat)
    shape = [1] * len(sizes)
    shape[pick.axis] = -1
    return np.broadcast_to(read.reshape(shape), sizes)


def _table(
    source: Integers, position: Integers, sources: tuple[Value, ...], result: Value
) -> Table:
    """The shortest table that repeats, and the lags of the whole sample."""
    lags = tuple(_lag(position[source == n]) for n in range(len(sources)))
    sizes = [result.channels]
    for size in reversed(result.space):
        sizes.append(sizes[-1] * size)
    for period in sizes:
        steps = _steps(source, position, len(sources), period)
        if steps is not None:
            periods = len(source) // period
            return Table(source[:period], position[:period], periods, steps, lags)
    raise AssertionError("a whole sample is a period")


def _lag(position: Integers) -> int:
    """How far behind the furthest element so far an element is read at most."""
    furthest = np.maximum.accumulate(position)
    later = np.minimum.accumulate(position[::-1])[::-1]
    return int((furthest - later).max(initial=0))


def _steps(source: Integers, position: Integers, count: int, period: int) -> tuple[int, ...] | None:
    """What positions of each source grow by from period to period; None where they do not."""
    rows, places = source.reshape(-1, period), position.reshape(-1, period)
    if (rows != rows[:1]).any():
        return None
    steps = []
    for n in range(count):
        mine = places[:, rows[0] == n]
        grown = np.diff(mine, axis=0)
        step = int(grown.flat[0]) if grown.size else 0
        if (grown != step).any():
            return None
        steps.append(step)
    return tuple(steps)


def _edge(mine: Integers, position: Integers, source: Value, result: Value) -> Edge:
    """When the pixels of a source are read."""
    pixel = np.where(mine, position // source.channels, -1).reshape(-1, result.channels)
    need = np.maximum.accumulate(pixel.max(axis=1))
    furthest = np.maximum.accumulate(np.where(mine, position, 0))[:: result.channels]
    freed = np.maximum(furthest - _lag(position[mine]), 0) // source.channels
    return Edge(source, need, np.asarray(freed, np.int64), 1)
