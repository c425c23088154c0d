"""The fast engine against the reference, bit for bit."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spikec.ir import (
    OPS,
    Graph,
    Node,
    Param,
    RangeError,
    TensorType,
    UsageError,
    signed,
    unsigned,
    verify,
)
from spikec.ir.types import F32, SPIKE, spikes
from spikec.runtime import interpreter
from spikec.runtime.fast import layer, simulate
from spikec.runtime.fast.engine import plan_of, run_plan
from spikec.runtime.fast.steps import Fire, Pool, Simple
from spikec.runtime.fast.tiles import DOT, LUT, ROWS, TILES
from spikec.runtime.fast.vector import FEATURES

I24 = signed(24)


class Build:
    """Builds random integer graphs node by node.

    With `exponents`, every other synapse behind the input has random ones up to that.
    """

    def __init__(self, seed: int, steps: int = 4, width: int = 24, exponents: int = 0) -> None:
        self.rng, self.steps, self.exponents = np.random.default_rng(seed), steps, exponents
        self.nodes: list[Node] = []
        self.params: dict[str, Param] = {}
        self.current = signed(width)

    def add(self, op, inputs, shape, dtype, attrs=None, **arrays) -> str:
        name = f"n{len(self.nodes)}"
        roles = {}
        for role, (array, kind) in arrays.items():
            self.params[f"{name}.{role}"] = Param.of(array, kind)
            roles[role] = f"{name}.{role}"
        made = OPS[op].of(attrs or {})
        node = Node(name, made, tuple(inputs), TensorType(dtype, tuple(shape)), roles)
        self.nodes.append(node)
        return name

    def shape(self, name: str) -> tuple[int, ...]:
        return next(n.type.shape for n in self.nodes if n.name == name)

    def input(self, *shape, bits: int = 8) -> str:
        return self.add("input", [], shape, unsigned(bits))

    def conv(self, x, out, kernel=(3, 3), strides=None, pads=None, dilations=None, groups=1, m=30):
        rank, shape = len(kernel), self.shape(x)
        attrs = {
            "strides": strides or (1,) * rank,
            "pads": pads if pads is not None else (kernel[0] // 2,) * (2 * rank),
            "dilations": dilations or (1,) * rank,
            "groups": groups,
        }
        w = self.rng.integers(-m, m + 1, (out, shape[0] // groups, *kernel))
        size = [
            (s + attrs["pads"][i] + attrs["pads"][i + rank] - attrs["dilations"][i] * (k - 1) - 1)
            // attrs["strides"][i] + 1
            for i, (s, k) in enumerate(zip(shape[1:], kernel, strict=True))
        ]  # fmt: skip
        more = self.shifts(x, out)
        return self.add("conv", [x], (out, *size), self.current, attrs, w=(w, signed(8)), **more)

    def dense(self, x, out, m=30):
        w = self.rng.integers(-m, m + 1, (out, self.shape(x)[0]))
        more = self.shifts(x, out)
        return self.add("dense", [x], (out,), self.current, w=(w, signed(8)), **more)

    def affine(self, x, shape=None, m=100):
        w = self.rng.integers(-m, m + 1, self.shape(x)[:1] if shape is None else shape)
        more = self.shifts(x, self.shape(x)[0])
        return self.add("affine", [x], self.shape(x), self.current, w=(w, signed(8)), **more)

    def shifts(self, x, out):
        """Now and then, weight exponents."""
        if not self.exponents or x == "n0" or self.rng.random() < 0.4:
            return {}
        return {"exponent": (self.rng.integers(0, self.exponents + 1, out), unsigned(5))}

    def join(self, *names):
        return self.add("add", names, self.shape(names[0]), self.current)

    def flat(self, x):
        shape = (int(np.prod(self.shape(x))),)
        dtype = next(n.type.dtype for n in self.nodes if n.name == x)
        return self.add("reshape", [x], shape, dtype, {"shape": shape})

    def pool(self, x, kernel=(2, 2), strides=None, pads=None, dilations=(1, 1), op="sum_pool"):
        strides, pads = strides or kernel, pads or (0, 0, 0, 0)
        attrs = {"kernel": kernel, "strides": strides, "pads": pads, "dilations": dilations}
        channels, *space = self.shape(x)
        size = [
            (s + pads[i] + pads[i + 2] - dilations[i] * (k - 1) - 1) // strides[i] + 1
            for i, (s, k) in enumerate(zip(space, kernel, strict=True))
        ]
        below = next(n.type.dtype for n in self.nodes if n.name == x)
        dtype = self.current if op == "sum_pool" else below
        return self.add(op, [x], (channels, *size), dtype, attrs)

    def fire(
        self,
        x,
        kind="integrate",
        scale=60,
        per="channel",
        free=False,
        bias=True,
        theta=None,
        **attrs,
    ):
        shape = self.shape(x)
        size = {"channel": shape[:1], "neuron": shape, "tensor": ()}
        draw = self.rng.integers
        where, theta_where = size[per], () if per == "tensor" else shape[:1]
        theta_where = theta_where if theta is None else size[theta]
        arrays = {
            "theta": (draw(scale // 2, 2 * scale, theta_where), self.current),
            "v0": (draw(-scale, scale, where), self.current),
        }
        if bias:
            arrays["bias"] = (draw(-scale // 3, scale // 2, where), self.current)
        if "free" in OPS[kind].schema():
            attrs["free"] = free
        if kind == "integrate_signed":
            arrays["theta_neg"] = (draw(-scale, 1, theta_where), self.current)
        if "fire" in OPS[kind].params:
            arrays["fire"] = (
                (arrays["theta"][0] + draw(1, scale, theta_where)) // 2 + 1,
                self.current,
            )
        return self.add(kind, [x], shape, OPS[kind].of(attrs).payload, attrs, **arrays)

    def out(self, x) -> str:
        bias = self.rng.integers(-50, 50, self.shape(x)[:1])
        return self.add("accumulate", [x], self.shape(x), self.current, bias=(bias, self.current))

    def graph(self, *outputs) -> Graph:
        return verify(Graph("g", "int", self.steps, tuple(self.nodes), outputs, self.params))


def feeds_of(graph: Graph, batch: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        n.name: rng.integers(0, n.type.dtype.bounds[1] + 1, (batch, *n.type.shape)).astype(
            n.type.dtype.storage
        )
        for n in graph.inputs
    }


def assert_same(got, want):
    assert set(got.readout) == set(want.readout)
    assert set(got.events) == set(want.events)
    assert set(got.traces) == set(want.traces)
    assert set(got.units) == set(want.units)
    for name, value in want.units.items():
        np.testing.assert_array_equal(got.units[name], value, err_msg=f"unit events {name}")
    for name, value in want.readout.items():
        np.testing.assert_array_equal(got.readout[name], value, err_msg=f"readout {name}")
    for name, value in want.events.items():
        np.testing.assert_array_equal(got.events[name], value, err_msg=f"events {name}")
    for name, trace in want.traces.items():
        np.testing.assert_array_equal(got.traces[name].potentials, trace.potentials, err_msg=name)
        if trace.spikes is not None:
            np.testing.assert_array_equal(got.traces[name].spikes, trace.spikes, err_msg=name)


def check(graph: Graph, batch: int, steps: int | None = None) -> None:
    """Fast with all kinds of sums and, traced, all potentials."""
    feeds = feeds_of(graph, batch, batch)
    layers = [n.name for n in graph.nodes]
    want = interpreter.simulate(graph, feeds, steps, layers)
    bare = interpreter.Simulation(want.readout, want.events, units=want.units)
    for sums in (ROWS, LUT, DOT, TILES) if FEATURES.lut else (ROWS, DOT, TILES):
        plan = plan_of(graph, steps or graph.steps, sums)
        for trace, expected in (([], bare), (layers, want)):
            got = run_plan(plan, feeds, trace, True, 2)
            assert got is not None
            assert_same(got, expected)
    assert_same(simulate(graph, feeds, steps), bare)


def kinds(graph: Graph) -> list[type]:
    return [type(step) for step in plan_of(graph, graph.steps).program]


def residual(seed, steps, channels, kind, exponents=0, **how) -> Graph:
    b = Build(seed, steps, exponents=exponents)
    how = {"scale": 100, **how}
    x = b.fire(b.conv(b.input(1, 9, 7), channels), kind, **{**how, "scale": 3000})
    y = b.fire(b.conv(x, channels), kind, **how)
    y = b.fire(b.join(b.conv(y, channels), b.affine(x)), kind, **how)
    z = b.fire(b.conv(y, channels + 3, strides=(2, 2)), kind, **how)
    z = b.fire(b.join(b.conv(z, channels + 3), b.conv(y, channels + 3, (1, 1), (2, 2), (0,) * 4)),
               kind, **how)  # fmt: skip
    p = b.pool(z, b.shape(z)[1:])
    return b.graph(b.out(b.dense(b.flat(p), 10)))


@pytest.mark.parametrize("steps", range(1, 10))
def test_residual_networks_of_every_number_of_steps(steps):
    kind = "integrate_signed" if steps % 2 else "integrate"
    check(residual(steps, steps, 3 + 2 * steps, kind), 5 * steps)


@pytest.mark.parametrize("exponents", [1, 4, 9])
@pytest.mark.parametrize("kind", ["integrate", "integrate_signed", "integrate_window"])
def test_weight_exponents(kind, exponents):
    compiled = 0
    for seed in range(4):
        graph = residual(seed, 3, 5 + seed, kind, exponents, scale=100 << exponents // 2)
        shifted = [node.name for node in graph if "exponent" in node.params]
        assert shifted
        compiled += kinds(graph).count(Fire) == 6
        check(graph, 33)
    assert compiled == 4


def test_weight_exponents_behind_pooling_and_groups():
    b = Build(5, 4, exponents=6)
    x = b.fire(b.conv(b.input(2, 8, 9), 12), "integrate_signed", 3000)
    y = b.fire(b.conv(b.pool(x), 12, groups=4), "integrate", 900)
    y = b.fire(b.join(b.conv(y, 12, groups=12), b.affine(y)), "integrate_signed", 900)
    graph = b.graph(b.out(b.dense(b.flat(y), 3)))
    assert any("exponent" in node.params for node in graph)
    check(graph, 34)


@pytest.mark.parametrize("batch", [1, 2, 31, 32, 33, 64, 65, 70])
def test_batches_of_every_size(batch):
    check(residual(batch, 3, 6, "integrate_signed"), batch)


@pytest.mark.parametrize("per", ["tensor", "channel", "neuron"])
@pytest.mark.parametrize("free", [False, True])
def test_neuron_params(per, free):
    check(residual(7, 5, 5, "integrate_signed", per=per, free=free), 9)
    check(residual(8, 5, 5, "integrate", per=per, bias=False), 9)


@pytest.mark.parametrize(
    "how",
    [
        {"kernel": (3, 2), "pads": (0, 1, 2, 0), "strides": (2, 1)},
        {"kernel": (3, 3), "pads": (2, 2, 2, 2), "dilations": (2, 2)},
        {"kernel": (2, 3), "pads": (1, 3, 0, 1), "dilations": (1, 3), "strides": (1, 2)},
        {"kernel": (1, 1), "pads": (0, 0, 0, 0)},
        {"kernel": (5, 5), "pads": (4, 4, 4, 4)},
        {"groups": 2},
        {"groups": 12},
        {"groups": 4, "strides": (2, 2)},
    ],
)
@pytest.mark.parametrize("kind", ["integrate", "integrate_signed"])
def test_windows_and_groups(how, kind):
    b = Build(len(str(how)))
    x = b.fire(b.conv(b.input(2, 8, 9), 12), kind, 3000)
    y = b.fire(b.conv(x, 12, **{"kernel": (3, 3), **how}), kind, 80)
    graph = b.graph(b.out(b.dense(b.flat(y), 3)))
    assert Simple not in kinds(graph)[1:-1]
    check(graph, 34)


def test_one_dimensional_convolution():
    b = Build(3)
    x = b.fire(b.conv(b.input(3, 17), 7, (4,), (2,), (1, 2)), "integrate_signed", 2000)
    y = b.fire(b.conv(x, 8, (3,), (1,), (2, 0), (2,)), "integrate", 80)
    check(b.graph(b.out(b.dense(b.flat(y), 4))), 6)


@pytest.mark.parametrize("kind", ["integrate", "integrate_signed"])
@pytest.mark.parametrize(
    "how",
    [
        {"kernel": (2, 2)},
        {"kernel": (3, 2), "strides": (2, 1), "pads": (1, 0, 1, 1)},
        {"kernel": (2, 2), "strides": (1, 1), "dilations": (2, 3)},
        {"kernel": (6, 8)},
    ],
)
def test_sum_pools(kind, how):
    b = Build(11)
    x = b.fire(b.conv(b.input(1, 6, 8), 5), kind, 2000)
    p = b.pool(x, **how)
    y = b.fire(b.join(b.conv(p, 6, (1, 1), pads=(0,) * 4), b.conv(p, 6)), kind, 100)
    graph = b.graph(b.out(b.dense(b.flat(y), 4)), b.out(b.dense(b.flat(p), 2)))
    assert Pool in kinds(graph)
    check(graph, 37)


@pytest.mark.parametrize("kind", ["integrate", "integrate_signed"])
def test_max_pools_and_values_with_many_readers(kind):
    b = Build(12)
    x = b.fire(b.conv(b.input(1, 6, 6), 8), kind, 2000)
    m = b.pool(x, op="max_pool_count")
    s = b.pool(x)
    y = b.fire(b.join(b.conv(m, 6), b.conv(s, 6)), kind, 100)
    z = b.fire(b.conv(x, 6, strides=(2, 2)), kind, 100)
    j = b.fire(b.join(b.conv(y, 4), b.affine(b.conv(z, 4), ())), kind, 5000)
    check(b.graph(b.out(b.conv(j, 3)), b.out(b.dense(b.flat(m), 2))), 33)


def test_ops_that_run_node_by_node():
    b = Build(13)
    image = b.input(2, 6, 6)
    x = b.fire(b.affine(image, (2, 6, 6)), "integrate_signed", 3000)
    turned = b.add("transpose", [x], (6, 2, 6), SPIKE, {"perm": (1, 0, 2)})
    wide = b.add("upsample", [turned], (6, 4, 6), SPIKE, {"factors": (1, 2, 1)})
    both = b.add("concat", [wide, wide], (12, 4, 6), SPIKE, {"axis": 0})
    y = b.fire(b.conv(both, 5), "integrate", 100)
    part = b.add("slice", [y], (5, 2, 3), SPIKE,
                 {"starts": (0, 1, 5), "sizes": (5, 2, 3), "steps": (1, 1, -2)})  # fmt: skip
    z = b.fire(b.conv(part, 4), "integrate_signed", 100, per="neuron")
    total = b.add("reduce_sum", [z], (4, 1, 1), b.current, {"axes": (1, 2)})
    check(b.graph(b.out(b.dense(b.flat(total), 3)), b.out(b.conv(y, 2))), 35)


KINDS = [
    ("integrate", {}),
    ("integrate_signed", {"free": True}),
    ("integrate_window", {"free": True}),
    ("integrate_radix", {"free": False}),
    ("integrate_radix", {"free": True}),
    ("integrate_graded", {"levels": 2}),
    ("integrate_graded", {"levels": 4, "free": True}),
    ("integrate_graded", {"levels": 8}),
    ("integrate_window_graded", {"levels": 3}),
    ("integrate_window_graded", {"levels": 8, "free": True}),
    ("integrate_integer", {"bits": 1}),
    ("integrate_integer", {"bits": 2, "free": True}),
    ("integrate_integer", {"bits": 7}),
    ("integrate_integer", {"bits": 8}),
    ("integrate_integer", {"bits": 8, "free": True}),
    ("integrate_window_integer", {"bits": 1}),
    ("integrate_window_integer", {"bits": 3}),
    ("integrate_window_integer", {"bits": 8}),
    ("integrate_window_integer", {"bits": 8, "free": True}),
]


@pytest.mark.parametrize(("kind", "how"), KINDS)
def test_neurons_with_thresholds_of_their_own(kind, how):
    b = Build(14)
    x = b.fire(b.conv(b.input(1, 4, 4), 3), kind, 3000, "neuron", theta="neuron", **how)
    y = b.fire(b.conv(x, 5), kind, 300, theta="neuron", **how)
    graph = b.graph(b.out(b.dense(b.flat(y), 3)))
    assert kinds(graph).count(Fire) == 3
    check(graph, 5)


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
@pytest.mark.parametrize(("kind", "how"), KINDS[3:])
def test_payloads_and_digits(kind, how, steps):
    graph = residual(steps, steps, 3 + 2 * steps, kind, **how)
    assert kinds(graph).count(Fire) == 6
    check(graph, 13 * steps)


@pytest.mark.parametrize(("kind", "how"), KINDS)
@pytest.mark.parametrize("steps", [13, 64])
def test_many_steps(kind, how, steps):
    b = Build(21, steps if kind != "integrate_radix" else 10, width=32)
    x = b.fire(b.conv(b.input(1, 4, 4), 5), kind, 3000, **how)
    y = b.fire(b.conv(b.pool(x, op="max_pool_count"), 4), kind, 300, **how)
    check(b.graph(b.out(b.dense(b.flat(y), 3))), 3)


@pytest.mark.parametrize(("kind", "how"), KINDS)
@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 0, 0, 1)])
def test_pools_of_payloads_and_digits(kind, how, pads):
    b = Build(22)
    x = b.fire(b.conv(b.input(1, 6, 6), 6), kind, 2000, **how)
    radix = kind == "integrate_radix"
    m = b.pool(x, pads=pads, op="max_pool_radix" if radix else "max_pool_count")
    s = b.pool(x, pads=pads)
    y = b.fire(b.join(b.conv(m, 6), b.conv(s, 6)), kind, 100, **how)
    graph = b.graph(b.out(b.dense(b.flat(y), 3)), b.out(b.dense(b.flat(b.pool(x, (6, 6))), 2)))
    assert kinds(graph).count(Pool) == 3
    check(graph, 34)


def test_firing_that_may_raise_a_potential_runs_by_its_rule():
    b = Build(23)
    c = b.conv(b.input(1, 4, 4), 3)
    theta, fire = (np.full(3, n) for n in (3000, 1000))
    x = b.add("integrate_graded", [c], (3, 4, 4), spikes(4),
              theta=(theta, I24), fire=(fire, I24), v0=(theta // 2, I24))  # fmt: skip
    check(b.graph(b.out(b.dense(b.flat(x), 3))), 5)


@pytest.mark.parametrize("channels", [5, 8, 33])
@pytest.mark.parametrize(("kind", "how"), KINDS)
def test_depthwise_layers(kind, how, channels):
    b = Build(24, 3)
    x = b.fire(b.conv(b.input(2, 6, 5), channels), kind, 3000, **how)
    y = b.fire(b.conv(x, channels, groups=channels), kind, 100, **how)
    z = b.fire(b.conv(y, 4, (1, 1), pads=(0,) * 4), kind, 100, **how)
    graph = b.graph(b.out(b.dense(b.flat(z), 3)))
    assert kinds(graph).count(Fire) == 4
    check(graph, 7)


@pytest.mark.skipif(not FEATURES.lut, reason="no lookups here")
def test_words_of_what_only_depthwise_layers_read_hold_pairs():
    b = Build(25)
    x = b.fire(b.conv(b.input(1, 4, 4), 9), "integrate_signed", 3000)
    y = b.fire(b.conv(x, 9, groups=9), "integrate_signed", 100)
    graph = b.graph(b.out(b.dense(b.flat(y), 3)))
    codings = plan_of(graph, graph.steps, LUT).codings
    assert (codings[x].groups, codings[y].groups) == (5, 3)


@pytest.mark.skipif(not FEATURES.lut, reason="no lookups here")
def test_words_of_what_only_depthwise_layers_read_lie_by_group():
    b = Build(26, steps=5)
    x = b.fire(b.conv(b.input(1, 7, 6), 9), "integrate_signed", 3000)
    y = b.fire(b.conv(x, 9, groups=9, strides=(2, 2)), "integrate_signed", 100)
    z = b.fire(b.conv(x, 9, (3, 5), pads=(0, 2, 1, 3), groups=9), "integrate_signed", 100)
    w = b.fire(b.conv(x, 9, dilations=(1, 2), groups=9), "integrate_signed", 100)
    sums = [b.dense(b.flat(name), 3) for name in (y, z, w)]
    graph = b.graph(b.out(b.join(*sums)))
    plan = plan_of(graph, graph.steps, LUT)
    assert plan.codings[x].by_group
    fires = [step for step in plan.program if isinstance(step, Fire)]
    pieces = {step.node.name: step.layer.fixed.piece_count for step in fires}
    assert (pieces[y], pieces[z], pieces[w]) == (3, 3, 9)
    check(graph, 35)


def branches(steps, kind, per="channel", shown=False, **how) -> tuple[Graph, list[str]]:
    """Residual blocks without neurons behind their joins, and these joins.

    With `shown` one of them is read by a readout, too.
    """
    b = Build(27, steps)
    how = {"per": per, **how}
    x = b.fire(b.conv(b.input(1, 6, 5), 6), kind, 3000)
    sums = [b.conv(x, 5)]
    for _ in range(3):
        y = b.fire(sums[-1], kind, 200, **how)
        y = b.fire(b.conv(y, 7, (1, 1), pads=(0,) * 4), kind, 100)
        sums.append(b.join(sums[-1], b.conv(y, 5)))
    ends = [b.fire(sums[-1], kind, 300, **how) for _ in range(2)]
    read = [b.dense(b.flat(end), 3) for end in ends]
    more = [b.out(sums[1])] if shown else []
    return b.graph(b.out(b.join(*read)), *more), sums


@pytest.mark.parametrize(("kind", "how"), KINDS)
def test_joins_add_what_was_summed_before(kind, how):
    graph, sums = branches(3, kind, **how)
    for means in (LUT, DOT, TILES) if FEATURES.lut else (DOT, TILES):
        fires = [s for s in plan_of(graph, 3, means).program if isinstance(s, Fire)]
        added = [[c.name for c in step.sum.currents] for step in fires]
        assert [names for names in added if names] == [[name] for name in (*sums[:3], sums[2])]
        assert [step.current for step in fires if step.keeps] == sums[:3]
        assert max(len(step.sum.synapses) for step in fires if step.sum.currents) == 1
    check(graph, 35)


@pytest.mark.parametrize("steps", [1, 2, 7, 8, 9])
@pytest.mark.parametrize("kind", ["integrate", "integrate_signed"])
def test_joins_over_numbers_of_steps(kind, steps):
    check(branches(steps, kind)[0], 33)


def test_joins_that_are_read_as_they_are():
    check(branches(3, "integrate_signed", shown=True)[0], 33)


@pytest.mark.parametrize("kind", ["integrate", "integrate_signed"])
def test_sums_whose_neurons_have_biases_of_their_own_are_not_shared(kind):
    graph, _ = branches(3, kind, per="neuron")
    fires = [s for s in plan_of(graph, 3, DOT).program if isinstance(s, Fire)]
    assert not any(step.keeps for step in fires)
    check(graph, 5)


def test_large_weights_take_wider_sums():
    b = Build(15, steps=8)
    x = b.fire(b.dense(b.input(300), 700, m=127), "integrate_signed", 200_000)
    y = b.fire(b.dense(x, 40, m=127), "integrate", 4000)
    z = b.fire(b.dense(y, 12, m=127), "integrate_signed", 30_000)
    check(b.graph(b.out(b.dense(z, 5))), 40)
    check(b.graph(b.out(b.dense(z, 5))), 40, steps=1)


def test_weights_beyond_eight_bits():
    b = Build(16)
    x = b.fire(b.conv(b.input(1, 5, 5), 6), "integrate_signed", 2000)
    w = b.rng.integers(-9000, 9000, 6)
    scaled = b.add("affine", [x], b.shape(x), I24, w=(w, signed(16)))
    y = b.fire(b.join(b.conv(x, 6), scaled), "integrate", 5000)
    check(b.graph(b.out(b.dense(b.flat(y), 3))), 6)


def test_potentials_that_exceed_sixteen_bits_are_exact():
    b = Build(17, steps=9)
    x = b.fire(b.conv(b.input(1, 6, 6), 16), "integrate", 1000)
    y = b.fire(b.conv(x, 16, m=127), "integrate_signed", 20_000)
    check(b.graph(b.out(b.dense(b.flat(y), 3))), 33)


def test_a_single_readout_channel_is_not_overwritten():
    b = Build(18)
    x = b.fire(b.conv(b.input(1, 4, 4), 4), "integrate", 1500)
    check(b.graph(b.out(b.dense(b.flat(x), 1)), b.out(b.dense(b.flat(x), 1))), 64)


def test_layers_with_large_tables_use_bytes():
    b = Build(19)
    x = b.fire(b.dense(b.input(64), 800), "integrate_signed", 5000)
    y = b.fire(b.dense(x, 512), "integrate_signed", 300)
    graph = b.graph(b.out(b.dense(y, 3)))
    assert plan_of(graph, 4).codings[x].kind == DOT
    check(graph, 33)


def test_traces_in_bands_of_rows(monkeypatch):
    for size in (1, 20_000):
        monkeypatch.setattr(layer, "KEPT_BYTES", size)
        check(residual(2, 3, 5, "integrate_signed"), 40)


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("steps", [1, 3, 8, 13])
def test_windows_of_the_layerwise_schedule(steps, free):
    graph = residual(steps, steps, 7, "integrate_window", free=free)
    assert Fire in kinds(graph)
    check(graph, 35)


@pytest.mark.parametrize("width", [14, 16, 18])
def test_windows_overflow_as_the_reference(width):
    found = 0
    for seed in range(6):
        b = Build(seed, steps=8, width=width)
        x = b.fire(b.conv(b.input(1, 4, 4, bits=5), 4, m=20), "integrate_window", 300)
        y = b.fire(b.conv(x, 4, m=127), "integrate_window", 200, free=bool(seed % 2))
        graph = b.graph(b.out(b.dense(b.flat(y), 3, m=9)))
        found += overflows(graph, seed) != ""
    assert found or width > 14


@pytest.mark.parametrize("width", [14, 16, 18])
def test_overflow_is_the_references_error(width):
    found = 0
    for seed in range(6):
        b = Build(seed, steps=8, width=width)
        x = b.fire(b.conv(b.input(1, 4, 4, bits=5), 4, m=20), "integrate", 300)
        y = b.fire(b.conv(x, 4, m=100), "integrate_signed", 200)
        graph = b.graph(b.out(b.dense(b.flat(y), 3, m=127)))
        found += overflows(graph, seed) != ""
    assert found or width > 14


def test_spikes_alone_overflow_narrow_potentials():
    """Widths below 16 bits are checked behind spikes, too, where potentials scan in 16 bits."""
    found = 0
    for seed in range(8):
        b = Build(seed, steps=24, width=14)
        x = b.fire(b.conv(b.input(1, 6, 6, bits=3), 4, m=20), "integrate", 20)
        y = b.fire(b.conv(x, 4, m=127), "integrate_signed", 40)
        graph = b.graph(b.out(b.dense(b.flat(y), 3, m=5)))
        found += f"%{y}" in overflows(graph, seed)
    assert found


def overflows(graph, seed) -> str:
    """The text of the RangeError that both engines raise; empty if both give the same result."""
    feeds = feeds_of(graph, 40, seed)
    want, got = outcome(interpreter.simulate, graph, feeds), outcome(simulate, graph, feeds)
    if isinstance(want, str) or isinstance(got, str):
        assert got == want
        return want
    assert_same(got, want)
    return ""


def outcome(engine, graph, feeds):
    """The simulation, or the text of its RangeError."""
    try:
        return engine(graph, feeds)
    except RangeError as error:
        return str(error)


@pytest.mark.parametrize("kind", ["integrate", "integrate_signed", "integrate_window"])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("many", "bias", "v0"),
    [(160, 20_000, 0), (100, 0, 25_000), (100, 12_000, 12_000), (258, 0, 0), (257, 128, 1)],
)
def test_sums_around_16_bits(kind, sign, many, bias, v0):
    """What spikes and constants, or currents and potentials reach only together leaves 16 bits."""
    b = Build(0, steps=3)
    one = b.add("affine", [b.input(many)], (many,), I24, w=(1, signed(8)))
    x = b.add("integrate", [one], (many,), SPIKE, theta=(1, I24), v0=(1, I24))
    w = np.full((1, many), sign * 127)
    c = b.add("dense", [x], (1,), I24, w=(w, signed(8)))
    more = {"theta_neg": (-32_000, I24)} if kind == "integrate_signed" else {}
    params = {"theta": (32_000, I24), "v0": (sign * v0, I24), "bias": (sign * bias, I24), **more}
    free = {"free": True} if kind != "integrate" else {}
    y = b.add(kind, [c], (1,), SPIKE, free, **params)
    check(b.graph(b.out(b.dense(y, 2))), 3)


def test_inputs_outside_their_width_are_refused():
    b = Build(0)
    graph = b.graph(b.out(b.dense(b.input(4, bits=3), 2)))
    feeds = {"n0": np.full((2, 4), 9, np.uint8)}
    for engine in (interpreter.simulate, simulate):
        with pytest.raises(RangeError, match="reaches 9"):
            engine(graph, feeds)


def test_threads_do_not_change_results(monkeypatch):
    graph = residual(1, 4, 9, "integrate_signed")
    feeds = feeds_of(graph, 200)
    layers = [n.name for n in graph.nodes]
    want = simulate(graph, feeds, None, layers, threads=1)
    assert_same(simulate(graph, feeds, None, layers, threads=4), want)
    monkeypatch.setenv("SPIKEC_THREADS", "3")
    assert_same(simulate(graph, feeds, None, layers), want)
    monkeypatch.setenv("SPIKEC_THREADS", "many")
    with pytest.raises(UsageError, match="SPIKEC_THREADS"):
        simulate(graph, feeds)


def test_events_can_be_left_out():
    graph = residual(2, 3, 4, "integrate")
    feeds = feeds_of(graph, 3)
    run = simulate(graph, feeds, events=False)
    assert run.events == {}
    want = interpreter.simulate(graph, feeds).readout
    np.testing.assert_array_equal(run.readout[graph.outputs[0]], want[graph.outputs[0]])


def test_a_plan_compiles_what_it_can():
    graph = residual(3, 8, 16, "integrate_signed")
    found = kinds(graph)
    assert found.count(Simple) == 2
    assert found.count(Fire) == 6
    assert plan_of(graph, 8) is plan_of(graph, 8)


@pytest.mark.parametrize("seed", range(25))
def test_random_networks(seed):
    rng = np.random.default_rng(1000 + seed)
    b = Build(seed, steps=int(rng.integers(1, 10)))
    kind = lambda: ("integrate", "integrate_signed", "integrate_window")[rng.integers(3)]  # noqa: E731
    value = b.fire(
        b.conv(b.input(int(rng.integers(1, 4)), 8, 10), int(rng.integers(1, 20))), kind(), 3000
    )
    for _ in range(int(rng.integers(1, 5))):
        choice, channels = rng.integers(6), b.shape(value)[0]
        if choice == 0 and min(b.shape(value)[1:]) > 3:
            value = b.pool(value, op="max_pool_count")
        elif choice == 1 and min(b.shape(value)[1:]) > 3:
            value = b.fire(b.conv(b.pool(value), channels + 1), kind(), 200)
        elif choice == 2:
            joined = b.join(b.conv(value, channels), b.affine(value))
            value = b.fire(joined, kind(), 150, free=bool(rng.integers(2)))
        elif choice == 3:
            value = b.fire(b.conv(value, channels, groups=channels), kind(), 60, per="neuron")
        else:
            out = int(rng.integers(1, 40))
            strides = (int(rng.integers(1, 3)),) * 2
            value = b.fire(b.conv(value, out, strides=strides), kind(), 100)
    check(b.graph(b.out(b.dense(b.flat(value), 7))), int(rng.integers(1, 71)))


def test_float_graphs():
    b = Build(5)
    w = b.rng.normal(0, 1, (4, 1, 3, 3))
    attrs = {"strides": (1, 1), "pads": (1,) * 4, "dilations": (1, 1), "groups": 1}
    x = b.add("input", [], (1, 5, 5), F32)
    c = b.add("conv", [x], (4, 5, 5), F32, attrs, w=(w, F32))
    ones = np.ones(4)
    s = b.add("integrate", [c], (4, 5, 5), SPIKE, theta=(ones, F32), v0=(ones / 2, F32))
    d = b.add("dense", [b.flat(s)], (2,), F32, w=(b.rng.normal(0, 1, (2, 100)), F32))
    o = b.add("accumulate", [d], (2,), F32)
    graph = verify(Graph("g", "snn", 4, tuple(b.nodes), (o,), b.params))
    feeds = {x: b.rng.random((6, 1, 5, 5), np.float32)}
    got, want = simulate(graph, feeds), interpreter.simulate(graph, feeds)
    np.testing.assert_allclose(got.readout[o], want.readout[o], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("cpu", ["x86-64-v3", "x86-64"])
def test_without_avx512(cpu, tmp_path):
    """The generic code path, in a process whose compiler may not use newer instructions."""
    if os.uname().machine != "x86_64":
        pytest.skip("names x86 processors")
    features = "+avx2" if cpu == "x86-64-v3" else "+sse2"
    env = {**os.environ, "NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features}
    env["NUMBA_CACHE_DIR"] = str(tmp_path)
    chosen = "test_windows_and_groups or test_sum_pools or test_neuron_params or wider"
    command = [sys.executable, "-m", "pytest", "-q", "-x", __file__, "-k", chosen]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", "-m", "not slow"],
        env=env, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
