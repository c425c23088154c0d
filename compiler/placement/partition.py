"""Partition of an integer graph onto neurocores: how much each layer needs and where it goes.

A layer's neurons are taken in order (channel by channel) and fill one core after the other; a
layer that fits into the room that earlier layers left goes there. Synapses belong to the core of
the neuron that they reach. Counted are weights alone: addressing takes memory as well, in a way
that is not public.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import networkx as nx
import numpy as np

from spikec.ir import Graph, Node, op_of
from spikec.ir.analysis import cone_of, is_source
from spikec.ir.hardware import HardwareSpec
from spikec.ir.ops.routing.concat import Concat
from spikec.ir.ops.routing.gather import Gather
from spikec.ir.ops.routing.reshape import Reshape
from spikec.ir.ops.routing.slice import Slice
from spikec.ir.ops.routing.transpose import Transpose
from spikec.ir.ops.routing.upsample import Upsample
from spikec.ir.ops.synapses.affine import Affine
from spikec.ir.ops.synapses.conv_transpose import ConvTranspose
from spikec.ir.ops.synapses.dense import Dense
from spikec.ir.types import Array
from spikec.ir.windows import Pooling

_MOVES = (Reshape, Transpose, Gather, Slice, Concat, Upsample)


@dataclass(frozen=True, slots=True)
class Demand:
    """What a layer needs.

    Attributes:
        name: The layer.
        loc: The ONNX node.
        channels: Channels of equally many neurons, in order.
        fan_in: Non-zero synapses of each neuron, in order (neurons,).
        kernels: Weights that a core stores for any part of a channel, where positions share them
            (channels,); None where they do not.
        bits: Width of a weight.
        senders: Different neurons and inputs that reach the layer.
        delays: For each layer before it, steps that its spikes must wait for a longer path.
    """

    name: str
    loc: str | None
    channels: int
    fan_in: Array
    kernels: Array | None
    bits: int
    senders: int
    delays: dict[str, int]

    @property
    def neurons(self) -> int:
        """Neurons in all."""
        return int(self.fan_in.size)

    def stored(self, sharing: bool) -> int:
        """Bytes of all synapses, were the layer on one core."""
        shared = sharing and self.kernels is not None
        weights = self.kernels if shared and self.kernels is not None else self.fan_in
        return to_bytes(int(weights.sum()), self.bits)

    def part(self, start: int, stop: int, sharing: bool) -> int:
        """Weights that neurons `start` to `stop` need on a core."""
        if not sharing or self.kernels is None:
            return int(self.fan_in[start:stop].sum())
        per = self.neurons // self.channels
        return int(self.kernels[start // per : -(-stop // per)].sum())

    def fitting(self, start: int, neurons: int, weights: int, sharing: bool) -> int:
        """Where a part from `start` ends that needs at most so many neurons and weights."""
        if not sharing or self.kernels is None:
            sums = np.cumsum(self.fan_in[start : start + neurons])
            return start + int(np.searchsorted(sums, weights, side="right"))
        per = self.neurons // self.channels
        first = start // per
        fitting = int(np.searchsorted(np.cumsum(self.kernels[first:]), weights, side="right"))
        return min(start + neurons, (first + fitting) * per, self.neurons)


def to_bytes(weights: int, bits: int) -> int:
    """Bytes of so many weights."""
    return -(-weights * bits // 8)


@dataclass(frozen=True, slots=True)
class Problem:
    """A limit that the network exceeds."""

    layer: str | None
    limit: str
    need: int
    have: int
    hint: str

    def __str__(self) -> str:
        over = self.need - self.have
        where = "the network" if self.layer is None else f"%{self.layer}"
        what = self.limit.replace("_", " ")
        return (
            f"{where} needs {self.need:,} {what}, {over:,} more than the {self.have:,} there "
            f"are; what would help: {self.hint}"
        )


@dataclass(slots=True)
class Core:
    """What one neurocore holds: for each layer, neurons and bytes of synapses."""

    parts: list[tuple[str, int, int]] = field(default_factory=list)
    senders: int = 0

    @property
    def neurons(self) -> int:
        """Neurons in all."""
        return sum(neurons for _, neurons, _ in self.parts)

    @property
    def memory(self) -> int:
        """Bytes of synapses in all."""
        return sum(size for _, _, size in self.parts)


@dataclass(slots=True)
class Placement:
    """Cores in order; for each layer the cores that hold it; what does not fit."""

    cores: list[Core] = field(default_factory=list)
    held: dict[str, list[int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def demands(graph: Graph) -> list[Demand]:
    """What each layer of an integer graph needs, in order."""
    flow, layers = layer_graph(graph), [n for n in graph.nodes if op_of(n).stateful]
    depth = depths(flow)
    counts = _fan_ins(graph)
    needs = []
    for node in layers:
        sources = [name for name in flow.predecessors(node.name)]
        cone = flow.nodes[node.name]["cone"]
        bits = [graph.params[n.params["w"]].type.dtype.bits for n in cone if op_of(n).weighted]
        fan_in = counts[node.name].reshape(-1)
        needs.append(
            Demand(
                node.name,
                node.loc,
                node.type.shape[0] if node.type.shape else 1,
                fan_in,
                _kernels(graph, node, cone, counts[node.name]),
                max(bits, default=1),
                sum(flow.nodes[name]["size"] for name in sources),
                {name: depth[node.name] - 1 - depth[name] for name in sources},
            )
        )
    return needs


def layer_graph(graph: Graph) -> nx.DiGraph:
    """Inputs and layers, with an edge where synapses lead from one to the other."""
    flow = nx.DiGraph()
    for node in graph.nodes:
        if is_source(node):
            cone = cone_of(graph, node.inputs)
            flow.add_node(node.name, size=node.type.size, cone=cone.nodes)
            flow.add_edges_from((source.name, node.name) for source in cone.sources)
    return flow


def depths(flow: nx.DiGraph) -> dict[str, int]:
    """Synapses on the longest path to each layer."""
    depth: dict[str, int] = {}
    for name in nx.topological_sort(flow):
        depth[name] = max((depth[p] + 1 for p in flow.predecessors(name)), default=0)
    return depth


def _fan_ins(graph: Graph) -> dict[str, Array]:
    """For each value, how many non-zero synapses reach each element."""
    counts: dict[str, Array] = {}
    for node in graph.nodes:
        op = op_of(node)
        inputs = [
            np.ones((1, *graph[name].type.shape), np.int64)
            if is_source(graph[name])
            else counts[name][None]
            for name in node.inputs
        ]
        if isinstance(op, Pooling):
            counts[node.name] = op.sums(inputs[0])[0]
        elif op.stateful:
            counts[node.name] = inputs[0][0]
        elif node.inputs:
            given = {"w": (graph.array(node, "w") != 0).astype(np.int64)} if op.weighted else {}
            counts[node.name] = op.run(inputs, given)[0]
    return counts


def _kernels(graph: Graph, layer: Node, cone: Iterable[Node], counts: Array) -> Array | None:
    """Stored weights per channel where all positions of a channel share them."""
    if counts.ndim < 2:
        return None
    phases = 1
    for node in cone:
        if isinstance(node.operation, (*_MOVES, Dense)):
            return None
        if isinstance(node.operation, Affine) and graph.array(node, "w").ndim > 1:
            return None
        if isinstance(node.operation, ConvTranspose):
            phases *= math.prod(node.operation.strides)
    most: Array = counts.reshape(len(counts), -1).max(axis=1) * phases
    return most


def place(needs: Iterable[Demand], spec: HardwareSpec, sharing: bool = True) -> Placement:
    """Fill cores with layers, in order; limits that cannot be kept become problems."""
    placement = Placement()
    for demand in needs:
        _place_layer(placement, demand, spec, sharing)
    return placement


def _place_layer(placement: Placement, demand: Demand, spec: HardwareSpec, sharing: bool) -> None:
    whole = demand.part(0, demand.neurons, sharing)
    size = to_bytes(whole, demand.bits)
    for index, core in enumerate(placement.cores):
        neurons, memory, senders = _room(core, spec)
        if demand.neurons <= neurons and size <= memory and demand.senders <= senders:
            core.parts.append((demand.name, demand.neurons, size))
            core.senders += demand.senders
            placement.held[demand.name] = [index]
            return
    held, start = [], 0
    while start < demand.neurons:
        core = Core()
        neurons, memory, _ = _room(core, spec)
        stop = demand.fitting(start, neurons, memory * 8 // demand.bits, sharing)
        if stop <= start:
            stop = min(start + neurons, _channel_end(demand, start, sharing))
            _too_large(placement, demand, start, stop, spec, sharing)
        weights = demand.part(start, stop, sharing)
        core.parts.append((demand.name, stop - start, to_bytes(weights, demand.bits)))
        core.senders = demand.senders
        held.append(len(placement.cores))
        placement.cores.append(core)
        start = stop
    placement.held[demand.name] = held


def _channel_end(demand: Demand, start: int, sharing: bool) -> int:
    if not sharing or demand.kernels is None:
        return start + 1
    per = demand.neurons // demand.channels
    return (start // per + 1) * per


def _room(core: Core, spec: HardwareSpec) -> tuple[int, int, int]:
    """Neurons, bytes and senders that still fit."""
    far = 1 << 60
    return (
        (spec.neurons_per_core or far) - core.neurons,
        (spec.synaptic_bytes_per_core or far) - core.memory,
        (spec.axons_in_per_core or far) - core.senders,
    )


def _too_large(
    placement: Placement, demand: Demand, start: int, stop: int, spec: HardwareSpec, sharing: bool
) -> None:
    """One neuron (or kernel) alone exceeds a core: reported once per layer."""
    if any(p.layer == demand.name for p in placement.problems):
        return
    need = to_bytes(demand.part(start, stop, sharing), demand.bits)
    hint = f"fewer inputs or fewer --weight-bits than {demand.bits}: one neuron's weights must fit"
    have = spec.synaptic_bytes_per_core or 0
    placement.problems.append(Problem(demand.name, "synaptic_bytes_per_core", need, have, hint))


def check(placement: Placement, needs: Iterable[Demand], spec: HardwareSpec) -> list[Problem]:
    """All limits that a placed network exceeds."""
    needs = list(needs)
    problems = list(placement.problems)
    for demand in needs:
        source = max(demand.delays, key=demand.delays.__getitem__, default="")
        for limit, need, have, hint in (
            (
                "fan_in",
                int(demand.fan_in.max(initial=0)),
                spec.fan_in,
                "smaller kernels, fewer input channels or pruned weights",
            ),
            (
                "axons_in_per_core",
                demand.senders,
                spec.axons_in_per_core,
                "a narrower layer before it, or grouped convolution",
            ),
            (
                "max_delay",
                demand.delays.get(source, 0),
                spec.max_delay,
                f"relays on the skip path from %{source}",
            ),
        ):
            if have is not None and need > have:
                problems.append(Problem(demand.name, limit, need, have, hint))
    problems += _totals(placement, needs, spec)
    return problems


def _totals(placement: Placement, needs: list[Demand], spec: HardwareSpec) -> Iterable[Problem]:
    chips = spec.chips or 1
    cores = len(placement.cores)
    if spec.cores_per_chip is not None and spec.chips is not None:
        have = chips * spec.cores_per_chip
        if cores > have:
            largest = max(placement.held, key=lambda name: len(placement.held[name]))
            hint = (
                f"{-(-cores // spec.cores_per_chip)} chips, fewer --weight-bits, or a smaller "
                f"%{largest}, which takes {len(placement.held[largest])} cores"
            )
            yield Problem(None, "cores", cores, have, hint)
    synapses = sum(int(demand.fan_in.sum()) for demand in needs)
    if spec.synapses_per_chip is not None and spec.chips is not None:
        have = chips * spec.synapses_per_chip
        if synapses > have:
            largest = max(needs, key=lambda d: int(d.fan_in.sum())).name
            hint = f"{-(-synapses // spec.synapses_per_chip)} chips, or a smaller %{largest}"
            yield Problem(None, "synapses", synapses, have, hint)


def bound_by(demand: Demand, spec: HardwareSpec, cores: int) -> str:
    """Which limit decides how many cores a layer takes."""
    if cores <= 1:
        return "-"
    neurons = -(-demand.neurons // (spec.neurons_per_core or demand.neurons))
    return "neurons" if neurons >= cores else "memory"
