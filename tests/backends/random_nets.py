"""Random small networks over all ops of the integer stage."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from spikec.backends import Simulate
from spikec.ir import F64, Graph, Node, Param, TensorType, signed, unsigned, verify
from spikec.ir.ops import OPS
from spikec.ir.types import DType
from spikec.runtime.check import Comparison, traced_layers
from spikec.runtime.interpreter import simulate as reference

I24 = signed(24)
LARGEST = 64
"""Elements of a map that grows no further."""


def flat_window(rank: int) -> dict[str, Any]:
    return {"strides": (1,) * rank, "dilations": (1,) * rank, "pads": (0,) * (2 * rank)}


class Random:
    """Grows a network op by op; each layer's spikes may be read again by any later op.

    Values have three axes (channels, height, width) between layers.
    """

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Node] = []
        self.params: dict[str, Param] = {}
        self.radix = self.chance(0.2)
        """Whether spikes are binary digits, in the whole network."""

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def pick(self, values: list[Any]) -> Any:
        return values[int(self.rng.integers(len(values)))]

    def add(self, op: str, inputs: list[Node], dtype: DType, attrs: dict[str, Any] | None = None,
            **params: tuple[Any, DType]) -> Node:  # fmt: skip
        name = f"{op}_{len(self.nodes)}"
        names = {role: f"{name}.{role}" for role in params}
        for role, (array, type_) in params.items():
            self.params[names[role]] = Param.of(np.asarray(array), type_)
        made = OPS[op].of(attrs or {})
        draft = Node(name, made, tuple(n.name for n in inputs), TensorType(dtype, ()), names)
        types = {role: self.params[n].type for role, n in names.items()}
        shape = made.infer([n.type for n in inputs], types)
        return self._keep(draft, TensorType(dtype, shape))

    def _keep(self, node: Node, type_: TensorType) -> Node:
        made = replace(node, type=type_)
        self.nodes.append(made)
        return made

    def input(self, name: str, *shape: int) -> Node:
        self.params |= {"scale": Param.of(1.0, F64), "offset": Param.of(0.0, F64)}
        node = Node(name, OPS["input"](), (), TensorType(unsigned(8), shape),
                    params={"scale": "scale", "offset": "offset"})  # fmt: skip
        return self._keep(node, node.type)

    def weights(self, *shape: int) -> tuple[Any, DType]:
        return self.rng.integers(-128, 128, shape), signed(8)

    def constant(self, channels: int) -> dict[str, Any]:
        """Now and then a synapse adds a constant, or has weight exponents."""
        more = {"b": (self.rng.integers(-99, 99, channels), I24)} if self.chance(0.2) else {}
        if self.chance(0.15):
            more["exponent"] = (self.rng.integers(0, 4, channels), unsigned(5))
        return more

    def reshaped(self, x: Node, *shape: int) -> Node:
        return self.add("reshape", [x], x.type.dtype, {"shape": shape})

    # Layers

    def neuron(self, current: Node, first: bool) -> Node:
        rng, channels = self.rng, current.type.shape[:1]
        top = int(rng.integers(40, 900)) * (60 if first else 1)
        p = {"theta": (rng.integers(1, top, channels), I24), "v0": (rng.integers(-top, top), I24)}
        if self.chance(0.5):
            p["bias"] = (rng.integers(-top // 4, top // 4, channels), I24)
        free = {"free": self.chance(0.4)}
        if self.radix:
            p["theta"] = (p["theta"][0] + top // 8, I24)
            return self.spiking("integrate_radix", current, free, **p)
        kind = self.pick(["", "signed", "signed", "graded", "window", "integer"])
        if kind == "":
            return self.spiking("integrate", current, {}, **p)
        if kind == "window":
            return self.spiking("integrate_window", current, free, **p)
        window = self.pick(["", "window_"])
        if kind == "graded":
            levels = int(rng.integers(2, 5))
            p["fire"] = (p["theta"][0] * 3 // 4 + 1, I24)
            attrs = {**free, "levels": levels}
            return self.spiking(f"integrate_{window}graded", current, attrs, **p)
        if kind == "integer":
            attrs = {**free, "bits": int(rng.integers(2, 6))}
            return self.spiking(f"integrate_{window}integer", current, attrs, **p)
        p["theta_neg"] = (0 if self.chance(0.7) else -int(rng.integers(0, top)), I24)
        return self.spiking("integrate_signed", current, free, **p)

    def spiking(self, op: str, current: Node, attrs: dict[str, Any], **params: Any) -> Node:
        payload = OPS[op].of(attrs).payload
        return self.add(op, [current], payload, attrs, **params)

    def pooled(self, x: Node) -> Node:
        attrs = {**flat_window(2), "kernel": (2, 2), "pads": (0, 0, 1, 1)}
        op = "max_pool_radix" if self.radix else "max_pool_count"
        return self.add(op, [x], x.type.dtype, attrs)

    # Ops that move elements

    def moved(self, x: Node) -> Node:
        rng, (c, h, w), dtype = self.rng, x.type.shape, x.type.dtype
        grows = x.type.size < LARGEST
        kind = self.pick(["gather", "slice", "pad", "transpose", "concat", "upsample", "none"])
        if kind == "gather":
            picked = tuple(int(i) for i in rng.integers(0, c, rng.integers(1, 4)))
            return self.add("gather", [x], dtype, {"axis": 0, "indices": picked})
        if kind == "slice" and h > 2:
            sizes = {"starts": (0, h - 1, 0), "sizes": (c, h - 1, w), "steps": (1, -1, 1)}
            return self.add("slice", [x], dtype, sizes)
        if kind == "pad" and grows:
            return self.add("pad", [x], dtype, {"pads": (0, 1, 0, 1, 0, 1)})
        if kind == "transpose":
            return self.add("transpose", [x], dtype, {"perm": self.pick([(0, 2, 1), (1, 0, 2)])})
        if kind == "concat" and grows:
            return self.add("concat", [x, x], dtype, {"axis": int(rng.integers(0, 3))})
        if kind == "upsample" and grows:
            return self.add("upsample", [x], dtype, {"factors": (1, 2, 1)})
        return x

    # Synapses

    def conv(self, x: Node, *kernel: int) -> Node:
        """Any convolution of any rank: strides, dilations, pads and groups as they come."""
        rng, channels = self.rng, x.type.shape[0]
        sizes = x.type.shape[1:]
        groups = self.pick([g for g in (1, 1, 2, channels) if channels % g == 0])
        out = groups * int(rng.integers(1, 3))
        fits = [n >= 2 * (k - 1) + 1 for n, k in zip(sizes, kernel, strict=True)]
        dilations = tuple(2 if fit and self.chance(0.3) else 1 for fit in fits)
        attrs = {"strides": tuple(int(s) for s in rng.integers(1, 3, len(kernel))),
                 "pads": tuple(int(p) for p in rng.integers(0, 2, 2 * len(kernel))),
                 "dilations": dilations, "groups": groups}  # fmt: skip
        w = self.weights(out, channels // groups, *kernel)
        return self.add("conv", [x], I24, attrs, w=w, **self.constant(out))

    def conv_2d(self, x: Node) -> Node:
        _, h, w = x.type.shape
        return self.conv(x, min(h, int(self.rng.integers(1, 4))), min(w, 2))

    def conv_1d(self, x: Node) -> Node:
        c, h, w = x.type.shape
        y = self.conv(self.reshaped(x, c, h * w), min(3, h * w))
        return self.reshaped(y, *y.type.shape, 1)

    def conv_3d(self, x: Node) -> Node:
        c, h, w = x.type.shape
        y = self.conv(self.reshaped(x, 1, c, h, w), min(c, 2), min(h, 2), 1)
        a, b, *rest = y.type.shape
        return self.reshaped(y, a * b, *rest)

    def conv_transpose(self, x: Node) -> Node:
        channels = x.type.shape[0]
        groups = self.pick([g for g in (1, channels) if channels % g == 0])
        attrs = {**flat_window(2), "strides": (2, 1), "groups": groups, "extra": (1, 0),
                 "pads": (0, 0, 1, 0)}  # fmt: skip
        each = int(self.rng.integers(1, 3))
        w = self.weights(channels, each, 2, 2)
        return self.add("conv_transpose", [x], I24, attrs, w=w, **self.constant(each * groups))

    def dense(self, x: Node) -> Node:
        flat = self.reshaped(x, x.type.size)
        out = int(self.rng.integers(1, 7))
        w = self.weights(out, x.type.size)
        y = self.add("dense", [flat], I24, w=w, **self.constant(out))
        return self.reshaped(y, out, 1, 1)

    def affine(self, x: Node) -> Node:
        shape = self.pick([(), x.type.shape[:1], x.type.shape])
        return self.add(
            "affine", [x], I24, w=self.weights(*shape), **self.constant(x.type.shape[0])
        )

    def sum_pool(self, x: Node) -> Node:
        attrs = {**flat_window(2), "kernel": (2, 2), "pads": (0, 1, 1, 0)}
        return self.add("sum_pool", [x], I24, attrs)

    def reduce_sum(self, x: Node) -> Node:
        return self.add("reduce_sum", [x], I24, {"axes": self.pick([(1,), (0, 2), (1, 2)])})

    def synapse(self, x: Node) -> Node:
        makers: list[Callable[[Node], Node]] = [
            self.conv_2d, self.conv_2d, self.conv_1d, self.conv_3d, self.conv_transpose,
            self.dense, self.affine, self.sum_pool, self.reduce_sum,
        ]  # fmt: skip
        made = self.pick(makers)(x)
        # Two linear ops with no neuron between.
        return self.sum_pool(made) if self.chance(0.1) else made

    # Networks

    def grow(self, layers: int) -> Graph:
        """A network of `layers` layers behind one or two inputs, all read by the readout."""
        names = ["x", "y"] if self.chance(0.3) else ["x"]
        inputs = [self.input(name, 2, 4, 4) for name in names]
        values = [self.neuron(self.conv(x, 2, 2), first=True) for x in inputs]
        for _ in range(layers):
            x = self.pick(values)
            if self.chance(0.2) and min(x.type.shape[1:]) >= 2:
                values.append(self.pooled(x))
                continue
            values.append(self.neuron(self.joined(self.synapse(self.moved(x)), values), False))
        parts = []
        for value in values:
            flat = self.reshaped(value, value.type.size)
            parts.append(self.add("dense", [flat], I24, w=self.weights(3, value.type.size)))
        total = parts[0] if len(parts) == 1 else self.add("add", parts, I24)
        readout = "accumulate_radix" if self.radix else "accumulate"
        out = self.add(readout, [total], I24, bias=(self.rng.integers(-9, 9, 3), I24))
        steps = int(self.rng.integers(1, 7))
        return verify(Graph("random", "int", steps, tuple(self.nodes), (out.name,), self.params))

    def joined(self, current: Node, values: list[Node]) -> Node:
        """A residual join with an earlier layer, where one has the shape or can get it."""
        shape = current.type.shape
        alike = [v for v in values if v.type.shape == shape]
        sized = [v for v in values if v.type.size == math.prod(shape)]
        if not (alike or sized) or self.chance(0.3):
            return current
        skip = self.pick(alike) if alike else self.reshaped(self.pick(sized), *shape)
        if self.chance(0.6):
            skip = self.add("affine", [skip], I24, w=self.weights(shape[0]))
        return self.add("add", [current, skip], I24)


def feeds(graph: Graph, seed: int, samples: int = 3) -> dict[str, Any]:
    """All ones, all zeros and random samples."""
    rng = np.random.default_rng(seed)
    found = {}
    for node in graph.inputs:
        x = rng.integers(0, 256, (samples, *node.type.shape))
        x[0], x[1] = 255, 0
        found[node.name] = x
    return found


def assert_equal_runs(
    simulate: Simulate, graph: Graph, x: dict[str, Any], steps: int | None = None
) -> None:
    """An engine does what the reference does: spikes, potentials, readouts and counted events."""
    layers = traced_layers(graph)
    want, got = reference(graph, x, steps, layers), simulate(graph, x, steps, layers)
    comparison = Comparison()
    comparison.add(graph, {"reference": want, "engine": got}, 0)
    assert comparison.equal, comparison.first_difference
    for kind in ("readout", "events", "units"):
        left, right = getattr(want, kind), getattr(got, kind)
        assert left.keys() == right.keys()
        for name in left:
            np.testing.assert_array_equal(right[name], left[name], name, strict=True)
