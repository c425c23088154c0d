"""Proven ranges hold for every input; what is not proven is said so, checked, or refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spikec
from spikec.compiler.pipeline import Context, Record
from spikec.compiler.quantisation.range import Range, observe
from spikec.ir import RangeError, op_of, parse, spread, verify
from spikec.runtime.interpreter import simulate
from spikec.runtime.ranges import ranges_of, signed_bits

PARAMS = "theta=@{n}.theta, v0=@{n}.v0, bias=@{n}.bias"
NEURONS = {
    "integrate": PARAMS,
    "signed": f"{PARAMS}, theta_neg=@{{n}}.neg, free=false",
    "free": f"{PARAMS}, theta_neg=@{{n}}.neg, free=true",
    "window": f"{PARAMS}, free=false",
    "window_free": f"{PARAMS}, free=true",
    "graded": f"{PARAMS}, fire=@{{n}}.fire, levels=3, free=false",
    "graded_free": f"{PARAMS}, fire=@{{n}}.fire, levels=3, free=true",
}
OPS = {
    name: "integrate" if name == "integrate" else f"integrate_{name.split('_')[0]}"
    for name in NEURONS
} | {"free": "integrate_signed"}


@st.composite
def networks(draw):
    """conv -> neuron -> (pool) -> conv + skip -> neuron -> dense -> readout."""

    def ints(low, high, *shape):
        many = draw(st.lists(st.integers(low, high), min_size=1, max_size=8))
        return np.resize(many, shape).tolist()

    first, second = draw(st.sampled_from(sorted(NEURONS))), draw(st.sampled_from(sorted(NEURONS)))
    pool = draw(st.sampled_from(["max_pool_count", "sum_pool", None]))
    more1, more2 = NEURONS[first], NEURONS[second]
    spike1, spike2 = ("spike3" if "graded" in kind else "spike" for kind in (first, second))
    lines = [f"graph @net <stage=int, steps={draw(st.integers(1, 7))}> {{"]

    def param(name, type_, value):
        lines.append(f"  param @{name} : {type_} = {value}")

    param("x.scale", "f64[]", 1)
    param("a.w", "i8[2,1,2]", ints(-128, 127, 2, 1, 2))
    param("b.w", "i8[2,2,1]", ints(-128, 127, 2, 2, 1))
    param("b.b", "i24[2]", ints(-50, 50, 2))
    for n in "nm":
        top = draw(st.sampled_from([3, 90, 4000]))
        param(f"{n}.theta", "i24[2]", ints(1, top, 2))
        param(f"{n}.v0", "i24[2]", ints(-top, top, 2))
        param(f"{n}.bias", "i24[2]", ints(-top, top, 2))
        param(f"{n}.neg", "i24[]", draw(st.integers(-top, 0)))
        param(f"{n}.fire", "i24[]", draw(st.integers((top + 1) // 2, top)))
    param("d.w", "i8[3,6]", ints(-128, 127, 3, 6))
    param("o.bias", "i24[3]", ints(-900, 900, 3))
    window = "strides=[1], pads=[0, 0], dilations=[1]"
    pools = "kernel=[2], strides=[1], pads=[0, 1], dilations=[1]"
    for n, more in (("n", more1), ("m", more2)):
        unused = [role for role in ("neg", "fire") if f".{role}" not in more]
        lines = [line for line in lines if not any(f"@{n}.{role}" in line for role in unused)]
    lines += [
        "  %x : u4[1,4] = input() <scale=@x.scale>",
        f"  %a : i24[2,3] = conv(%x) <w=@a.w, {window}, groups=1>",
        f"  %n : {spike1}[2,3] = {OPS[first]}(%a) <{more1.format(n='n')}>",
    ]
    source = "n"
    if pool:
        type_ = spike1 if pool == "max_pool_count" else "i24"
        lines.append(f"  %p : {type_}[2,3] = {pool}(%n) <{pools}>")
        source = "p"
    lines += [
        f"  %b : i24[2,3] = conv(%{source}) <w=@b.w, b=@b.b, {window}, groups=1>",
        "  %s : i24[2,3] = add(%b, %a)",
        f"  %m : {spike2}[2,3] = {OPS[second]}(%s) <{more2.format(n='m')}>",
        f"  %f : {spike2}[6] = reshape(%m) <shape=[6]>",
        "  %d : i24[3] = dense(%f) <w=@d.w>",
        "  %o : i24[3] = accumulate(%d) <bias=@o.bias>",
        "  return %o",
        "}",
    ]
    return verify(parse("\n".join(lines)))


def adversarial(graph, seed) -> np.ndarray:
    """Random inputs, all extremes, and inputs that match the signs of each kernel."""
    rng = np.random.default_rng(seed)
    w = graph.array(graph["a"], "w")
    matched = [np.where(np.resize(k, 4) > 0, 15, 0) for k in w]
    rows = [*matched, *(15 - m for m in matched), np.zeros(4), np.full(4, 15)]
    rows += list(rng.choice([0, 15], (6, 4))) + list(rng.integers(0, 16, (4, 4)))
    return np.array(rows, np.int64)[:, None]


@given(networks(), st.integers(0, 2**32 - 1))
@settings(max_examples=120)
def test_no_adversarial_input_leaves_a_range(graph, seed):
    found = ranges_of(graph)
    assert not found.unknown
    layers = [node.name for node in graph if op_of(node).stateful]
    run = simulate(graph, {"x": adversarial(graph, seed)}, None, layers)
    for name in layers:
        trace, bound = run.traces[name], found.potentials[name]
        before = trace.potentials
        if op_of(graph[name]).neuron:
            theta = spread(graph.array(graph[name], "theta").astype(int), graph[name].type.shape)
            before = before + theta * trace.spikes
        for value in (before, trace.potentials):
            assert bound.low <= value.min(), name
            assert value.max() <= bound.high, name


@given(networks(), st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_observed_values_lie_in_the_ranges(graph, seed):
    found = ranges_of(graph)
    bounds = {**found.values, **found.potentials}
    x = adversarial(graph, seed)
    offset = spikec.ir.Param.of(0.0, spikec.ir.F64)
    node = graph["x"]
    node = replace(node, params={**node.params, "offset": "x.offset"})
    coded = graph.with_nodes([node, *graph.nodes[1:]], {"x.offset": offset})
    seen = observe(coded, {"x": x.astype(float)}, set(bounds) - {"x", "f"}, Context())
    assert {"a", "b", "s", "n", "m", "d", "o"} <= set(seen)
    for name, (low, high) in seen.items():
        assert bounds[name].low <= low, name
        assert high <= bounds[name].high, name


TIGHT = """
graph @net <stage=int, steps=4> {{
  param @x.scale : f64[] = 1
  param @x.offset : f64[] = 0
  param @a.w : i8[1,2] = [[{w}, {w}]]
  param @n.theta : i{bits}[] = 9
  %x : u4[2] = input() <scale=@x.scale, offset=@x.offset> from "image"
  %a : i{bits}[1] = dense(%x) <w=@a.w>
  %n : spike[1] = integrate(%a) <theta=@n.theta, v0=@n.theta> from "Relu_1"
  %b : i{bits}[1] = affine(%n) <w=@n.theta>
  %o : i{bits}[1] = accumulate(%b)
  return %o
}}
"""


def run_pass(text, calib=None, **options):
    record = Record("range", {})
    graph = parse(text)
    assert Range(**options).run(graph, Context(calib, steps=4), record) is graph
    return record


def test_a_proven_layer_reports_worst_case_width_and_margin():
    record = run_pass(TIGHT.format(w=2, bits=12))
    entry = record.layers["n"]["range"]
    assert entry["proven"]
    assert entry["checked"] is None
    assert entry["current"] == [0, 60]
    low, high = entry["potential"]
    assert low == 0
    assert 9 + 4 * 60 - 3 * 9 <= high <= 9 + 4 * 60
    assert entry["bits"] == signed_bits(low, high) == 9
    assert (entry["state_bits"], entry["margin_bits"]) == (12, 3)
    assert record.notes == ["ranges of 2 of 2 layers are proven for all inputs"]


def test_an_unproven_layer_is_checked_on_calibration_data():
    calib = {"x": np.array([[1.0, 0.0], [2.0, 1.0]])}
    record = run_pass(TIGHT.format(w=100, bits=12), calib)
    entry = record.layers["n"]["range"]
    assert not entry["proven"]
    assert entry["margin_bits"] < 0
    low, high = entry["checked"]["potential"]
    assert (low, high) == (9 + 100, 9 + 4 * 300 - 3 * 9)
    assert entry["checked"]["margin_bits"] == 0
    assert record.layers["o"]["range"]["proven"]
    assert "%n: checked on 2 calibration samples only" in record.notes[0]


def test_without_data_nothing_is_claimed():
    record = run_pass(TIGHT.format(w=100, bits=12))
    assert record.layers["n"]["range"]["checked"] is None
    assert record.notes[0].endswith("%n: not checked")


def test_calibration_data_that_overflow_are_an_error():
    with pytest.raises(RangeError, match="%a reaches"):
        run_pass(TIGHT.format(w=100, bits=12), {"x": np.array([[15.0, 15.0]])})


def test_require_refuses_what_is_not_proven():
    with pytest.raises(RangeError, match=r"%n is not proven: its current %a may reach 3000") as e:
        run_pass(TIGHT.format(w=100, bits=12), {"x": np.zeros((1, 2))}, require=True)
    assert e.value.loc == "Relu_1"
    assert "--weight-bits" in e.value.hint
    run_pass(TIGHT.format(w=2, bits=12), require=True)


def test_signed_bits():
    assert [signed_bits(*r) for r in ((0, 0), (-1, 0), (0, 1), (-2, 1), (-3, 0), (0, 127))] == [
        1, 1, 2, 2, 3, 8,
    ]  # fmt: skip
    assert signed_bits(-(1 << 23), (1 << 23) - 1) == 24


def test_a_neuron_without_a_known_bound_is_not_proven(monkeypatch):
    from spikec.ir.ops.neurons.integrate import Integrate

    monkeypatch.setattr(Integrate, "potential_bounds", lambda *given: None)
    record = run_pass(TIGHT.format(w=2, bits=12))
    entry = record.layers["n"]["range"]
    assert not entry["proven"]
    assert entry["potential"] is entry["bits"] is entry["margin_bits"] is None


def test_compile_reports_ranges(tiny_artifact):
    for layer in tiny_artifact.report.layers:
        assert layer.range.proven
        assert layer.range.margin_bits >= 0


def test_compile_can_require_proofs(tiny_onnx, tiny_data):
    art = spikec.compile(tiny_onnx(), tiny_data, timesteps=2, samples=8, require_proof=True)
    assert any(p.startswith("range") for p in art.stored.manifest["passes"])
    pipeline = "channels_first,fold,relay,observe,qcfs,quantise"
    art = spikec.compile(tiny_onnx(), tiny_data, samples=8, require_proof=True,
                         pass_pipeline=pipeline)  # fmt: skip
    assert art.stored.manifest["passes"][-1] == "range{require=true}"
