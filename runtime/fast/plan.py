"""The planner: turns an integer graph into steps that the engine executes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from spikec.ir import Graph, Node, op_of
from spikec.ir.analysis import last_reads
from spikec.ir.exact import magnitude
from spikec.ir.neuron import Neuron, Sign, total_weight
from spikec.ir.op import Stateful
from spikec.ir.ops.input import Input
from spikec.ir.ops.max_pool_count import MaxPoolCount
from spikec.ir.ops.routing.add import Add
from spikec.ir.ops.routing.reshape import Reshape
from spikec.ir.ops.routing.sum_pool import SumPool
from spikec.ir.ops.synapses.affine import Affine
from spikec.ir.ops.synapses.conv import Conv
from spikec.ir.ops.synapses.dense import Dense
from spikec.ir.types import Array
from spikec.ir.windows import Pooling
from spikec.runtime.fast import neurons
from spikec.runtime.fast.images import Image, row_tables
from spikec.runtime.fast.layer import Layer, NeuronSpec, compile_layer
from spikec.runtime.fast.links import Link, table_bytes
from spikec.runtime.fast.match import (
    INT32_REACH,
    Net,
    Source,
    Sum,
    Synapse,
    geometry,
    payload_bounds,
    per_neuron,
    source_of,
    sum_of,
)
from spikec.runtime.fast.matrix import has_tiles
from spikec.runtime.fast.neurons import I16_MAX, UNIT
from spikec.runtime.fast.room import bytes_at_once
from spikec.runtime.fast.scans import KERNELS
from spikec.runtime.fast.steps import Fire, Plan, Pool, Simple, Step, View, reads
from spikec.runtime.fast.tiles import DOT, LUT, ROWS, TILES
from spikec.runtime.fast.vector import FEATURES
from spikec.runtime.fast.words import BYTE, HALF, Coding, lut_coding, number_coding
from spikec.runtime.interpreter import state_type, synapse_inputs

TABLE_BYTES = 4 << 20
"""Lookup tables of a layer that are larger lose to dot products: every pixel reads them."""


NEURON_BYTES = 64 << 20
"""Largest table of thresholds that differ within a channel."""


def best_sums() -> int:
    """The kind of sums that is fastest here."""
    if has_tiles():
        return TILES
    return LUT if FEATURES.fast_lut else DOT


def make_plan(graph: Graph, steps: int, sums: int) -> Plan:
    """Plan a graph of stage int for `steps` steps, with sums of the given kind where they fit."""
    return _Planner(graph, steps, sums).plan()


class _Planner:
    def __init__(self, graph: Graph, steps: int, sums: int) -> None:
        self.graph, self.steps, self.sums = graph, steps, sums
        self.lut = sums == LUT
        self.net = Net(graph, steps)
        self.nodes = self.net.nodes
        self.sources: dict[str, Source] = {}
        self.program: list[Step] = []
        self.only_dot: set[str] = set()
        self.numbers: set[str] = set()
        """Layers whose scan writes payloads, be they units."""
        self.proven: set[str] = set()
        """Nodes that a compiled sum holds; no result of theirs can leave its width."""

    def plan(self) -> Plan:
        self._choose()
        if self.sums == ROWS:
            return self._row_plan()
        self._share()
        codings = self._codings()
        while (program := self._compiled_all(codings)) is None:
            codings = self._codings()
        return self._made(program, codings, {})

    def _made(
        self, program: tuple[Step, ...], codings: dict[str, Coding], images: dict[str, Image]
    ) -> Plan:
        heavy = any(isinstance(s, Simple) and op_of(s.node).weighted for s in program)
        counted = frozenset(synapse_inputs(self.graph))
        last = last_reads((step.node.name, reads(step)) for step in program)
        plan = Plan(self.graph, self.steps, program, codings, images, last, counted, heavy)
        return replace(plan, room=max(1, bytes_at_once(plan)))

    def _row_plan(self) -> Plan:
        """The plan for few samples.

        Raises:
            OverflowError: where values do not fit 16 bits.
        """
        images = self._images()
        program: list[Step] = []
        for step in self.program:
            rows = None
            if isinstance(step, Fire):
                _, space = _known_geometry(step.node)
                parts = step.sum.synapses, step.bias, step.spec
                rows = row_tables(step.node.name, space, *parts, images, self.steps)
                step = replace(step, rows=rows)
            program.append(step)
        return self._made(tuple(program), {}, images)

    def _images(self) -> dict[str, Image]:
        """Images of all values that layers and pools read, and of all spikes of layers."""
        images: dict[str, Image] = {}
        fired = [s.node for s in self.program if isinstance(s, Fire) and s.spec is not None]
        own = {node.name: source_of(self.net, node.name) for node in fired}
        known = {name: source for name, source in own.items() if source is not None}
        for name, s in (known | self.sources).items():
            if max(-s.low, s.high) > HALF:
                raise OverflowError(f"%{name} does not fit 16 bits")
            small = s.high - s.low <= BYTE
            steps, zero = 1 if s.constant else self.steps, -s.low if small else 0
            images[name] = Image(s.channels, s.space, steps, zero, 1 if small else 2)
        for step in self.program:
            for name, reach in _reaches(step):
                images[name] = images[name].read_by(reach)
        return images

    def _compiled_all(self, codings: dict[str, Coding]) -> tuple[Step, ...] | None:
        """The program with compiled layers; None if some inputs must be dot words instead."""
        program: list[Step] = []
        large: set[str] = set()
        layers: dict[str, Layer] = {}
        for step in self.program:
            try:
                program.append(self._compiled(step, codings, layers))
            except _TooLarge as segment:
                large |= segment.names
        self.only_dot |= large
        return None if large else tuple(program)

    def _choose(self) -> None:
        """Fill `program` and `sources`, walking from the outputs to the inputs."""
        dense, views = set(self.graph.outputs), set[str]()
        counted = synapse_inputs(self.graph)
        for node in reversed(self.graph.nodes):
            step = self._step(node, node.name in dense)
            if step is None and node.name in views and node.name in counted:
                step = View(node)
            if step is None and (
                isinstance(node.operation, Input) or node.name in counted or self._may_leave(node)
            ):
                step = Simple(node)
            if step is None:
                continue
            self.program.insert(0, step)
            if isinstance(step, Simple):
                dense |= set(node.inputs)
            if isinstance(step, Fire):
                views |= self._views(node)

    def _share(self) -> None:
        """Let layers add up what layers before them have summed, as residual blocks often do."""
        kept: dict[str, tuple[str, Array]] = {}
        program = [self._with_kept(step, kept) for step in self.program]
        read = {c.name for step in program if isinstance(step, Fire) for c in step.sum.currents}
        keepers = {kept[name][0] for name in read}
        self.program = [
            replace(step, keeps=True)
            if isinstance(step, Fire) and step.node.name in keepers
            else step
            for step in program
        ]

    def _with_kept(self, step: Step, kept: dict[str, tuple[str, Array]]) -> Step:
        """A step that adds up what steps before it have summed.

        `kept` says of sums which step has them, and what its neurons add (channels,).
        """
        if not isinstance(step, Fire):
            return step
        own = step.bias - _spread_over(step.sum.bias, step.bias)
        if step.spec is not None and own.ndim == 1 and not step.sum.synapses[0].source.constant:
            kept.setdefault(step.current, (step.node.name, own))
        rest = sum_of(self.net, step.current, kept.keys() - {step.current})
        if rest is None or not rest.currents or not rest.synapses:
            return step
        more = [kept[current.name][1] for current in rest.currents]
        reach = np.abs(more).sum(axis=0)
        total = replace(
            rest,
            low=rest.low - reach,
            high=rest.high + reach,
            currents=tuple(replace(c, bound=c.bound + reach) for c in rest.currents),
        )
        bias = rest.bias - np.sum(more, axis=0)
        return replace(step, sum=total, bias=own + _spread_over(bias, own))

    def _may_leave(self, node: Node) -> bool:
        """Whether a value that no step reads must be computed all the same, to find overflows."""
        return op_of(node).result != "same" and node.name not in self.proven

    def _views(self, node: Node) -> set[str]:
        """Reshapes between a compiled layer's synapses and their sources."""
        read: set[str] = set()
        below = [node] if isinstance(node.operation, Conv | Dense | Affine) else []
        below += [self.nodes[name] for name in node.inputs] if not below else []
        for inner in below:
            if isinstance(inner.operation, Add):
                read |= self._views(inner)
            elif inner.inputs and isinstance(self.nodes[inner.inputs[0]].operation, Reshape):
                read.add(inner.inputs[0])
        return read

    def _step(self, node: Node, dense: bool) -> Step | None:
        """How to compute a node; None if nothing needs it."""
        op, wanted = op_of(node), node.name in self.sources
        if isinstance(node.operation, SumPool) and wanted and not dense:
            return self._pool(node)
        if isinstance(node.operation, MaxPoolCount) and self._counts_fit(node):
            return self._pool(node)
        if op.neuron:
            fire = self._fire(node)
            return fire if fire is not None else Simple(node)
        if dense and isinstance(node.operation, Conv | Dense | Affine | Add):
            total = sum_of(self.net, node.name)
            if total is not None:
                self._want(total)
                return Fire(node, total, None, total.bias)
        if dense or wanted or op.stateful:
            return Simple(node)
        return None

    def _want(self, total: Sum) -> None:
        self.proven |= total.nodes
        for synapse in total.synapses:
            self.sources[synapse.source.name] = synapse.source

    def _counts_fit(self, node: Node) -> bool:
        """Whether running counts of what is pooled stay in 16 bits."""
        below = source_of(self.net, node.inputs[0])
        if below is None or self.nodes[node.inputs[0]].type.dtype != node.type.dtype:
            return False
        weight = total_weight(self.steps, radix=op_of(node, Stateful).radix)
        return max(below.high, -below.low) * weight <= HALF

    def _pool(self, node: Node) -> Pool:
        window = op_of(node, Pooling).window
        rank = len(window.kernel)
        pads = window.pads[:rank]
        parts = (window.kernel, window.strides, pads, window.dilations)
        flat = [
            v
            for part, fill in zip(parts, (1, 1, 0, 1), strict=True)
            for v in (*(fill,) * (2 - rank), *part)
        ]
        below = node.inputs[0]
        source = source_of(self.net, below)
        assert source is not None
        pooled = source_of(self.net, node.name)
        assert pooled is not None
        self.sources |= {below: source, node.name: pooled}
        self.only_dot |= {below, node.name}
        return Pool(node, np.array(flat, np.int64), below)

    def _fire(self, node: Node) -> Fire | None:
        total = sum_of(self.net, node.inputs[0])
        fits = geometry(node.type.shape)
        if total is None or fits is None:
            return None
        spec = self._spec(node)
        if spec is None:
            return None
        bias = total.bias
        if "bias" in node.params:
            own = per_neuron(self.graph.array(node, "bias"), node.type.shape)
            bias = bias.reshape(-1, *(1,) * (own.ndim - 1)) + own
        fire = Fire(node, total, spec, bias)
        start = magnitude(spec.v0) + spec.rule.largest
        if start + total_weight(self.steps, radix=spec.doubles) * fire.reach >= INT32_REACH:
            return None
        self._want(total)
        self.numbers |= set() if spec.rule.code == UNIT else {node.name}
        return fire

    def _spec(self, node: Node) -> NeuronSpec | None:
        op = op_of(node, Neuron)
        kernel = KERNELS.get(type(op))
        if kernel is None:
            return None
        params = self._params(node, op)
        rule = kernel.rule(op, params, self.steps) if params["theta"].min() > 0 else None
        if rule is None or max(rule.largest, rule.net(self.steps)) >= INT32_REACH:
            return None
        low, high = state_type(self.graph, node).bounds
        if rule.least < 0 and rule.theta.max() > high:
            return None  # a negative spike may lift a potential beyond its width
        if rule.theta.size * neurons.COLUMNS * 8 > NEURON_BYTES:
            return None
        low, high = max(low, -(1 << 31)), min(high, (1 << 31) - 1)
        v0, coding = params["v0"], lut_coding(1, False)
        free = op.sign is Sign.FREE
        return NeuronSpec(coding, rule, v0, free, low, high, op.gathers, op.radix)

    def _params(self, node: Node, op: Neuron) -> dict[str, Array]:
        """Params that are potentials or currents, all (channels,) or (channels, height, width)."""
        shape = node.type.shape
        roles = [role for role in node.params if not op.params[role].is_unit]
        arrays = {role: per_neuron(self.graph.array(node, role), shape) for role in roles}
        thresholds = [role for role in roles if role not in ("v0", "bias")]
        full = np.broadcast_shapes(*(_with_space(arrays[role]).shape for role in thresholds))
        if full[1:] != (1, 1):
            for role in thresholds:
                arrays[role] = np.broadcast_to(_with_space(arrays[role]), full)
        return arrays

    def _codings(self) -> dict[str, Coding]:
        """A coding for every source: lookup words unless something needs bytes."""
        dot = set(self.only_dot)
        dot |= {n for n, s in self.sources.items() if not self._looks_up(n, s.low, s.high)}
        changed = True
        while changed:
            changed = False
            for step in self.program:
                if isinstance(step, Fire) and step.sources & dot and not step.sources <= dot:
                    dot |= step.sources
                    changed = True
        together = self._read_together()
        return {
            name: number_coding(s.channels, s.low, s.high)
            if name in dot
            else lut_coding(s.channels, s.low < 0, name not in together)
            for name, s in self.sources.items()
        }

    def _read_together(self) -> set[str]:
        """Sources that some synapse reads but channel by channel."""
        fires = [step for step in self.program if isinstance(step, Fire)]
        return {s.source.name for step in fires for s in step.sum.synapses if not s.own_channels}

    def _looks_up(self, name: str, low: int, high: int) -> bool:
        """Whether numbers of a node may be lookup words: units, which no payload's scan writes."""
        return self.lut and low >= -1 and high <= 1 and name not in self.numbers

    def _compiled(self, step: Step, codings: dict[str, Coding], layers: dict[str, Layer]) -> Step:
        """A step with its layer, which is put into `layers` where its sums are kept."""
        if not isinstance(step, Fire):
            return step
        channels, space = _known_geometry(step.node)
        links = [
            Link(
                *_weights(s, codings[s.source.name]),
                codings[s.source.name],
                s.groups,
                s.strides,
                s.pads,
                s.dilations,
                s.stays_inside(space),
                s.source.space[1],
            )
            for s in step.sum.synapses
        ]
        lookups = [link for link in links if link.coding.kind == LUT]
        if sum(table_bytes(link) for link in lookups) > TABLE_BYTES:
            raise _TooLarge(step.sources)
        if any(current.name not in layers for current in step.sum.currents):
            raise _TooLarge(set())
        spec = step.spec
        if spec is not None:
            spec = replace(spec, coding=codings.get(step.node.name) or self._unread(step.node))
        constant = step.sum.synapses[0].source.constant
        try:
            layer = compile_layer(
                links,
                space,
                channels,
                self.steps,
                step.bias,
                spec,
                step.reach,
                constant,
                tiles=self.sums == TILES,
                currents=[(layers[c.name], c.bound) for c in step.sum.currents],
            )
        except OverflowError:
            raise _TooLarge(step.sources) from None
        if step.keeps:
            layers[step.current] = layer
        return replace(step, spec=spec, layer=layer)

    def _unread(self, node: Node) -> Coding:
        """The coding of spikes that no compiled layer reads."""
        channels, (low, high) = node.type.shape[0], payload_bounds(self.net, node)
        if self._looks_up(node.name, low, high):
            return lut_coding(channels, low < 0)
        return number_coding(channels, low, high)


