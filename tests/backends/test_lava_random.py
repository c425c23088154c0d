"""Random small networks over all ops of the integer stage: reference, fast and Lava agree."""

from __future__ import annotations

import numpy as np
import pytest

from spikec.backends import BACKENDS, engine
from spikec.ir import F64, Graph, Node, Param, TensorType, op_of, signed, unsigned, verify
from spikec.ir.types import SPIKE, DType
from spikec.runtime.check import Comparison, traced_layers

lava = pytest.mark.skipif(BACKENDS["lava"].unavailable() is not None, reason="no Lava here")
I24 = signed(24)
FLAT = {"strides": (1, 1), "dilations": (1, 1), "pads": (0, 0, 0, 0)}


class Random:
    """Grows a network op by op; each layer's spikes may be read again by any later op."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Node] = []
        self.params: dict[str, Param] = {}

    def add(self, op: str, inputs: list[Node], dtype: DType, attrs=None, **params) -> Node:
        name = f"{op}_{len(self.nodes)}"
        names = {}
        for role, (array, type_) in params.items():
            names[role] = f"{name}.{role}"
            self.params[names[role]] = Param.of(np.asarray(array), type_)
        draft = Node(
            name, op, tuple(n.name for n in inputs), TensorType(dtype, ()), attrs or {}, names
        )
        types = {role: self.params[n].type for role, n in names.items()}
        shape = op_of(draft).infer([n.type for n in inputs], draft.attrs, types) if inputs else ()
        return self._keep(draft, TensorType(dtype, shape))

    def _keep(self, node: Node, type_: TensorType) -> Node:
        made = Node(node.name, node.op, node.inputs, type_, node.attrs, node.params)
        self.nodes.append(made)
        return made

    def input(self, *shape: int) -> Node:
        self.params |= {"scale": Param.of(1.0, F64), "offset": Param.of(0.0, F64)}
        node = Node("x", "input", (), TensorType(unsigned(8), shape),
                    params={"scale": "scale", "offset": "offset"})  # fmt: skip
        return self._keep(node, node.type)

    def weights(self, *shape: int):
        return self.rng.integers(-128, 128, shape), signed(8)

    def neuron(self, current: Node) -> Node:
        rng, channels = self.rng, current.type.shape[:1]
        top = int(rng.integers(40, 900)) * (60 if self.nodes[-1].inputs == ("x",) else 1)
        p = {"theta": (rng.integers(1, top, channels), I24), "v0": (rng.integers(-top, top), I24)}
        if rng.random() < 0.5:
            p["bias"] = (rng.integers(-top // 4, top // 4, channels), I24)
        if rng.random() < 0.4:
            return self.add("integrate", [current], SPIKE, **p)
        neg = 0 if rng.random() < 0.7 else -int(rng.integers(0, top))
        attrs = {"free": bool(rng.random() < 0.4)}
        return self.add("integrate_signed", [current], SPIKE, attrs, theta_neg=(neg, I24), **p)

    def moved(self, x: Node) -> Node:
        """`x` by one to two ops that move elements; the shape may change."""
        rng, (c, h, w) = self.rng, x.type.shape
        dtype = x.type.dtype
        kind = rng.choice(["gather", "slice", "pad", "transpose", "concat", "upsample", "none"])
        if kind == "gather":
            picked = tuple(int(i) for i in rng.integers(0, c, rng.integers(1, 4)))
            return self.add("gather", [x], dtype, {"axis": 0, "indices": picked})
        if kind == "slice" and h > 2:
            sizes = {"starts": (0, h - 1, 0), "sizes": (c, h - 1, w), "steps": (1, -1, 1)}
            return self.add("slice", [x], dtype, sizes)
        if kind == "pad":
            return self.add("pad", [x], dtype, {"pads": (0, 1, 0, 1, 0, 1)})
        if kind == "transpose":
            return self.add("transpose", [x], dtype, {"perm": (0, 2, 1)})
        if kind == "concat":
            return self.add("concat", [x, x], dtype, {"axis": int(rng.integers(0, 3))})
        if kind == "upsample" and h * w <= 16:
            return self.add("upsample", [x], dtype, {"factors": (1, 2, 1)})
        return x

    def synapse(self, x: Node) -> Node:
        rng, (c, h, w) = self.rng, x.type.shape
        out = int(rng.integers(1, 4))
        kind = rng.choice(["conv", "depthwise", "conv_transpose", "affine", "sum_pool"])
        if kind == "conv" and min(h, w) >= 2:
            attrs = {
                **FLAT,
                "strides": (1, int(rng.integers(1, 3))),
                "pads": (1, 0, 0, 1),
                "groups": 1,
            }
            return self.add("conv", [x], I24, attrs, w=self.weights(out, c, 2, 2))
        if kind == "depthwise":
            attrs = {**FLAT, "pads": (1, 1, 1, 1), "groups": c}
            return self.add("conv", [x], I24, attrs, w=self.weights(c, 1, 3, 3))
        if kind == "conv_transpose" and h * w <= 16:
            attrs = {**FLAT, "strides": (2, 1), "groups": 1, "extra": (0, 0)}
            return self.add("conv_transpose", [x], I24, attrs, w=self.weights(c, out, 2, 1))
        if kind == "sum_pool" and min(h, w) >= 2:
            return self.add("sum_pool", [x], I24, {**FLAT, "kernel": (2, 2), "pads": (0, 1, 1, 0)})
        return self.add("affine", [x], I24, w=self.weights(c))

    def grow(self, layers: int) -> Graph:
        values = [self.neuron(self.synapse(self.input(2, 4, 4)))]
        for _ in range(layers):
            x = values[int(self.rng.integers(len(values)))]
            if self.rng.random() < 0.25 and min(x.type.shape[1:]) >= 2:
                attrs = {**FLAT, "kernel": (2, 2), "pads": (0, 0, 1, 1)}
                values.append(self.add("max_pool_count", [x], SPIKE, attrs))
                continue
            current = self.synapse(self.moved(x))
            alike = [v for v in values if v.type.shape == current.type.shape]
            if alike and self.rng.random() < 0.7:
                skip = alike[int(self.rng.integers(len(alike)))]
                skip = self.add("affine", [skip], I24, w=self.weights(current.type.shape[0]))
                current = self.add("add", [current, skip], I24)
            values.append(self.neuron(current))
        flat = [self.add("reshape", [v], SPIKE, {"shape": (v.type.size,)}) for v in values]
        joined = self.add("concat", flat, SPIKE, {"axis": 0})
        d = self.add("dense", [joined], I24, w=self.weights(3, joined.type.size))
        out = self.add("accumulate", [d], I24, bias=(self.rng.integers(-9, 9, 3), I24))
        steps = int(self.rng.integers(1, 7))
        return verify(Graph("random", "int", steps, tuple(self.nodes), (out.name,), self.params))


def assert_agree(seed: int, engines: list[str]) -> Graph:
    graph = Random(seed).grow(layers=5)
    x = np.random.default_rng(seed).integers(0, 256, (3, 2, 4, 4))
    x[0], x[1] = 255, 0
    layers = traced_layers(graph)
    runs = {name: engine(name)(graph, {"x": x}, None, layers) for name in engines}
    comparison = Comparison()
    comparison.add(graph, runs, 0)
    assert comparison.equal, (seed, comparison.first_difference)
    return graph


@pytest.mark.parametrize("block", range(4))
def test_reference_and_fast(block):
    for seed in range(block * 15, block * 15 + 15):
        assert_agree(seed, ["reference", "fast"])


def test_the_networks_hold_all_ops():
    from spikec.ir import OPS

    met = {node.op for seed in range(60) for node in Random(seed).grow(5).nodes}
    missing = {n for n, op in OPS.items() if "int" in op.stages and not op.activation} - met
    assert missing <= {"reduce_sum", "integrate_graded", "integrate_window"}


@lava
@pytest.mark.lava
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_reference_and_lava(seed):
    assert_agree(seed, ["reference", "lava", "lava_float"])
