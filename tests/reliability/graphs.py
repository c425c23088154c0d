"""Random integer graphs over all ops of the registry, in any order that verifies, and inputs.

A graph grows node by node. The reference runs each node at once, so that widths can be chosen that
just hold what comes, are far too wide, or overflow; the graph then ends there. An op that is new in
the registry takes part by itself where it is stateful: its params and attributes are drawn by their
schema. Ops with a geometry have a method `make_OP`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from spikec.ir import F64, OPS, Graph, InvalidGraph, Node, Param, RangeError, TensorType, verify
from spikec.ir.exact import magnitude
from spikec.ir.op import Attribute, Op, ParamSpec
from spikec.ir.ops.accumulate import Accumulate
from spikec.ir.ops.input import Input
from spikec.ir.types import DType, signed, unsigned
from spikec.ir.verify import MOST_DIGITS, is_windowed
from spikec.ir.windows import Pooling
from spikec.runtime.interpreter import run_node

Array = NDArray[Any]
T = TypeVar("T")
INT_OPS = {name: op for name, op in OPS.items() if "int" in op.stages and not op.activation}
"""What a graph of stage int may hold."""
LARGEST, WIDE = 400, 6000
"""Elements of a value, and of one of a few graphs with many channels."""
NAMES = ("w", "build", "lambda", "x.y", "X_1", "overflows", "N", "steps")
"""Names that mean something to an engine."""


@dataclass(frozen=True, slots=True)
class Case:
    """A graph and coded inputs for it."""

    graph: Graph
    feeds: dict[str, Array]


@dataclass(frozen=True, slots=True)
class Style:
    """What kind of graphs to make.

    Attributes:
        wild: How often a number is any that its type may be, not one of trained networks.
        layered: How often an op goes on where the last one ended, as layers do.
        ops: Most ops besides inputs and readouts.
        chip: Whether only to make what a neuromorphic chip may hold: values with axes and at most
            24 bits, weights of 8, pools of spikes, readouts that nothing reads.
        without: Ops that are not to be.
    """

    wild: float = 0.2
    layered: float = 0.6
    ops: int = 18
    chip: bool = False
    without: tuple[str, ...] = ()

    @property
    def widest(self) -> int:
        """Bits of the widest type."""
        return 24 if self.chip else 64

    @property
    def scalars(self) -> bool:
        """Whether values without axes may be."""
        return not self.chip


@dataclass(slots=True)
class Draft:
    """A node before its result's type is known."""

    op: str
    inputs: list[str]
    attrs: dict[str, Any] = field(default_factory=dict)
    params: dict[str, Param] = field(default_factory=dict)


def style_of(seed: int) -> Style:
    """The style of a seed: from trained networks to any numbers in any order."""
    rng = np.random.default_rng((1, seed))
    wild, layered = (0.0, 0.05, 0.2, 0.6), (0.95, 0.9, 0.6, 0.2)
    return Style(wild[rng.integers(4)], layered[rng.integers(4)])


def grow(seed: int, style: Style | None = None) -> Case:
    """A random graph that verifies, with inputs of one to five, now and then of many samples."""
    rng = np.random.default_rng(seed)
    return _Maker(rng, style_of(seed) if style is None else style).case()