def _weights(synapse: Synapse, coding: Coding) -> tuple[Array, Array | None]:
    """A synapse's weights and exponents; where lookup tables hold them whole, without any."""
    if synapse.exponents is None or coding.kind != LUT:
        return synapse.weight, synapse.exponents
    whole = synapse.weight.astype(np.int64) << synapse.exponents.reshape(-1, 1, 1, 1)
    if np.abs(whole).reshape(len(whole), -1).sum(axis=1).max(initial=0) <= I16_MAX:
        return whole, None
    return synapse.weight, synapse.exponents


def _known_geometry(node: Node) -> tuple[int, tuple[int, int]]:
    fits = geometry(node.type.shape)
    assert fits is not None
    return fits


def _reaches(step: Step) -> Iterator[tuple[str, Iterable[tuple[int, int, int, int, int]]]]:
    """What windows a step reads of which values: by axis (pad, results, stride, taps, dilation)."""
    if isinstance(step, Fire):
        _, space = _known_geometry(step.node)
        for s in step.sum.synapses:
            taps = s.weight.shape[2:]
            yield s.source.name, zip(s.pads, space, s.strides, taps, s.dilations, strict=True)
    elif isinstance(step, Pool):
        _, space = _known_geometry(step.node)
        kernel, strides, pads, dilations = step.window.reshape(4, 2).tolist()
        yield step.below, zip(pads, space, strides, kernel, dilations, strict=True)


def _spread_over(values: Array, like: Array) -> Array:
    """Values (channels,) with the axes of another array (channels, ...)."""
    return values.reshape(-1, *(1,) * (like.ndim - 1))


def _with_space(array: Array) -> Array:
    """(channels,) or (channels, height, width) with all axes."""
    return array if array.ndim == 3 else array[:, None, None]


class _TooLarge(Exception):
    """A layer's weights do not fit lookup tables; its inputs must be dot words."""

    def __init__(self, names: set[str]) -> None:
        super().__init__(names)
        self.names = names
