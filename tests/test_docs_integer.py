"""docs/integer.md, transcribed into Python integers, against the ops; and its tests exist.

What is below uses nothing but the page: loops over single integers of any size.
"""

import ast
import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikec.ir import OPS, op_of, parse, verify
from spikec.runtime.coding import encode
from spikec.runtime.interpreter import simulate

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "integer.md").read_text(encoding="utf-8")


def named_tests() -> list[tuple[str, str]]:
    return re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)


def test_every_statement_names_a_test():
    statements = re.split(r"^\d+\. ", PAGE, flags=re.MULTILINE)[1:]
    numbers = [int(n) for n in re.findall(r"^(\d+)\. ", PAGE, re.MULTILINE)]
    assert numbers == list(range(1, len(statements) + 1))
    for number, text in enumerate(statements, 1):
        assert re.search(r"`tests/[\w/]+\.py::\w+`", text), number


@pytest.mark.parametrize(("file", "name"), sorted(set(named_tests())))
def test_the_named_test_exists(file, name):
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}


def test_every_op_of_the_integer_stage_is_on_the_page():
    for name, op in OPS.items():
        if "int" in op.stages and not op.activation:
            assert f"`{name}`" in PAGE, name


# --- the page as code: values are dicts from index to int -------------------------------------


def table(array):
    return {index: int(array[index]) for index in np.ndindex(*array.shape)}


def of(param, index):
    """Statement 5."""
    if param.ndim == 0:
        return int(param)
    if param.ndim == 1:
        return int(param[index[0]])
    return int(param[tuple(0 if n == 1 else i for i, n in zip(index, param.shape, strict=True))])


def indices(shape):
    return itertools.product(*map(range, shape))


def dense(x, w, b, out):
    found = {(o,): sum(int(w[o, i]) * x[(i,)] for i in range(w.shape[1])) for (o,) in indices(out)}
    return {o: total + (0 if b is None else int(b[o])) for o, total in found.items()}


def tap(a, p, k):
    """Where a window at `p` meets its tap `k`."""
    terms = zip(a["strides"], p, a["dilations"], k, a["pads"], strict=False)
    return [stride * i + dilation * j - pad for stride, i, dilation, j, pad in terms]


def conv(x, w, b, out, a):
    per_group = w.shape[0] // a["groups"]
    found = {}
    for o, *p in indices(out):
        first = o // per_group * w.shape[1]
        total = int(b[o]) if b is not None else 0
        for c, *k in indices(w.shape[1:]):
            at = tap(a, p, k)
            total += int(w[(o, c, *k)]) * x.get((first + c, *at), 0)
        found[(o, *p)] = total
    return found


