"""Networks for the tests of Lava, and the comparison with the reference."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikec.backends.lava import unavailable as lava_unavailable
from spikec.backends.lava.simulate import simulate
from spikec.ir import OPS, SPIKE, DType, Graph, Node, Param, TensorType, signed, unsigned, verify
from spikec.runtime.interpreter import Simulation
from spikec.runtime.interpreter import simulate as reference

I8, I24 = signed(8), signed(24)
GEOMETRY = {"strides": (1, 1), "pads": (1, 1, 1, 1), "dilations": (1, 1)}
REASON = lava_unavailable()
runs_lava = pytest.mark.skipif(REASON is not None, reason=str(REASON))


class Net:
    """Builds an integer graph node by node, with random weights."""

    def __init__(self, seed: int = 0, steps: int = 5) -> None:
        self.rng = np.random.default_rng(seed)
        self.steps = steps
        self.nodes: dict[str, Node] = {}
        self.params: dict[str, Param] = {}

    def add(self, op: str, inputs: str, shape: tuple[int, ...], dtype: DType = I24,
            attrs: dict[str, Any] | None = None, name: str = "",
            **params: Param) -> str:  # fmt: skip
        name = name or f"{op[:4]}{len(self.nodes)}"
        roles = {role: f"{name}.{role}" for role in params}
        self.params.update({roles[role]: param for role, param in params.items()})
        type_ = TensorType(dtype, shape)
        made = OPS[op].of(attrs or {})
        node = Node(name, made, tuple(inputs.split()), type_, roles, f"onnx/{name}")
        self.nodes[name] = node
        return name

    def shape(self, name: str) -> tuple[int, ...]:
        return self.nodes[name].type.shape

    def weights(self, *shape: int) -> Param:
        return Param.of(self.rng.integers(-128, 128, shape), I8)

    def values(self, low: int, high: int, *shape: int) -> Param:
        return Param.of(self.rng.integers(low, high, shape), I24)

    def input(self, *shape: int, name: str = "x") -> str:
        return self.add("input", "", shape, unsigned(8), name=name)

    def conv(self, x: str, out: int, kernel: tuple[int, ...], groups: int = 1,
             **geometry: tuple[int, ...]) -> str:  # fmt: skip
        rank = len(kernel)
        plain = {"strides": (1,) * rank, "pads": (0,) * 2 * rank, "dilations": (1,) * rank}
        attrs: dict[str, Any] = {**plain, **geometry, "groups": groups}
        w = self.weights(out, self.shape(x)[0] // groups, *kernel)
        place = zip(self.shape(x)[1:], kernel, attrs["strides"], attrs["pads"],
                    attrs["pads"][rank:], attrs["dilations"], strict=False)  # fmt: skip
        spatial = tuple((n + a + b - d * (k - 1) - 1) // s + 1 for n, k, s, a, b, d in place)
        return self.add("conv", x, (out, *spatial), attrs=attrs, w=w)

    def dense(self, x: str, out: int) -> str:
        return self.add("dense", x, (out,), w=self.weights(out, *self.shape(x)))

    def flatten(self, x: str) -> str:
        size = int(np.prod(self.shape(x)))
        dtype = self.nodes[x].type.dtype
        return self.add("reshape", x, (size,), dtype, attrs={"shape": (size,)})

    def integrate(self, x: str, theta: int = 150, *per: int) -> str:
        state = {"theta": self.values(theta, 2 * theta, *per), "v0": self.values(0, theta, *per),
                 "bias": self.values(-theta // 8, theta // 4, *per)}  # fmt: skip
        return self.add("integrate", x, self.shape(x), SPIKE, **state)

    def signed(self, x: str, theta: int = 150, *, free: bool = False) -> str:
        shape = self.shape(x)
        state = {"theta": self.values(theta, 2 * theta, shape[0]),
                 "v0": self.values(0, theta, shape[0]),
                 "theta_neg": self.values(-theta // 4, 1)}  # fmt: skip
        return self.add("integrate_signed", x, shape, SPIKE, {"free": free}, **state)

    def window(self, x: str, theta: int = 150, *, free: bool = False) -> str:
        channels = self.shape(x)[0]
        state = {"theta": self.values(theta, 2 * theta, channels), "v0": self.values(0, theta),
                 "bias": self.values(-theta // 8, theta // 4, channels)}  # fmt: skip
        return self.add("integrate_window", x, self.shape(x), SPIKE, {"free": free}, **state)

    def readout(self, x: str, name: str = "out") -> str:
        return self.add("accumulate", x, self.shape(x), name=name, bias=self.values(-9, 9))

    def graph(self, *outputs: str) -> Graph:
        nodes = tuple(self.nodes.values())
        return verify(Graph("net", "int", self.steps, nodes, outputs or ("out",), self.params))

    def feeds(self, samples: int = 2) -> dict[str, Any]:
        return {
            node.name: self.rng.integers(0, 256, (samples, *node.type.shape), np.uint8)
            for node in self.nodes.values()
            if node.op == "input"
        }


def assert_equal(
    graph: Graph, feeds: dict[str, Any], steps: int | None = None, **options: Any
) -> Simulation:
    names = [node.name for node in graph.nodes]
    want = reference(graph, feeds, steps, names)
    got = simulate(graph, feeds, steps, names, **options)
    for kind in ("readout", "events"):
        left, right = getattr(want, kind), getattr(got, kind)
        assert left.keys() == right.keys()
        for name in left:
            np.testing.assert_array_equal(right[name], left[name], f"{kind} of {name}", strict=True)
    assert want.traces.keys() == got.traces.keys()
    for name, trace in want.traces.items():
        np.testing.assert_array_equal(got.traces[name].potentials, trace.potentials, name)
        if trace.spikes is None:
            assert got.traces[name].spikes is None
        else:
            np.testing.assert_array_equal(got.traces[name].spikes, trace.spikes, name)
    return got


def small() -> Net:
    net = Net(8, steps=4)
    a = net.integrate(net.dense(net.input(6), 5), 9000)
    net.readout(net.dense(a, 3))
    return net


def session_of(pid: int) -> set[int]:
    """Living processes of a session, zombies left out."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == pid and fields[0] != "Z":
                    found.add(int(entry.name))
    return found


def orphaned_memory() -> set[str]:
    """Shared memory of Python that no living process maps."""
    found = {path.name for path in Path("/dev/shm").glob("psm_*")}
    for entry in Path("/proc").iterdir() if found else ():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                maps = (entry / "maps").read_text()
                found = {name for name in found if name not in maps}
    return found
