"""Linear maps between layers of neurons, spelled out as one synapse per spike train.

Between two layers of neurons everything is linear, and `W (a + b) = W a + W b`: a synapse that
reads a sum, a concatenation or a slope of trains is the sum of synapses that read one train each.
Each then has weights, and in integers an exponent, of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from spikec.ir import F32, Graph, Node, Param, TensorType, op_of, spread
from spikec.ir.activation import Activation
from spikec.ir.builder import unique_name
from spikec.ir.op import Op, Synapse
from spikec.ir.ops.activations.relay import Relay
from spikec.ir.ops.activations.relu import Relu
from spikec.ir.ops.input import Input
from spikec.ir.ops.max_pool import MaxPool
from spikec.ir.ops.routing.add import Add
from spikec.ir.ops.routing.concat import Concat
from spikec.ir.ops.routing.pad import Pad
from spikec.ir.ops.routing.reshape import Reshape
from spikec.ir.ops.routing.sum_pool import SumPool
from spikec.ir.ops.synapses.affine import Affine
from spikec.ir.ops.synapses.conv import Conv
from spikec.ir.ops.synapses.conv_transpose import ConvTranspose
from spikec.ir.windows import Window

Array = NDArray[np.floating]

MOST_PARTS = 16
"""Trains that a synapse may read before their sum is relayed instead."""
MOST_TAPS = 1 << 20
"""Synapses that one behind sums over images may come to before the sums are relayed instead."""


class NotSeparable(Exception):
    """A value that is no sum of trains that linear ops without synapses lead to."""


@dataclass(slots=True)
class Trains:
    """Rewrites a graph of stage ann so that each synapse and pooling reads one train.

    A train is what will be spikes: an input, an activation, or a maximum over one; whatever is not
    linear is taken for one. Values of the old graph are found under `value` (any form) and `parts`
    (trains behind linear ops whose sum the value is).

    Attributes:
        graph: The old graph.
        relays_sums: Whether sums over images are relayed where their reader would be very large.
        nodes: The new graph so far.
        params: New params.
        notes: What was relayed, in sentences.
        pooled: Old values that are relayed to be pooled.
    """

    graph: Graph
    relays_sums: bool = False
    nodes: dict[str, Node] = field(default_factory=dict)
    params: dict[str, Param] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    pooled: list[str] = field(default_factory=list)
    _old: Mapping[str, Node] = field(default_factory=dict)
    _readers: Mapping[str, tuple[Node, ...]] = field(default_factory=dict)
    _values: dict[str, str] = field(default_factory=dict)
    _parts: dict[str, list[str]] = field(default_factory=dict)
    _relayed: dict[str, str] = field(default_factory=dict)
    _scaled: dict[tuple[str, bytes], str] = field(default_factory=dict)

    def run(self) -> Graph:
        """The rewritten graph."""
        self._old, self._readers = self.graph.by_name, self.graph.readers
        for node in self.graph.nodes:
            op = op_of(node)
            if isinstance(op, Input) or op.activation:
                self._keep(node)
            elif isinstance(op, MaxPool):
                self._values[node.name] = self._pooled(node)
            elif isinstance(op, Synapse) and not op.one_to_one:
                self._values[node.name] = self._synapse(node)
            elif isinstance(op, Affine):
                self._values[node.name] = self._affine(node)
            else:
                self._keep(node)
        outputs = tuple(self._values[name] for name in self.graph.outputs)
        return self.graph.with_nodes(self.nodes.values(), self.params, outputs=outputs)

    # --- building ---------------------------------------------------------------------------

    def _put(
        self,
        like: Node,
        name: str,
        op: Op,
        inputs: tuple[str, ...],
        **arrays: Array,
    ) -> str:
        """A new node at the place of `like`; its shape is inferred. Returns its name."""
        name = unique_name(name, self.nodes if like.name == name else {*self.nodes, *self._old})
        roles = {role: f"{name}.{role}" for role in arrays}
        made = {roles[role]: Param.of(array, F32) for role, array in arrays.items()}
        self.params.update(made)
        types = {role: made[roles[role]].type for role in roles}
        shape = op.infer([self.nodes[i].type for i in inputs], types)
        type_ = TensorType(like.type.dtype, shape)
        self.nodes[name] = Node(name, op, inputs, type_, roles, like.loc)
        return name

    def _keep(self, node: Node) -> None:
        inputs = tuple(self._values[name] for name in node.inputs)
        self.nodes[node.name] = replace(node, inputs=inputs)
        self._values[node.name] = node.name

    def _arrays(self, node: Node) -> tuple[Array, Array | None]:
        w = self.graph.array(node, "w").astype(np.float64)
        b = self.graph.array(node, "b").astype(np.float64) if "b" in node.params else None
        return w, b

    def _sum(self, like: Node, names: list[str]) -> str:
        """The sum of values under the name of `like`."""
        return self._put(like, like.name, Add(), tuple(names))

    # --- trains -----------------------------------------------------------------------------

    def relayed(self, name: str) -> str:
        """An old value as one train: a relay neuron sends it, a signed one where it may be < 0."""
        if name not in self._relayed:
            node = self._old[name]
            pooling = self._pooling(name)
            unsigned = pooling is not None and self._is_rectified(pooling.inputs[0])
            op = Relu() if unsigned else Relay()
            self._relayed[name] = self._put(node, f"{name}.relay", op, (self._values[name],))
            self.notes.append(f"%{name} is no spike train yet feeds a synapse or pooling: relayed")
        return self._relayed[name]

    def _is_rectified(self, name: str) -> bool:
        rectifier = self._old[name].operation
        return isinstance(rectifier, Activation) and not rectifier.signed

    def _pooling(self, name: str) -> Node | None:
        """The pooling whose sums or means a value is."""
        node = self._old[name]
        while not isinstance(op := node.operation, SumPool):
            mean = isinstance(op, Affine) and "b" not in node.params
            if not isinstance(op, Reshape) and not (mean and (self._arrays(node)[0] > 0).all()):
                return None
            node = self._old[node.inputs[0]]
        return node

    def parts(self, name: str) -> list[str]:
        """New values, each one train behind linear ops without synapses, whose sum `name` is."""
        if name not in self._parts:
            try:
                separated = self._separated(name)
            except NotSeparable:
                separated = [self.relayed(name)]
            self._parts[name] = separated if len(separated) <= MOST_PARTS else [self.relayed(name)]
        return self._parts[name]

    def _separated(self, name: str) -> list[str]:
        node = self._old[name]
        op = op_of(node)
        if not op.linear:
            return [self._values[name]]
        if isinstance(op, Synapse) and not op.one_to_one:
            raise NotSeparable
        if isinstance(op, Add):
            for term in node.inputs:
                if not self._separable(term):
                    raise NotSeparable
            return [part for term in node.inputs for part in self.parts(term)]
        if isinstance(op, Concat):
            return self._concatenated(node)
        if not self._separable(node.inputs[0]):
            raise NotSeparable
        return self._moved(node, self.parts(node.inputs[0]))

    def _separable(self, name: str) -> bool:
        """Whether a value holds no synapse's output, past sums and moves."""
        node = self._old[name]
        op = op_of(node)
        if not op.linear or isinstance(op, Concat):
            return True
        if isinstance(op, Synapse) and not op.one_to_one:
            return False
        return all(self._separable(term) for term in node.inputs)

    def _all_trains(self, name: str) -> bool:
        """Whether a value holds trains alone, no synapse's output."""
        node = self._old[name]
        op = op_of(node)
        if not op.linear:
            return True
        if isinstance(op, Synapse) and not op.one_to_one:
            return False
        return all(self._all_trains(term) for term in node.inputs)

    def _moved(self, node: Node, parts: list[str]) -> list[str]:
        """A linear op without a synapse on each part of its input; its offset goes to the first."""
        if (
            len(parts) == 1
            and self._values.get(node.name) == node.name
            and (self.nodes[node.name].inputs == tuple(parts))
        ):
            return [node.name]
        moved = []
        for index, part in enumerate(parts):
            arrays = {role: self.graph.array(node, role) for role in node.params}
            if index:
                arrays.pop("b", None)
            inner = f"{node.name}.{part}" if len(parts) > 1 else f"{node.name}.train"
            moved.append(self._routed(node, inner, part, arrays))
        return moved

    def _routed(self, node: Node, name: str, part: str, arrays: Mapping[str, Array]) -> str:
        """`node` on one part. A flattened pad of channels stays a pad of channels."""
        below = self.nodes[part]
        outer = below.operation
        flattens = isinstance(node.operation, Reshape) and len(node.type.shape) == 1
        if flattens and isinstance(outer, Pad):
            pads, rank = outer.pads, len(below.type.shape)
            only_channels = not any(p for i, p in enumerate(pads) if i % rank)
            if only_channels:
                inner = self.nodes[below.inputs[0]].type
                flat = self._put(node, f"{name}.flat", Reshape((inner.size,)), below.inputs)
                size = math.prod(inner.shape[1:])
                around = (pads[0] * size, pads[rank] * size)
                return self._put(node, name, Pad(around), (flat,))
        return self._put(node, name, node.operation, (part,), **arrays)

    def _concatenated(self, node: Node) -> list[str]:
        """Each input of a concatenation, with zeros in the place of the others."""
        axis = op_of(node, Concat).axis
        total, start = node.type.shape[axis], 0
        padded = []
        for index, name in enumerate(node.inputs):
            size = self._old[name].type.shape[axis]
            for part in self.parts(name):
                rank = len(node.type.shape)
                pads = [0] * (2 * rank)
                pads[axis], pads[axis + rank] = start, total - start - size
                inner = f"{node.name}.{index}"
                padded.append(self._put(node, inner, Pad(tuple(pads)), (part,)))
            start += size
        return padded

    # --- readers ----------------------------------------------------------------------------

    def _synapse(self, node: Node) -> str:
        """A synapse on each part of its input."""
        if self.relays_sums and self._is_large_behind_sums(node):
            parts = [self.relayed(node.inputs[0])]
        else:
            parts = self.parts(node.inputs[0])
        if len(parts) == 1 and self.nodes[parts[0]].op != "pad":
            self.nodes[node.name] = replace(node, inputs=(parts[0],))
            return node.name
        w, b = self._arrays(node)
        terms = []
        for index, part in enumerate(parts):
            cut = self._sliced(node, part, w, b)
            weights, source = cut if cut else (w, part)
            arrays = {"w": weights} if b is None or index else {"w": weights, "b": b}
            name = node.name if len(parts) == 1 else f"{node.name}.{index}"
            terms.append(self._put(node, name, node.operation, (source,), **arrays))
        return terms[0] if len(terms) == 1 else self._sum(node, terms)

    def _is_large_behind_sums(self, node: Node) -> bool:
        """Whether a synapse on sums over whole images has very many synapses on single spikes."""
        pooling = self._pooling(node.inputs[0])
        if pooling is None or math.prod(pooling.type.shape[1:]) > 1:
            return False
        types = {role: self.graph.params[name].type for role, name in node.params.items()}
        inputs = [self._old[name].type for name in node.inputs]
        one = op_of(node, Synapse).synaptic_operations(inputs, types)
        return one * math.prod(op_of(pooling, SumPool).kernel) > MOST_TAPS

    def _sliced(self, node: Node, part: str, w: Array, b: Array | None) -> tuple[Array, str] | None:
        """The weights on the channels that a pad does not fill with zeros, and what it pads."""
        pad = self.nodes[part]
        grouped = isinstance(node.operation, Conv | ConvTranspose) and node.operation.groups != 1
        if not isinstance(pad.operation, Pad) or grouped:
            return None
        pads, rank = pad.operation.pads, len(pad.type.shape)
        if any(p for i, p in enumerate(pads) if i % rank):
            return None
        start, size = pads[0], self.nodes[pad.inputs[0]].type.shape[0]
        axis = 0 if isinstance(node.operation, ConvTranspose) else 1
        return w.take(range(start, start + size), axis=axis), pad.inputs[0]

    def _pooled(self, node: Node) -> str:
        """Max pooling of one train, past moves that it may trade places with."""
        window = op_of(node, MaxPool).window
        pooled = self._pool(node, node.name, self._values[node.inputs[0]], window)
        if pooled is None:
            self.pooled.append(node.inputs[0])
            train = self.relayed(node.inputs[0])
            return self._put(node, node.name, node.operation, (train,))
        return pooled

    def _pool(self, like: Node, name: str, source: str, window: Window) -> str | None:
        """The maximum over windows of a new value, or None where a relay must send it first."""
        below = self.nodes[source]
        op = below.operation
        if not op.linear:
            return self._put(
                like,
                name,
                MaxPool(window.kernel, window.strides, window.pads, window.dilations),
                (source,),
            )
        if isinstance(op, Concat) and op.axis == 0:
            pools = [
                self._pool(like, f"{name}.{index}", part, window)
                for index, part in enumerate(below.inputs)
            ]
            if any(pool is None for pool in pools):
                return None
            return self._put(like, name, op, tuple(p for p in pools if p))
        if isinstance(op, Affine) and (w := self._positive(below)) is not None:
            pool = self._pool(like, f"{name}.pool", below.inputs[0], window)
            arrays = {"w": w} if "b" not in below.params else {"w": w, "b": self._own(below, "b")}
            return pool and self._put(like, name, Affine(), (pool,), **arrays)
        if isinstance(op, Reshape) and (inner := self._without_ones(below, window)) is not None:
            pool = self._pool(like, f"{name}.pool", below.inputs[0], inner)
            shape = (below.type.shape[0], *window.output(below.type.shape[1:]))
            return pool and self._put(like, name, Reshape(shape), (pool,))
        if isinstance(op, Pad) and (wider := self._with_pads(below, op, window)) is not None:
            return self._pool(like, name, below.inputs[0], wider)
        return None

    def _own(self, node: Node, role: str) -> Array:
        """An array of a new node."""
        param = self.params.get(node.params[role]) or self.graph.params[node.params[role]]
        assert param.array is not None
        return param.array.astype(np.float64)

    def _positive(self, node: Node) -> Array | None:
        """The factors of an affine if a maximum may go before it: one positive one a channel."""
        w = self._own(node, "w")
        by_channel = w.ndim <= 1 and ("b" not in node.params or self._own(node, "b").ndim <= 1)
        return w if by_channel and (w > 0).all() else None

    def _without_ones(self, node: Node, window: Window) -> Window | None:
        """The window before a reshape that adds or drops only spatial axes of size 1."""
        outer, inner = node.type.shape, self.nodes[node.inputs[0]].type.shape
        kept = [size for size in outer[1:] if size > 1]
        if outer[0] != inner[0] or kept != [size for size in inner[1:] if size > 1]:
            return None
        rank = len(outer) - 1
        taps = list(
            zip(
                window.kernel,
                window.strides,
                window.pads[:rank],
                window.pads[rank:],
                window.dilations,
                strict=True,
            )
        )
        long = [tap for tap, size in zip(taps, outer[1:], strict=True) if size > 1]
        short = [tap for tap, size in zip(taps, outer[1:], strict=True) if size == 1]
        if len(inner) < 2 or any(tap[0] != 1 or tap[2] or tap[3] for tap in short):
            return None
        moving = iter(long)
        placed = [next(moving) if size > 1 else (1, 1, 0, 0, 1) for size in inner[1:]]
        kernel, strides, begins, ends, dilations = zip(*placed, strict=True)
        return Window(kernel, strides, begins + ends, dilations)

    def _with_pads(self, node: Node, pad: Pad, window: Window) -> Window | None:
        """The window that pads by itself, where zeros around a rectified value never win."""
        source = self.nodes[node.inputs[0]]
        while isinstance(source.operation, Pad):
            source = self.nodes[source.inputs[0]]
        pads, rank = pad.pads, len(node.type.shape)
        rectifier = source.operation
        unsigned = isinstance(rectifier, Activation) and not rectifier.signed
        begins, ends = pads[1:rank], pads[rank + 1 :]
        both = tuple(a + b for a, b in zip(window.pads, begins + ends, strict=True))
        inside = all(p < k for p, k in zip(both, window.kernel * 2, strict=True))
        if not unsigned or pads[0] or pads[rank] or not inside:
            return None
        return Window(window.kernel, window.strides, both, window.dilations)

    # --- factors on currents -----------------------------------------------------------------

    def _affine(self, node: Node) -> str:
        """A factor on trains stays; one on a current that a neuron cannot absorb goes below."""
        source = node.inputs[0]
        w, _ = self._arrays(node)
        trains = self._all_trains(source)
        plain = trains and ((w > 0).all() or self.parts(source) == [self._values[source]])
        if plain or self._absorbed(node, w):
            self._keep(node)
            return node.name
        try:
            scaled = self._times(source, w, node)
        except NotSeparable:
            inputs = (self.relayed(source),)
            self.nodes[node.name] = replace(node, inputs=inputs)
            return node.name
        if "b" in node.params:
            b = self.graph.array(node, "b")
            return self._put(node, node.name, Affine(), (scaled,), w=np.ones(()), b=b)
        return scaled

    def _absorbed(self, node: Node, w: Array) -> bool:
        """Whether the neurons that read a factor on a current can divide by it instead."""
        if (w == 1).all():
            return True
        if (w <= 0).any():
            return False
        return all(op_of(reader).activation for reader in self._readers[node.name]) and (
            node.name not in self.graph.outputs
        )

    def _times(self, name: str, w: Array, like: Node) -> str:
        """An old value times a factor, which goes into copies of its synapses."""
        key = (name, w.tobytes() + str(w.shape).encode())
        if key not in self._scaled:
            self._scaled[key] = self._scaled_value(name, w, like)
        return self._scaled[key]

    def _scaled_value(self, name: str, w: Array, like: Node) -> str:
        node = self._old[name]
        op = op_of(node)
        made = f"{name}.times"
        if self._all_trains(name):
            trains = [
                self._put(node, f"{made}.train", Affine(), (p,), w=w) for p in self.parts(name)
            ]
            return trains[0] if len(trains) == 1 else self._put(node, made, Add(), tuple(trains))
        if isinstance(op, Add):
            terms = tuple(self._times(term, w, like) for term in node.inputs)
            return self._put(node, made, Add(), terms)
        if isinstance(op, Affine):
            own, b = self._arrays(node)
            both = (
                own * w
                if own.ndim <= 1 and w.ndim <= 1
                else (spread(own, node.type.shape) * spread(w, node.type.shape))
            )
            inner = self._times(node.inputs[0], both, like)
            if b is None:
                return inner
            offset = spread(b, node.type.shape) * spread(w, node.type.shape)
            return self._put(node, made, Affine(), (inner,), w=np.ones(()), b=offset)
        if op.weighted:
            return self._scaled_synapse(node, made, w)
        if isinstance(op, Concat):
            return self._scaled_concat(node, made, w, like)
        if w.ndim and not self._keeps_channels(node):
            raise NotSeparable
        inner = self._times(node.inputs[0], w, like)
        return self._put(node, made, node.operation, (inner,))

    def _scaled_synapse(self, node: Node, made: str, w: Array) -> str:
        if w.ndim > 1:
            raise NotSeparable
        column = np.broadcast_to(w, node.type.shape[:1])
        own, b = self._arrays(node)
        weights = op_of(node, Synapse).scale_outputs(own, column)
        arrays = {"w": weights} if b is None else {"w": weights, "b": b * column}
        inputs = tuple(self.parts(node.inputs[0]))
        if len(inputs) == 1:
            return self._put(node, made, node.operation, inputs, **arrays)
        terms = []
        for index, part in enumerate(inputs):
            less = arrays if not index else {"w": weights}
            terms.append(self._put(node, f"{made}.{index}", node.operation, (part,), **less))
        return self._put(node, made, Add(), tuple(terms))

    def _scaled_concat(self, node: Node, made: str, w: Array, like: Node) -> str:
        axis = op_of(node, Concat).axis
        if w.ndim and axis:
            raise NotSeparable
        terms, start = [], 0
        for name in node.inputs:
            size = self._old[name].type.shape[axis]
            share = w[start : start + size] if w.ndim else w
            terms.append(self._times(name, share, like))
            start += size
        return self._put(node, made, node.operation, tuple(terms))

    def _keeps_channels(self, node: Node) -> bool:
        """Whether a move leaves each channel (axis 0) in its place."""
        shape = self._old[node.inputs[0]].type.shape
        if node.type.shape[:1] != shape[:1]:
            return False
        index = np.arange(1.0, shape[0] + 1)
        full = np.broadcast_to(spread(index, shape), shape)[None]
        value = op_of(node).run([full], {})[0]
        counts = op_of(node).run([np.ones_like(full)], {})[0]
        return bool((value == counts * spread(index, node.type.shape)).all())
