"""Executes plans: blocks of samples on a pool of threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from spikec.ir import Graph, RangeError
from spikec.runtime.fast.counts import Narrow
from spikec.runtime.fast.execute import Arena, Overflow, Run
from spikec.runtime.fast.few import FewRun
from spikec.runtime.fast.plan import best_sums, make_plan
from spikec.runtime.fast.steps import Plan
from spikec.runtime.fast.tiles import ROWS
from spikec.runtime.fast.vector import LANES
from spikec.runtime.interpreter import Feeds, LayerTrace, Simulation
from spikec.runtime.threads import thread_count

SLICE = 2 * LANES
"""Samples that one thread takes at a time, where they fit `ROOM`."""
ROOM = 1 << 28
"""Bytes of values that all threads hold at a time; larger slices are not quicker."""
MOST_ROOM = 1 << 30
"""The same where one block for each thread takes more."""

FEW = 16
"""Samples up to which lanes over channels are faster than lanes over samples."""

_plans: OrderedDict[tuple[int, int, int], tuple[Graph, Plan]] = OrderedDict()
_lock = threading.Lock()
_arenas: list[Arena] = []
"""Those that no thread uses now."""


def plan_of(graph: Graph, steps: int, sums: int | None = None) -> Plan:
    """The plan of a graph, kept for the graphs that were last used."""
    sums = best_sums() if sums is None else sums
    key = (id(graph), steps, sums)
    with _lock:
        if key not in _plans:
            _plans[key] = (graph, make_plan(graph, steps, sums))
        _plans.move_to_end(key)
        while len(_plans) > 8:
            _plans.popitem(last=False)
        return _plans[key][1]


def plan_for(graph: Graph, steps: int, samples: int) -> Plan:
    """The plan that suits a number of samples."""
    if samples > FEW:
        plan = plan_of(graph, steps)
        if plan.room <= MOST_ROOM:
            return plan
    try:
        return plan_of(graph, steps, ROWS)
    except OverflowError:
        return plan_of(graph, steps)


def run_plan(
    plan: Plan, feeds: Feeds, trace: Collection[str], events: bool, threads: int | None
) -> Simulation | None:
    """Simulate; None when some value left its declared width."""
    samples = len(next(iter(feeds.values())))
    workers = 1 if plan.serial else thread_count(threads)
    workers = max(1, min(workers, MOST_ROOM // plan.room))
    kind, block = (FewRun, 1) if plan.images else (Run, LANES)
    blocks = -(-samples // block)
    most = min(SLICE // block, ROOM // (workers * plan.room))
    size = block * max(1, min(most, -(-blocks // workers)))
    slices = [{k: x[i : i + size] for k, x in feeds.items()} for i in range(0, samples, size)]

    def work(part: Feeds) -> Simulation:
        with _lock:
            arena = _arenas.pop() if _arenas else Arena()
        try:
            return kind(plan, part, trace, arena).execute(events)
        finally:
            arena.reset()
            with _lock:
                _arenas.append(arena)

    try:
        if workers == 1 or len(slices) == 1:
            return _joined(map(work, slices))
        with ThreadPoolExecutor(min(workers, len(slices))) as pool:
            return _joined(pool.map(work, slices))
    except (Overflow, RangeError):
        return None


def _joined(parts: Iterable[Simulation]) -> Simulation:
    """The simulation of all samples from those of its slices, in order."""
    parts = iter(parts)
    first = next(parts)
    kept, samples = [first], _samples(first)
    for part in parts:
        samples += _samples(part)
        for total, own in ((first.events, part.events), (first.units, part.units)):
            assert isinstance(total, Narrow)
            assert isinstance(own, Narrow)
            total.add(own, samples)
        kept.append(replace(part, events={}, units={}))
    if len(kept) == 1:
        return first
    readout = {n: np.concatenate([p.readout[n] for p in kept], axis=1) for n in first.readout}
    traces = {}
    for name, one in first.traces.items():
        potentials = np.concatenate([p.traces[name].potentials for p in kept], axis=1)
        spikes = [p.traces[name].spikes for p in kept]
        known = [s for s in spikes if s is not None]
        joined = np.concatenate(known, axis=1) if one.spikes is not None else None
        traces[name] = LayerTrace(joined, potentials)
    return Simulation(readout, first.events, traces, first.units)


def _samples(part: Simulation) -> int:
    return next(iter(part.readout.values())).shape[1]
