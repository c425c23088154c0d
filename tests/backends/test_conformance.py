"""Which op runs on which engine: equal to the reference, or refused by name; nothing in between."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spikec.backends import BACKENDS, Engine, Target
from spikec.backends.lava.planner import plan_network
from spikec.backends.nir import LOSSES
from spikec.ir import (
    OPS,
    BackendError,
    Graph,
    Node,
    Param,
    TensorType,
    signed,
    unsigned,
    verify,
)
from spikec.ir.neuron import Neuron
from spikec.ir.op import Op, Stateful, Synapse
from spikec.runtime.interpreter import simulate

I8, I24, SHAPE, STEPS = signed(8), signed(24), (2, 4, 4), 5
WINDOW = {"strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1)}
ATTRIBUTES: dict[str, dict[str, object]] = {
    "concat": {"axis": 0},
    "conv": {**WINDOW, "groups": 1},
    "conv_transpose": {**WINDOW, "groups": 1, "extra": (0, 0)},
    "gather": {"axis": 0, "indices": (1, 0, 1)},
    "max_pool_count": {"kernel": (2, 2), **WINDOW},
    "max_pool_radix": {"kernel": (2, 2), **WINDOW},
    "pad": {"pads": (0, 1, 0, 0, 0, 1)},
    "reduce_sum": {"axes": (1, 2)},
    "reshape": {"shape": (32,)},
    "slice": {"starts": (0, 1, 3), "sizes": (2, 2, 2), "steps": (1, 1, -2)},
    "sum_pool": {"kernel": (2, 2), **WINDOW},
    "transpose": {"perm": (0, 2, 1)},
    "upsample": {"factors": (1, 2, 1)},
}
"""Attributes for a value of `SHAPE`; an op without required ones needs no entry."""
WEIGHTS = {"affine": (2,), "conv": (3, 2, 2, 2), "conv_transpose": (2, 3, 2, 2), "dense": (3, 32)}
ROUTING = {"concat", "gather", "pad", "reduce_sum", "slice", "transpose", "upsample"}
INPUTS = ("input", "frames")
SIMULATORS: dict[str, dict[str, object]] = {"verilog": {"simulator": "icarus"}}
"""Options of engines; Icarus builds a small circuit in no time."""
RADIX = {"accumulate_radix", "integrate_radix", "max_pool_radix"}
PAYLOADS = {"integrate_integer", "integrate_window_graded", "integrate_window_integer"}
REFUSED: dict[str, set[str]] = {
    "reference": set(),
    "c": set(),
    "fast": set(),
    "onnx": set(),
    "lava": set(),
    "verilog": set(),
    "nir": {"integrate_window", "max_pool_count", "conv_transpose", *RADIX, *PAYLOADS, *ROUTING},
}
"""Per backend, the ops that it refuses by name. What runs neither is a hole."""


def at_stage_int() -> list[str]:
    return [name for name in sorted(OPS) if "int" in OPS[name].stages]


class Net:
    """A small network around one op, with seeded integers."""

    def __init__(self, source: str = "input") -> None:
        self.rng = np.random.default_rng(4)
        self.nodes: list[Node] = [
            Node("x", OPS[source](), (), TensorType(unsigned(8), SHAPE),
                 {"scale": "one", "offset": "zero"})
        ]  # fmt: skip
        self.params = {"one": Param.of(1.0), "zero": Param.of(0.0)}

    def add(self, op: Op, *inputs: str, **roles: Param) -> str:
        name = f"n{len(self.nodes)}"
        names = {role: f"{name}.{role}" for role in roles}
        self.params.update({names[role]: param for role, param in roles.items()})
        types = [next(n.type for n in self.nodes if n.name == source) for source in inputs]
        shape = op.infer(types, {role: param.type for role, param in roles.items()})
        dtype = {"same": types[0].dtype, "spike": op.payload_type(types)}.get(op.result, I24)
        self.nodes.append(Node(name, op, inputs, TensorType(dtype, shape), names))
        return name

    def integers(self, low: int, high: int, *shape: int) -> Param:
        return Param.of(self.rng.integers(low, high, shape), I24)

    def weights(self, *shape: int) -> Param:
        return Param.of(self.rng.integers(-9, 10, shape), I8)

    def neuron(self, op: Neuron, source: str) -> str:
        theta = self.integers(40, 90, 2)
        roles = {"theta": theta, "v0": self.integers(0, 40, 2), "bias": self.integers(-9, 9, 2)}
        for role, spec in op.params.items():
            if spec.share is not None:
                roles[role] = Param.of(np.rint(theta.array * spec.share), I24)
            elif spec.kind == "number":
                roles[role] = Param.of(np.array(2), I24)
        return self.add(op, source, **roles)

    def finish(self, name: str, readout: str = "accumulate") -> Graph:
        out = self.add(OPS[readout](), name, bias=Param.of(np.array(3), I24))
        return verify(Graph("net", "int", STEPS, tuple(self.nodes), (out,), self.params))


def network(name: str) -> Graph:
    """A network in which the op stands where it usually does."""
    net, op = Net(name if name in INPUTS else "input"), OPS[name].of(ATTRIBUTES.get(name, {}))
    value = net.add(OPS["affine"](), "x", w=Param.of(np.array([3, -2]), I8))
    if isinstance(op, Neuron):
        return net.finish(net.add(OPS["affine"](), net.neuron(op, value), w=net.weights(2)))
    spikes = net.neuron(OPS["integrate"](), value)
    if isinstance(op, Synapse):
        if name == "dense":
            spikes = net.add(OPS["reshape"]((32,)), spikes)
        return net.finish(net.add(op, spikes, w=net.weights(*WEIGHTS[name])))
    if name in (*INPUTS, "accumulate", "accumulate_radix"):
        readout = "accumulate" if name in INPUTS else name
        return net.finish(net.add(OPS["affine"](), spikes, w=net.weights(2)), readout)
    others = (net.neuron(OPS["integrate"](), value),) if op.arity is None else ()
    inputs = (spikes, *others)
    if not isinstance(op, Stateful):  # pools and sums of currents have readers of their own
        return net.finish(net.add(OPS["affine"](), net.add(op, *inputs), w=net.weights()))
    return net.finish(net.add(OPS["affine"](), net.add(op, *inputs), w=net.weights(2)))


def done(name: str, graph: Graph, folder: Path) -> str:
    """Run a network on a backend and compare, or make what the backend emits; says which."""
    kind = BACKENDS[name]
    frames = (STEPS,) if graph["x"].op == "frames" else ()
    feeds = {"x": np.random.default_rng(0).integers(0, 256, (3, *frames, *SHAPE), np.uint8)}
    if name == "lava":  # its simulation has tests of its own; the plan refuses
        plan_network(graph)
        return "planned"
    if issubclass(kind, Engine):
        layers = [node.name for node in graph if isinstance(node.operation, Stateful)]
        want = simulate(graph, feeds, None, layers)
        engine = kind(**SIMULATORS.get(name, {}))
        if (reason := engine.unavailable()) is not None:
            pytest.skip(reason)
        found = engine.simulate(graph, feeds, None, layers)
        for layer in layers:
            np.testing.assert_array_equal(found.traces[layer].potentials,
                                          want.traces[layer].potentials)  # fmt: skip
        for output in graph.outputs:
            np.testing.assert_array_equal(found.readout[output], want.readout[output])
        return "equal"
    assert issubclass(kind, Target)
    kind(allow_lossy=tuple(LOSSES)).emit(graph, folder)
    return "written"


def outcome(name: str, op: str, graph: Graph, folder: Path) -> str:
    try:
        return done(name, graph, folder)
    except BackendError as error:
        return "refused" if op in error.message else f"refused without its name: {error}"


@pytest.fixture(scope="module")
def table() -> dict[tuple[str, str], str]:
    return {}


@pytest.mark.parametrize("backend", sorted(REFUSED))
@pytest.mark.parametrize("op", at_stage_int())
def test_an_op_runs_or_is_refused_as_declared(op, backend, tmp_path, table):
    table[op, backend] = outcome(backend, op, network(op), tmp_path)
    assert (table[op, backend] == "refused") == (op in REFUSED[backend])
    assert table[op, backend] in ("equal", "planned", "written", "refused")


def test_the_table(table, capsys):
    backends = sorted(REFUSED)
    rows = [f"{'':<16}" + "".join(f"{name:>10}" for name in backends)]
    for op in at_stage_int():
        rows.append(f"{op:<16}" + "".join(f"{table.get((op, b), '-'):>10}" for b in backends))
    with capsys.disabled():
        print("\n" + "\n".join(rows))
    unknown = set(BACKENDS) - set(REFUSED) - {"numpy"}
    assert not unknown, f"say in REFUSED what {sorted(unknown)} refuse"