def conv_transpose(x, w, out, a):
    per_in, per_out = w.shape[0] // a["groups"], w.shape[1]
    found = dict.fromkeys(indices(out), 0)
    for (c, *i), value in x.items():
        for o, *k in indices(w.shape[1:]):
            at = tap(a, i, k)
            place = (c // per_in * per_out + o, *at)
            if place in found:
                found[place] += int(w[(c, o, *k)]) * value
    return found


def window(x, out, a):
    """The inputs that each window of a pooling op holds."""
    for c, *p in indices(out):
        taps = []
        for k in indices(a["kernel"]):
            at = tap(a, p, k)
            if (c, *at) in x:
                taps.append((c, *at))
        yield (c, *p), taps


def neuron(op, currents, p, a, steps):
    """Spikes and potentials of one neuron, statements 13, 16 and 20."""
    theta, v, n = p["theta"], p["v0"], 0
    spikes, potentials = [], []
    if op == "integrate_window":
        v += sum(currents) + steps * p["bias"]
    for current in currents:
        if op != "integrate_window":
            v += current + p["bias"]
        s = 1 if v >= theta else 0
        if op == "integrate_signed" and v < p["theta_neg"] and (a["free"] or n > 0):
            s = -1
        if op == "integrate_window" and a["free"] and v < 0:
            s = -1
        v -= theta * s
        n += s
        spikes.append(s)
        potentials.append(v)
    return spikes, potentials


def by_the_page(graph, x):
    """Spikes and potentials (steps, *shape) of every layer for one coded sample."""
    steps, values, layers = graph.steps, {}, {}
    for node in graph.nodes:
        shape, a = node.type.shape, node.operation.attributes()
        inputs = [values[name] for name in node.inputs]
        p = {
            role: graph.array(node, role) for role in node.params if role not in ("scale", "offset")
        }
        if node.op == "input":
            values[node.name] = [table(x)] * steps
        elif node.op in ("integrate", "integrate_signed", "integrate_window"):
            spikes = [{} for _ in range(steps)]
            potentials = [{} for _ in range(steps)]
            for index in indices(shape):
                own = {"bias": 0} | {role: of(array, index) for role, array in p.items()}
                s, v = neuron(node.op, [step[index] for step in inputs[0]], own, a, steps)
                for t in range(steps):
                    spikes[t][index], potentials[t][index] = s[t], v[t]
            values[node.name], layers[node.name] = spikes, (spikes, potentials)
        elif node.op == "accumulate":
            v, potentials = dict.fromkeys(indices(shape), 0), []
            for step in inputs[0]:
                v = {i: v[i] + step[i] + (of(p["bias"], i) if "bias" in p else 0) for i in v}
                potentials.append(v)
            values[node.name], layers[node.name] = potentials, (None, potentials)
        elif node.op == "max_pool_count":
            counts = dict.fromkeys(inputs[0][0], 0)
            m, spikes, potentials = dict.fromkeys(indices(shape), 0), [], []
            for step in inputs[0]:
                counts = {i: counts[i] + step[i] for i in counts}
                new = {o: max(counts[i] for i in taps) for o, taps in window(counts, shape, a)}
                spikes.append({o: new[o] - m[o] for o in new})
                m = new
                potentials.append(m)
            values[node.name], layers[node.name] = spikes, (spikes, potentials)
        else:
            values[node.name] = [
                current(node, [v[t] for v in inputs], p, shape, a) for t in range(steps)
            ]
    return layers


def current(node, inputs, p, shape, a):
    x, w, b = inputs[0], p.get("w"), p.get("b")
    if node.op == "dense":
        return dense(x, w, b, shape)
    if node.op == "affine":
        return {i: of(w, i) * x[i] + (of(b, i) if b is not None else 0) for i in x}
    if node.op == "conv":
        return conv(x, w, b, shape, a)
    if node.op == "sum_pool":
        return {o: sum(x[i] for i in taps) for o, taps in window(x, shape, a)}
    if node.op == "add":
        return {i: sum(value[i] for value in inputs) for i in x}
    assert node.op == "reshape"
    return dict(zip(indices(shape), (x[i] for i in sorted(x)), strict=True))


NET = """
graph @net <stage=int, steps={steps}> {{
  param @x.scale : f64[] = {unit}
  param @x.offset : f64[] = {unit}
  param @a.w : i8[2,1,2,2] = {a}
  param @n.theta : i24[2] = {theta}
  param @n.v0 : i24[] = {v0}
  param @n.bias : i24[2] = {bias}
  param @b.w : i8[2,1,2,1] = {b}
  param @b.b : i24[2] = {bias}
  param @s.w : i8[] = {one}
  param @m.neg : i24[] = {neg}
  param @m.scale : f64[] = {unit}
  param @d.w : i8[3,8] = {d}
  %x : u8[1,3,3] = input() <scale=@x.scale, offset=@x.offset>
  %a : i24[2,2,2] = conv(%x) <w=@a.w, strides=[2,2], pads=[1,0,0,1], dilations=[1,1], groups=1>
  %n : spike[2,2,2] = {first}(%a) <theta=@n.theta, v0=@n.v0, bias=@n.bias{free1}>
  %p : {pooled}[2,2,2] = {pool}(%n) <kernel=[2,1], strides=[1,1], pads=[1,0,0,0], dilations=[1,1]>
  %b : i24[2,2,2] = conv(%p)
        <w=@b.w, b=@b.b, strides=[1,1], pads=[0,0,1,0], dilations=[1,1], groups=2>
  %s : i24[2,2,2] = affine(%n) <w=@s.w>
  %j : i24[2,2,2] = add(%b, %s)
  %m : spike[2,2,2] = integrate_signed(%j)
        <theta=@n.theta, v0=@n.v0, theta_neg=@m.neg, scale=@m.scale, free={free}>
  %f : spike[8] = reshape(%m) <shape=[8]>
  %d : i24[3] = dense(%f) <w=@d.w>
  %o : i24[3] = accumulate(%d)
  return %o
}}
"""


@st.composite
def networks(draw):
    def ints(low, high, *shape):
        many = draw(st.lists(st.integers(low, high), min_size=1, max_size=8))
        return np.resize(many, shape).tolist()

    top = draw(st.sampled_from([2, 30, 900]))
    first, free1 = draw(
        st.sampled_from(
            [
                ("integrate", ""),
                ("integrate_window", ", free=false"),
                ("integrate_window", ", free=true"),
            ]
        )
    )
    pool = draw(st.sampled_from(["max_pool_count", "sum_pool"]))
    text = NET.format(
        steps=draw(st.integers(1, 5)),
        unit=draw(st.sampled_from([1, 0.37])),
        a=ints(-128, 127, 2, 1, 2, 2),
        theta=ints(1, top, 2),
        v0=draw(st.integers(-top, top)),
        bias=ints(-top, top, 2),
        b=ints(-128, 127, 2, 1, 2, 1),
        one=draw(st.integers(-128, 127)),
        neg=draw(st.integers(-top, 0)),
        d=ints(-128, 127, 3, 8),
        first=first,
        free1=free1,
        free=draw(st.sampled_from(["true", "false"])),
        pool=pool,
        pooled="spike" if pool == "max_pool_count" else "i24",
    )
    x = np.array(ints(0, 255, 2, 1, 3, 3))
    return verify(parse(text)), x


@given(networks())
@settings(max_examples=80)
def test_random_networks_by_the_page(case):
    graph, x = case
    names = [node.name for node in graph if op_of(node).stateful]
    run = simulate(graph, {"x": x}, None, names)
    for sample, image in enumerate(x):
        for name, (spikes, potentials) in by_the_page(graph, image).items():
            trace = run.traces[name]
            for t in range(graph.steps):
                assert table(trace.potentials[t, sample]) == potentials[t], (name, t)
                if spikes is not None:
                    assert table(trace.spikes[t, sample]) == spikes[t], (name, t)


@given(networks())
@settings(max_examples=20)
def test_units_never_enter_the_arithmetic(case):
    graph, x = case
    from spikec.ir import F64, Param

    units = {
        n: Param.of(p.array * -7.5 + 1, F64)
        for n, p in graph.params.items()
        if p.type.dtype.kind == "f"
    }
    found = [simulate(g, {"x": x}).readout["o"] for g in (graph, graph.with_params(units))]
    assert (found[0] == found[1]).all()


def test_ties_of_the_input_code_go_to_the_even_integer():
    graph = parse(
        NET.format(
            steps=1,
            unit=1,
            a=np.zeros((2, 1, 2, 2), int).tolist(),
            theta=[1, 1],
            v0=0,
            bias=[0, 0],
            b=np.zeros((2, 1, 2, 1), int).tolist(),
            one=1,
            neg=0,
            d=np.zeros((3, 8), int).tolist(),
            first="integrate",
            free1="",
            free="true",
            pool="sum_pool",
            pooled="i24",
        )
    )
    x = np.array([1.5, 2.5, 3.5, 4.5, 1.4999, 0.9, 256.4, 257.0, 9.0]).reshape(1, 1, 3, 3)
    coded = encode(graph, {"x": x}).feeds["x"]
    assert coded.reshape(-1).tolist() == [0, 2, 2, 4, 0, 0, 255, 255, 8]


# --- single ops ------------------------------------------------------------------------------

SMALL, LARGE = st.integers(-128, 127), st.integers(-(2**30), 2**30)


@st.composite
def arrays(draw, *shape, values=SMALL):
    many = draw(st.lists(values, min_size=1, max_size=12))
    return np.resize(np.array(many, np.int64), shape)


def run(op, *inputs, params=None, **attrs):
    return OPS[op].of(attrs).run([x[None] for x in inputs], params or {})[0]


@given(arrays(5, values=LARGE), arrays(3, 5), arrays(3, values=LARGE))
def test_dense_and_affine(x, w, b):
    assert table(run("dense", x, params={"w": w, "b": b})) == dense(table(x), w, b, (3,))
    found = table(run("affine", x, params={"w": w[0], "b": b[0]}))
    assert found == {i: int(w[0][i]) * v + int(b[0]) for i, v in table(x).items()}


@given(
    arrays(4, 5, 4),
    arrays(4, 2, 2, 3),
    st.tuples(*[st.integers(1, 2)] * 4),
    st.tuples(*[st.integers(0, 2)] * 4),
)
def test_convolution(x, w, how, pads):
    a = {"strides": how[:2], "dilations": how[2:], "pads": tuple(p + 1 for p in pads), "groups": 2}
    found = run("conv", x, params={"w": w}, **a)
    assert table(found) == conv(table(x), w, None, found.shape, a)


@given(
    arrays(4, 2, 3),
    arrays(4, 2, 2, 2),
    st.tuples(*[st.integers(1, 2)] * 4),
    st.tuples(*[st.integers(0, 1)] * 2),
)
def test_transposed_convolution(x, w, how, extra):
    a = {
        "strides": how[:2],
        "dilations": how[2:],
        "pads": (1, 0, 0, 1),
        "groups": 2,
        "extra": extra,
    }
    found = run("conv_transpose", x, params={"w": w}, **a)
    assert table(found) == conv_transpose(table(x), w, found.shape, a)


@given(arrays(2, 4, 3, values=LARGE), arrays(2, 4, 3, values=LARGE))
def test_sums(x, y):
    assert table(run("add", x, y, x)) == {i: 2 * v + int(y[i]) for i, v in table(x).items()}
    a = {"kernel": (2, 2), "strides": (2, 1), "pads": (1, 0, 1, 1), "dilations": (1, 1)}
    found = run("sum_pool", x, **a)
    assert table(found) == {
        o: sum(int(x[i]) for i in taps) for o, taps in window(table(x), found.shape, a)
    }
    total = table(run("reduce_sum", x, axes=(1, 2)))
    assert total == {(c, 0, 0): sum(v for i, v in table(x).items() if i[0] == c) for c in range(2)}


def test_routing():
    x = np.arange(24).reshape(2, 3, 4)
    assert run("reshape", x, shape=(4, 6))[1, 2] == 8
    assert run("transpose", x, perm=(2, 0, 1))[3, 1, 2] == x[1, 2, 3]
    assert run("concat", x, x + 50, axis=1)[1, 4, 3] == x[1, 1, 3] + 50
    assert (
        run("slice", x, starts=(0, 2, 3), sizes=(2, 2, 2), steps=(1, -1, -2))[1, 1, 1] == x[1, 1, 1]
    )
    assert run("gather", x, axis=2, indices=(3, 0, 3))[1, 2, 2] == x[1, 2, 3]
    padded = run("pad", x, pads=(0, 1, 2, 1, 0, 0))
    assert (padded.shape, padded[1, 3, 5], padded[2, 1, 2], padded.sum()) == (
        (3, 4, 6),
        23,
        0,
        x.sum(),
    )
    assert run("upsample", x, factors=(1, 2, 3))[1, 5, 10] == x[1, 2, 3]


@given(arrays(4, values=LARGE), st.integers(1, 2**30), LARGE, LARGE, st.booleans())
def test_window_neurons(currents, theta, v0, bias, free):
    p = {"theta": np.array(theta), "v0": np.array(v0), "bias": np.array(bias)}
    spikes, potentials = (
        OPS["integrate_window"].of({"free": free}).scan([currents.reshape(4, 1, 1)], p, 4)
    )
    own = {"theta": theta, "v0": v0, "bias": bias}
    want = neuron("integrate_window", [int(c) for c in currents], own, {"free": free}, 4)
    assert (spikes[:, 0, 0].tolist(), potentials[:, 0, 0].tolist()) == want
    v = v0 + int(currents.sum()) + 4 * bias
    low = -4 if free else 0
    assert sum(want[0]) == min(max(math.floor(v / theta), low), 4)


def clip(value, low, high):
    return min(max(value, low), high)


def power_of_two(v, fire, levels):
    """The largest 2^k, k < levels, with v >= fire 2^k; 0 where there is none."""
    return max((1 << k for k in range(levels) if v >= fire << k), default=0)


def payloads(op, currents, p, a, steps):
    """What a neuron of statements 32 to 35 sends, and its potentials."""
    theta, v, n, sent, potentials = p["theta"], p["v0"], 0, [], []
    if op == "integrate_radix":
        total = 0
        for current in currents:
            total = 2 * total + current + p["bias"]
        v = total - v if a["free"] and total < 0 else total + v
    elif "window" in op:
        v += sum(currents) + steps * p["bias"]
    for t, current in enumerate(currents, 1):
        if op == "integrate_integer":
            v += current + p["bias"]
        if op == "integrate_radix":
            unit = theta << (steps - t)
            s = 1 if v >= unit else -1 if a["free"] and v <= -unit else 0
            v -= unit * s
        else:
            if op == "integrate_window_graded":
                s = power_of_two(v, p["fire"], a["levels"])
                if s == 0:  # strictly below, and no more than was sent
                    levels = [k for k in range(a["levels"]) if a["free"] or n >= 1 << k]
                    s = -max((1 << k for k in levels if v < -(p["fire"] << k)), default=0)
            else:
                high = (1 << a["bits"]) - 1
                low = 0 if "window" in op else -min(n, high)
                if a["free"]:
                    low, high = -(1 << (a["bits"] - 1)), (1 << (a["bits"] - 1)) - 1
                s = clip(v // theta, low, high)
            v -= theta * s
        n += s
        sent.append(s)
        potentials.append(v)
    return sent, potentials


@given(
    st.sampled_from(["integrate_integer", "integrate_window_integer", "integrate_window_graded",
                     "integrate_radix"]),
    st.lists(st.integers(-200, 200), min_size=1, max_size=6),
    st.integers(1, 60), st.integers(-50, 50), st.integers(-20, 20), st.booleans(),
    st.integers(2, 5),
)  # fmt: skip
def test_neurons_with_payloads_and_digits(op, currents, theta, v0, bias, free, width):
    a = {"free": free}
    if op.endswith("integer"):
        a["bits"] = width
    if op.endswith("graded"):
        a["levels"] = width
    own = {"theta": theta, "v0": v0, "bias": bias}
    if op.endswith("graded"):
        own["fire"] = theta * 3 // 4 + 1
    params = {role: np.array(value) for role, value in own.items()}
    steps = len(currents)
    x = np.array(currents, np.int64).reshape(steps, 1, 1)
    found = OPS[op].of(a).scan([x], params, steps)
    want = payloads(op, currents, own, a, steps)
    assert [part.reshape(-1).tolist() for part in found] == [list(part) for part in want]


@given(st.lists(st.lists(st.integers(0, 1), min_size=2, max_size=2), min_size=1, max_size=8),
       st.integers(-9, 9))  # fmt: skip
def test_readout_and_pooling_of_digits(digits, bias):
    steps = len(digits)
    x = np.array(digits, np.int64).reshape(steps, 1, 1, 2)
    v, numbers, m, potentials, pooled = 0, [0, 0], 0, [], []
    for step in digits:
        v = 2 * v + step[0] + bias
        potentials.append(v)
        numbers = [2 * n + s for n, s in zip(numbers, step, strict=True)]
        m, before = max(numbers), m
        pooled.append(m - 2 * before)
    found, _ = OPS["accumulate_radix"].of({}).scan([x[..., :1]], {"bias": np.array(bias)}, steps)
    assert found.reshape(-1).tolist() == potentials
    flat = {"strides": (1,), "pads": (0, 0), "dilations": (1,)}
    pool = OPS["max_pool_radix"].of({"kernel": (2,), **flat})
    assert pool.scan([x], {}, steps)[0].reshape(-1).tolist() == pooled