class _Maker:
    def __init__(self, rng: np.random.Generator, style: Style) -> None:
        self.rng, self.style = rng, style
        self.steps = int(self.pick([1, 2, 3, 5, 8, 13, 40], [2, 3, 3, 3, 2, 1, 0.3]))
        self.samples = int(self.pick([1, 2, 3, 5, 33, 70], [2, 3, 3, 2, 0.3, 0.3]))
        self.nodes: dict[str, Node] = {}
        self.params: dict[str, Param] = {}
        self.values: dict[str, Array] = {}
        self.feeds: dict[str, Array] = {}
        self.failed = self.onward = False
        self.framed = "frames" not in style.without and self.chance(0.15)
        self.largest = LARGEST

    def case(self) -> Case:
        """Grow until there are enough nodes, or one of them overflows."""
        if self.chance(0.004):
            self.steps, self.samples = int(self.rng.integers(16000, 18000)), 1
        elif self.chance(0.03):
            self.largest, self.steps, self.samples = WIDE, min(self.steps, 3), min(self.samples, 3)
        for _ in range(int(self.pick([1, 2, 3], [6, 2, 1]))):
            self.input()
        names, many = list(INT_OPS), 1 + int(self.rng.integers(self.style.ops))
        names = [name for name in names if self.may_hold(name)]
        if self.steps > 1000:
            many = min(many, 5)
        weights = [3.0 if op.stateful or op.weighted else 1.0 for op in map(INT_OPS.get, names)]
        for _ in range(6 * many):
            if len(self.nodes) >= many or self.failed:
                break
            self.onward = self.chance(self.style.layered)
            self.grow_by(self.next_op() if self.onward else self.pick(names, weights))
        return self.finished()

    def next_op(self) -> str:
        """What follows in a trained network: neurons on a current, a synapse on spikes."""
        node = self.nodes[self.latest()]
        if isinstance(node.operation, Input) or node.type.dtype.is_spike or node.op == "sum_pool":
            kinds = ["conv", "dense", "affine", "sum_pool", "max_pool_count", "reshape"]
            return self.pick(kinds, [5, 3, 2, 2, 1, 1])
        if INT_OPS[node.op].weighted and self.chance(0.25):
            return "add"
        kinds = [name for name, op in INT_OPS.items() if op.neuron]
        return self.pick([name for name in kinds if self.may_hold(name)])

    def may_hold(self, name: str) -> bool:
        """Whether an op may be in the graph, besides inputs."""
        op = INT_OPS[name]
        given = issubclass(op, Input) or name in self.style.without
        return not given and not (self.framed and is_windowed(op))

    def finished(self) -> Case:
        """Return some readouts; there is at least one."""
        self.onward = False
        readouts = [
            name for name, node in self.nodes.items() if isinstance(node.operation, Accumulate)
        ]
        while not readouts or (not self.failed and self.chance(0.3)):
            last = self.latest() if self.failed else self.any_value()
            readouts.append(self.keep_readout(last))
        self.rng.shuffle(readouts)
        kept = readouts[: 1 + int(self.rng.integers(len(readouts)))]
        nodes = tuple(self.nodes.values())
        return Case(
            verify(Graph("random", "int", self.steps, nodes, tuple(kept), self.params)), self.feeds
        )

    def keep_readout(self, name: str) -> str:
        """Add a readout; a plain one of what overflows."""
        made = None
        if not self.failed:
            params = self.neuron_params("accumulate", name)
            made = self.add(Draft("accumulate", [name], {}, params))
        if made is not None:
            return made
        type_ = TensorType(signed(64), self.nodes[name].type.shape)
        node = Node(self.name(), INT_OPS["accumulate"](), (name,), type_)
        if not self.failed:
            self.failed = not self.evaluate(node)
        self.nodes[node.name] = node
        return node.name

    # Chances

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def wild(self) -> bool:
        return self.chance(self.style.wild)

    def pick(self, values: Sequence[T], weights: Sequence[float] | None = None) -> T:
        p = None if weights is None else np.array(weights) / sum(weights)
        return values[int(self.rng.choice(len(values), p=p))]

    def between(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high, endpoint=True))

    def integers(self, low: int, high: int, shape: tuple[int, ...]) -> Array:
        """Numbers of a range; some are its ends, 0 or close to 0."""
        draw = self.rng.integers(low, high, shape, np.int64, endpoint=True)
        kind = self.rng.random(shape)
        edge = float(self.pick([0.0, 0.1, 0.9], [5, 3, 1]))
        small = self.rng.integers(max(low, -2), min(high, 2), shape, np.int64, endpoint=True)
        draw = np.where(kind < edge, np.where(self.rng.random(shape) < 0.5, low, high), draw)
        return np.where(kind > 1 - float(self.pick([0.0, 0.3, 0.8])), small, draw)

    def shape(self) -> tuple[int, ...]:
        rank = int(self.pick([0, 1, 2, 3, 4], [0.4 * self.style.scalars, 2, 2, 4, 1]))
        while True:
            wide = self.largest > LARGEST
            channels = self.between(1, 9) if self.chance(0.9) else self.between(10, 70)
            channels = self.between(50, 700) if wide and self.chance(0.7) else channels
            shape = (channels, *(self.between(1, 6) for _ in range(rank - 1)))[:rank]
            if math.prod(shape) <= self.largest:
                return shape

    # Values

    def latest(self) -> str:
        return next(reversed(self.nodes))

    def any_value(self) -> str:
        """A value, more often one of the last; readouts are read again now and then."""
        names = list(self.nodes)
        if self.onward:
            return names[-1]
        weights = [(0.1 if self.nodes[n].op == "accumulate" else 1) * (1 + k)
                   for k, n in enumerate(names)]  # fmt: skip
        return self.pick(names, weights)

    def where(self, fits: Callable[[Node], bool]) -> str | None:
        names = [name for name, node in self.nodes.items() if fits(node)]
        return self.pick(names, [1 + k for k in range(len(names))]) if names else None

    def name(self) -> str:
        free = [name for name in NAMES if name not in self.nodes]
        return self.pick(free) if free and self.chance(0.05) else f"n{len(self.nodes)}"

    def input(self) -> None:
        bits = int(self.pick([8, 1, 3, 7, 16, 24], [8, 1, 2, 1, 1, 1]))
        dtype = signed(bits) if self.chance(0.25) else unsigned(bits)
        if self.wild():
            dtype = self.any_type()
        shape, (low, high) = self.shape(), dtype.bounds
        timed = self.framed and self.chance(0.7)
        frames = (self.steps + 1,) if timed else ()
        x = self.integers(low, high, (self.samples, *frames, *shape))
        for value in (low, high, 0):
            if self.chance(0.15):
                x[self.between(0, self.samples - 1)] = value
        units = {}
        if self.chance(0.5):
            units = {"scale": Param.of(0.5, F64), "offset": Param.of(-1.0, F64)}
        names = {role: f"units.{role}" for role in units}
        self.params |= {names[role]: param for role, param in units.items()}
        kind = INT_OPS["frames" if timed else "input"]
        node = Node(self.name(), kind(), (), TensorType(dtype, shape), names)
        if self.chance(0.01):  # a code that the input cannot hold
            over = self.pick([low - 1, high + 1])
            x.flat[self.between(0, x.size - 1)] = np.clip(over, -(1 << 63), (1 << 63) - 1)
        self.nodes[node.name], self.feeds[node.name] = node, x
        self.evaluate(node)

    def any_type(self) -> DType:
        bits = self.between(1, self.style.widest)
        return signed(bits) if bits == 64 or self.chance(0.5) else unsigned(bits)

    def holding(self, array: Array, spare: int) -> DType:
        """A type that holds some numbers, with spare bits."""
        low, high = int(array.min(initial=0)), int(array.max(initial=0))
        if low >= 0 and self.chance(0.3):
            return unsigned(min(63, max(1, high.bit_length()) + spare))
        return signed(min(64, max(high.bit_length(), (-low - 1).bit_length()) + 1 + spare))

    def param(self, array: Array) -> Param:
        if self.chance(0.6):
            for bits in (8, 24):
                low, high = signed(bits).bounds
                if array.size and low <= array.min() and array.max() <= high:
                    return Param.of(array, signed(bits))
        return Param.of(array, self.holding(array, self.between(0, 2)))

    def spread(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A shape of params: a scalar, per channel, per neuron, or broadcast."""
        some = tuple(1 if self.chance(0.5) else size for size in shape)
        rare = 0.3 + self.style.wild
        return self.pick([(), shape[:1], shape, some], [2, 4, 2 * rare, rare])

    # Nodes

    def grow_by(self, name: str) -> None:
        maker: Callable[[], Draft | None] | None = getattr(self, f"make_{name}", None)
        if getattr(INT_OPS[name], "radix", False) and self.steps + 2 > MOST_DIGITS:
            return
        if maker is not None:
            draft = maker()
        elif issubclass(INT_OPS[name], Pooling):
            draft = self.pooled_spikes(name)
        else:
            draft = self.by_schema(INT_OPS[name])
        if draft is not None:
            self.add(draft)

    def add(self, draft: Draft) -> str | None:
        """Keep a node that verifies; one that overflows now and then, as the last one."""
        name = self.name()
        inputs = [self.nodes[n].type for n in draft.inputs]
        types = {role: param.type for role, param in draft.params.items()}
        try:
            op = INT_OPS[draft.op].of(draft.attrs)
            shape = op.infer(inputs, types)
        except InvalidGraph:
            return None
        if math.prod(shape) > self.largest or (shape == () and not self.style.scalars):
            return None
        names = {role: f"{name}.{role}" for role in draft.params}
        loc = f"Node_{len(self.nodes)}" if self.chance(0.2) else None
        own = {names[role]: param for role, param in draft.params.items()}
        dtype, state = self.result(op, inputs), len(self.params)
        node = Node(name, op, tuple(draft.inputs), TensorType(dtype, shape), names, loc)
        self.params |= own
        kept = self.evaluate(node)
        if kept and not self.failed and op.result == "current":
            node = self.narrowed(node)
            kept = self.evaluate(node)
        if kept and self.fits_style(node):
            self.nodes[name] = node
            return name
        self.params = dict(list(self.params.items())[:state])
        return None

    def fits_style(self, node: Node) -> bool:
        reads = [self.nodes[name] for name in node.inputs]
        pools_current = node.op == "max_pool_count" and not reads[0].type.dtype.is_spike
        reads_readout = any(read.op == "accumulate" for read in reads)
        return not (self.style.chip and (pools_current or reads_readout))

    def result(self, op: Op, inputs: list[TensorType]) -> DType:
        if op.result == "spike":
            return op.payload_type(inputs)
        return inputs[0].dtype if op.result == "same" else signed(64)

    def narrowed(self, node: Node) -> Node:
        """The node with a result that is wide enough, mostly."""
        spare = self.pick([0, 1, 2, 8], [2, 2, 2, 1])
        dtype = self.holding(self.values[node.name], spare)
        dtype = DType(dtype.kind, min(dtype.bits, self.style.widest))
        if dtype.bits <= 24 and dtype.kind == "i" and self.chance(0.9 - self.style.wild):
            dtype = signed(24)
        if self.chance(0.02):
            dtype = self.holding(self.values[node.name] // 2, 0)
        if self.wild() and self.chance(0.3):
            dtype = self.any_type()
        return replace(node, type=TensorType(dtype, node.type.shape))

    def evaluate(self, node: Node) -> bool:
        """Run a node by the reference; whether to keep it."""
        graph = Graph("part", "int", self.steps, (*self.nodes.values(), node), (), self.params)
        inputs = [self.values[name] for name in node.inputs]
        try:
            value, _ = run_node(graph, node, inputs, self.feeds, self.steps)
        except RangeError:
            self.failed = isinstance(node.operation, Input) or self.chance(0.015)
            return self.failed
        self.values[node.name] = value
        return True

    # Params and attributes by their schema

    def by_schema(self, op: type[Op]) -> Draft:
        """A node of an op with no geometry of its own: a neuron, a readout."""
        name = self.any_value()
        attrs = {key: self.attribute(attribute) for key, attribute in op.schema().items()
                 if not attribute.optional or self.chance(0.1)}  # fmt: skip
        return Draft(op.name, [name], attrs, self.neuron_params(op.name, name))

    def attribute(self, attribute: Attribute) -> Any:
        if attribute.choices:
            return self.pick(attribute.choices)
        if attribute.kind is bool:
            return self.chance(0.5)
        return self.between(1, 8) if attribute.kind is int else 1.0

    def neuron_params(self, op: str, source: str) -> dict[str, Param]:
        """Thresholds, biases and potentials in proportion to the current, now and then wild."""
        shape, current = self.nodes[source].type.shape, self.values[source]
        top = int(magnitude(current) * self.pick([0.1, 0.5, 1.0, 3.0, self.steps]))
        top = min(max(1, top), 1 << 62)
        found = {}
        for role, spec in INT_OPS[op].params.items():
            if not spec.required and self.chance(0.5):
                continue
            if spec.is_unit:
                found[role] = Param.of(self.rng.random(self.spread(shape)) + 0.1, F64)
                continue
            low, high = self.any_type().bounds if self.wild() else self.usual(role, spec, top)
            low, high = (1, max(1, high)) if role == "theta" else (low, high)
            found[role] = self.param(self.integers(low, high, self.spread(shape)))
        return found

    def usual(self, role: str, spec: ParamSpec, top: int) -> tuple[int, int]:
        """What a param of a trained network may be: thresholds above 0, what takes back below."""
        if spec.kind == "number":
            return 0, 8
        if role == "theta" or (spec.share is not None and spec.share > 0):
            return 1, top
        return -top, 0 if spec.share is not None else top

    def weights(self, shape: tuple[int, ...]) -> Param:
        bits = int(self.pick([8, 4, 2, 16], [6, 1, 1, 0.3]))
        if self.wild():
            bits = self.between(1, 64)
        low, high = signed(min(bits, 8) if self.style.chip else bits).bounds
        return self.param(self.integers(low, high, shape))

    def synapse(
        self, w: tuple[int, ...], b: tuple[int, ...], channels: tuple[int, ...]
    ) -> dict[str, Param]:
        """Weights, now and then a constant and exponents of the output `channels`."""
        found = {"w": self.weights(w)}
        if self.chance(0.3):
            low, high = (-300, 300) if not self.wild() else self.any_type().bounds
            found["b"] = self.param(self.integers(low, high, b))
        if self.chance(0.15):
            most = 31 if self.wild() else 4
            found["exponent"] = Param.of(self.integers(0, most, channels), unsigned(5))
        return found

    # Ops with a geometry

    def window(self, spatial: tuple[int, ...]) -> tuple[tuple[int, ...], dict[str, Any]]:
        """A kernel and where it stands."""
        rank = len(spatial)
        kernel = tuple(self.between(1, min(size + 1, 4)) for size in spatial)
        if self.chance(0.1):
            kernel = spatial
        strides = tuple(self.between(1, self.pick([1, 2, 4])) for _ in spatial)
        dilations = tuple(self.between(1, self.pick([1, 1, 3])) for _ in spatial)
        pads = tuple(self.between(0, self.pick([0, 1, 2, 3])) for _ in range(2 * rank))
        if self.chance(0.01):
            strides = tuple(self.between(1, (1 << 31) - 1) for _ in spatial)
        return kernel, {"strides": strides, "dilations": dilations, "pads": pads}

    def make_dense(self) -> Draft | None:
        name = self.any_value()
        type_ = self.nodes[name].type
        if len(type_.shape) != 1:
            flat = self.add(Draft("reshape", [name], {"shape": (type_.size,)}))
            if flat is None:
                return None
            name = flat
        out = self.between(1, 8) if self.chance(0.9) else self.between(9, 70)
        return Draft("dense", [name], {}, self.synapse((out, type_.size), (out,), (out,)))

    def make_affine(self) -> Draft:
        name = self.any_value()
        shape = self.nodes[name].type.shape
        params = self.synapse(self.spread(shape), self.spread(shape), shape[:1])
        return Draft("affine", [name], {}, params)

    def mapped(self) -> str | None:
        """A value with channels and places."""
        if self.onward and len(self.nodes[self.latest()].type.shape) >= 2:
            return self.latest()
        return self.where(lambda node: len(node.type.shape) >= 2)

    def groups(self, channels: int) -> int:
        dividers = [g for g in range(1, channels + 1) if channels % g == 0]
        return int(self.pick([1, channels, self.pick(dividers)], [5, 2, 2]))

    def make_conv(self) -> Draft | None:
        name = self.mapped()
        if name is None:
            return None
        channels, *spatial = self.nodes[name].type.shape
        groups, (kernel, attrs) = self.groups(channels), self.window(tuple(spatial))
        out = groups * (self.between(1, 6) if groups < 9 else 1)
        params = self.synapse((out, channels // groups, *kernel), (out,), (out,))
        return Draft("conv", [name], {**attrs, "groups": groups}, params)

    def make_conv_transpose(self) -> Draft | None:
        name = self.mapped()
        if name is None:
            return None
        channels, *spatial = self.nodes[name].type.shape
        groups, (kernel, attrs) = self.groups(channels), self.window(tuple(spatial))
        out = self.between(1, 3)
        params = self.synapse((channels, out, *kernel), (groups * out,), (groups * out,))
        extra = tuple(self.between(0, 1) for _ in spatial)
        return Draft("conv_transpose", [name], {**attrs, "groups": groups, "extra": extra}, params)

    def pooled(self, op: str, name: str | None) -> Draft | None:
        if name is None or not self.nodes[name].type.shape:
            return None
        kernel, attrs = self.window(self.nodes[name].type.shape[1:])
        if self.chance(0.6):  # places that hold pads alone are refused
            attrs["pads"] = tuple(0 for _ in attrs["pads"])
        return Draft(op, [name], {**attrs, "kernel": kernel})

    def make_sum_pool(self) -> Draft | None:
        return self.pooled("sum_pool", self.any_value())

    def pooled_spikes(self, op: str) -> Draft | None:
        if self.onward or self.chance(0.1):
            return self.pooled(op, self.any_value())
        spiking = self.where(lambda node: node.type.dtype.is_spike)
        return self.pooled(op, spiking)

    def make_add(self) -> Draft:
        first = self.any_value()
        shape = self.nodes[first].type.shape
        others = [name for name, node in self.nodes.items() if node.type.shape == shape]
        more = [self.pick(others) for _ in range(int(self.pick([0, 1, 2, 4], [0.3, 4, 2, 0.5])))]
        return Draft("add", [first, *more])

    def make_reduce_sum(self) -> Draft:
        name = self.any_value()
        rank = len(self.nodes[name].type.shape)
        return Draft("reduce_sum", [name],
                     {"axes": tuple(axis for axis in range(rank) if self.chance(0.5))})  # fmt: skip

    def make_concat(self) -> Draft | None:
        first = self.any_value()
        type_ = self.nodes[first].type
        if not type_.shape:
            return None
        axis = self.between(0, len(type_.shape) - 1)
        alike = [
            name
            for name, node in self.nodes.items()
            if node.type.dtype == type_.dtype and len(node.type.shape) == len(type_.shape)
            and all(a == b or i == axis
                    for i, (a, b) in enumerate(zip(node.type.shape, type_.shape, strict=True)))
        ]  # fmt: skip
        more = [self.pick(alike) for _ in range(self.between(0, 2))]
        return Draft("concat", [first, *more], {"axis": axis})

    def make_gather(self) -> Draft | None:
        name = self.any_value()
        shape = self.nodes[name].type.shape
        if not shape:
            return None
        axis = self.between(0, len(shape) - 1)
        many = self.between(1, 2 * shape[axis])
        indices = tuple(self.between(0, shape[axis] - 1) for _ in range(many))
        return Draft("gather", [name], {"axis": axis, "indices": indices})

    def make_pad(self) -> Draft:
        name = self.any_value()
        rank = len(self.nodes[name].type.shape)
        return Draft("pad", [name], {"pads": tuple(self.between(0, 2) for _ in range(2 * rank))})

    def make_reshape(self) -> Draft:
        name = self.any_value()
        size, shape = self.nodes[name].type.size, []
        while size > 1 and len(shape) < 3 and self.chance(0.7):
            shape.append(self.pick([d for d in range(1, size + 1) if size % d == 0]))
            size //= shape[-1]
        shape += [size] if size > 1 or not self.style.scalars or self.chance(0.5) else []
        return Draft("reshape", [name], {"shape": tuple(shape)})

    def make_slice(self) -> Draft:
        name = self.any_value()
        starts, sizes, steps = [], [], []
        for have in self.nodes[name].type.shape:
            size, step = self.between(1, have), self.pick([1, 1, 2, -1, -3])
            reach = (size - 1) * abs(step)
            while reach >= have:
                size, reach = size - 1, reach - abs(step)
            first = self.between(0, have - 1 - reach)
            starts.append(first if step > 0 else first + reach)
            sizes.append(size)
            steps.append(step)
        attrs = {"starts": tuple(starts), "sizes": tuple(sizes), "steps": tuple(steps)}
        return Draft("slice", [name], attrs)

    def make_transpose(self) -> Draft:
        name = self.any_value()
        perm = self.rng.permutation(len(self.nodes[name].type.shape))
        return Draft("transpose", [name], {"perm": tuple(map(int, perm))})

    def make_upsample(self) -> Draft:
        name = self.any_value()
        factors = tuple(int(self.pick([1, 1, 2, 3])) for _ in self.nodes[name].type.shape)
        return Draft("upsample", [name], {"factors": factors})
