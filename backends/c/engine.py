"""Runs an integer graph as compiled C, and reads every spike and potential out of it."""

from __future__ import annotations

import ctypes
import threading
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from spikec.backends.c.compiler import shared_object
from spikec.backends.c.emit import Project, build
from spikec.backends.c.functions import output_type
from spikec.backends.c.layout import SpikeLayout, input_type
from spikec.backends.lowering import lower
from spikec.backends.lowering.observed import observed
from spikec.backends.lowering.records import Accumulate, Layer, Spikes, Stage
from spikec.ir import BackendError, Graph
from spikec.ir.types import Array
from spikec.runtime.interpreter import (
    Feeds,
    Simulation,
    as_read,
    check_feeds,
    check_width,
    over_time,
    run_length,
)
from spikec.runtime.interpreter import simulate as reference


@dataclass(frozen=True, slots=True)
class Compiled:
    """A network and its shared object, whose memory one thread may use at a time."""

    project: Project
    library: ctypes.CDLL
    lock: threading.Lock


_compiled: OrderedDict[tuple[int, int, int, bool], tuple[Graph, Compiled]] = OrderedDict()
_lock = threading.Lock()


def compiled(graph: Graph, steps: int, lanes: int, packed: bool) -> Compiled:
    """The compiled network of a graph, kept for the graphs that were last used."""
    key = (id(graph), steps, lanes, packed)
    with _lock:
        if key not in _compiled:
            project = build(lower(graph, steps), lanes, packed)
            files = ("network.c", "weights.c", "network.h", "weights.h", "network_bits.h")
            library = shared_object({name: project.files[name] for name in files})
            _compiled[key] = graph, Compiled(project, library, threading.Lock())
        _compiled.move_to_end(key)
        while len(_compiled) > 8:
            _compiled.popitem(last=False)
        return _compiled[key][1]


def simulate(
    graph: Graph, feeds: Feeds, steps: int | None, trace: Collection[str], lanes: int, packed: bool
) -> Simulation:
    """Run an integer graph; see `spikec.runtime.interpreter.simulate`.

    Raises:
        RangeError: when a value leaves its width; the reference finds it.
        BackendError: when the graph has no C form, or cannot be compiled.
    """
    steps = run_length(graph, steps)
    samples = check_feeds(graph, feeds, steps)
    for node in graph.inputs:
        check_width(graph, node, over_time(node, feeds, steps), None)
    network = compiled(graph, steps, lanes, packed)
    read = {node.name: as_read(node, feeds, steps) for node in graph.inputs}
    with network.lock:
        run = _Run(graph, network, steps, trace)
        for sample in range(samples):
            if run.one({name: x[sample] for name, x in read.items()}) != 0:
                reference(graph, feeds, steps, trace)  # raises and says where
                raise BackendError("engine 'c' says that a value left its width, the reference not")
    return observed(graph, feeds, steps, trace, run.spikes, run.potentials)


class _Run:
    """Samples run one by one."""

    def __init__(self, graph: Graph, network: Compiled, steps: int, trace: Collection[str]) -> None:
        plan = network.project.plan
        self.plan, self.memory, self.library = plan, network.project.memory, network.library
        self.steps = steps
        readouts = (
            s for s in plan.stages if isinstance(s, Layer) and isinstance(s.rule, Accumulate)
        )
        kept = {*trace, *(stage.result.name for stage in readouts)}
        self.spikes: dict[str, list[Array]] = {}
        self.potentials: dict[str, list[Array]] = {}
        self._buffers: dict[str, Array] = {}
        self._set(
            "network_potentials",
            {
                stage.result.name: np.empty(steps * stage.result.size, np.int64)
                for stage in plan.stages
                if stage.result.name in kept
            },
        )
        self._set(
            "network_spikes",
            {
                stage.result.name: np.empty(layout.size, np.uint8)
                for stage in plan.stages
                if isinstance(layout := self.memory.layouts[stage.result.name], SpikeLayout)
            },
        )

    def _set(self, table: str, buffers: dict[str, Array]) -> None:
        """Tell the network where to write what it traces."""
        pointers = (ctypes.c_void_p * (len(self.plan.stages) + 1)).in_dll(self.library, table)
        for number, stage in enumerate(self.plan.stages, 1):
            buffer = buffers.get(stage.result.name)
            pointers[number] = None if buffer is None else buffer.ctypes.data
        for name, buffer in buffers.items():
            self._buffers[f"{table} {name}"] = buffer

    def one(self, feeds: dict[str, Array]) -> int:
        """Run one sample; returns what the network returns."""
        given = [
            np.ascontiguousarray(feeds[v.name], str(input_type(v.range)).removesuffix("_t"))
            for v in self.plan.inputs
        ]
        results = [
            np.empty(stage.result.size, str(output_type(stage.result.range)).removesuffix("_t"))
            for name in self.plan.outputs
            for stage in self.plan.stages
            if stage.result.name == name
        ]
        arrays = [array.ctypes.data_as(ctypes.c_void_p) for array in (*given, *results)]
        code: int = self.library.network_run(*arrays)
        for stage in self.plan.stages if code == 0 else ():
            self._keep(stage)
        return code

    def _keep(self, stage: Stage) -> None:
        """Copy what was traced of a stage."""
        name, shape = stage.result.name, stage.result.shape
        potentials = self._buffers.get(f"network_potentials {name}")
        if potentials is not None:
            by_place = potentials.reshape(self.steps, -1, stage.result.channels)
            array = by_place.swapaxes(1, 2).reshape(self.steps, *shape)
            self.potentials.setdefault(name, []).append(array.copy())
        bits = self._buffers.get(f"network_spikes {name}")
        if bits is not None:
            layout, coding = self.memory.layouts[name], stage.result.coding
            assert isinstance(layout, SpikeLayout)
            assert isinstance(coding, Spikes)
            self.spikes.setdefault(name, []).append(
                _decoded(bits, layout, coding).reshape(-1, *shape)
            )


def _decoded(bits: Array, layout: SpikeLayout, coding: Spikes) -> Array:
    """Spikes (steps, channels, places) of bits as they lie in memory."""
    rows = bits.reshape(layout.rows, layout.planes, layout.steps, layout.row_bytes)
    flags = np.unpackbits(rows, axis=-1, bitorder="little")
    flags = flags[..., : layout.width * layout.channels].reshape(
        *rows.shape[:3], layout.width, layout.channels
    )
    total = np.zeros((layout.rows, *flags.shape[2:]), np.int64)
    for plane, payload in enumerate(coding.payloads):
        total += payload * flags[:, plane].astype(np.int64)
    return total.transpose(1, 3, 0, 2).reshape(layout.steps, layout.channels, -1)
