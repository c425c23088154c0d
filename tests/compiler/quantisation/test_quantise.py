"""The integer network against the float one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikec.compiler.pipeline import Context, Pipeline, parse_pipeline
from spikec.ir import F32, Param, PassError, RangeError, op_of, parse, signed
from spikec.ir.hardware import HardwareSpec
from spikec.runtime.coding import decode, encode
from spikec.runtime.interpreter import simulate

EXACT = """
graph @net <stage=snn, steps={steps}> {{
  param @x.scale : f64[] = 1
  param @x.offset : f64[] = 0
  param @a.w : f32[3,2] = {a}
  param @n.theta : f32[3] = {theta}
  param @n.v0 : f32[3] = {v0}
  param @n.bias : f32[3] = {bias}
  param @n.neg : f32[3] = [0, 0, 0]
  param @b.w : f32[2,3] = {b}
  param @o.bias : f32[2] = {end}
  %x : f32[2] = input() <scale=@x.scale, offset=@x.offset>
  %a : f32[3] = dense(%x) <w=@a.w>
  %n : spike[3] = integrate_signed(%a)
        <theta=@n.theta, v0=@n.v0, bias=@n.bias, theta_neg=@n.neg, free={free}>
  %m : f32[3] = affine(%n) <w=@n.theta>
  %b : f32[2] = dense(%m) <w=@b.w>
  %o : f32[2] = accumulate(%b) <bias=@o.bias>
  return %o
}}
"""


def quantised(graph, pipeline="quantise", **context):
    found, (record,) = Pipeline(parse_pipeline(pipeline)).run(graph, Context(**context))
    return found, record


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.booleans())
def test_weights_on_the_grid_give_the_same_spikes(seed, steps, free):
    """Where every number is a multiple of its scale, float and integer networks are one."""
    rng = np.random.default_rng(seed)
    unit = 2.0 ** rng.integers(-6, 3, 3)
    a = rng.integers(-127, 128, (3, 2))
    a[:, 0] = 127
    theta = 2.0 ** rng.integers(6, 11, 3) * unit
    b = rng.integers(-127, 128, (2, 3))
    b[0, 0] = 127
    unit_b = 2.0 ** rng.integers(-4, 4)
    text = EXACT.format(
        steps=steps, free=str(free).lower(),
        a=(a * unit[:, None]).tolist(), theta=theta.tolist(), v0=(theta / 2).tolist(),
        bias=(rng.integers(-500, 500, 3) * unit).tolist(), b=(b * unit_b / theta).tolist(),
        end=(rng.integers(-99, 99, 2) * unit_b).tolist(),
    )  # fmt: skip
    graph = parse(text)
    integer, _ = quantised(graph, steps=steps)
    assert (integer.array(integer["a"], "w") == a).all()
    assert (integer.array(integer["b"], "w") == b).all()
    x = rng.integers(0, 256, (5, 2))
    left = simulate(graph, {"x": x}, None, ["n", "o"])
    right = simulate(integer, {"x": x}, None, ["n", "o"])
    assert (left.traces["n"].spikes == right.traces["n"].spikes).all()
    assert (left.traces["n"].potentials == right.traces["n"].potentials * unit).all()
    assert (left.readout["o"] == right.readout["o"] * unit_b).all()


@st.composite
def nets(draw):
    """A random residual network with pooling, as an ann graph with values."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kernel = draw(st.sampled_from([1, 3]))
    pads = [kernel // 2] * 4
    groups = draw(st.sampled_from([1, 2]))
    depth = draw(st.integers(1, 3))
    lines, params = [], {}

    def param(name, *shape):
        fan = max(1, int(np.prod(shape[1:])))
        gain = rng.uniform(0.3, 2, (shape[0], *(1,) * (len(shape) - 1)))
        params[name] = (rng.normal(0, 1 / np.sqrt(fan), shape) * gain).astype(np.float32)

    def add(text):
        lines.append(f"  {text}")

    def conv(name, source, out, inputs, groups):
        param(f"{name}.w", out, inputs // groups, kernel, kernel)
        param(f"{name}.b", out)
        add(f"%{name} : f32[{out},6,6] = conv(%{source}) <w=@{name}.w, b=@{name}.b, "
            f"strides=[1, 1], pads={pads}, dilations=[1, 1], groups={groups}>")  # fmt: skip

    add('%x : f32[2,6,6] = input() from "x"')
    conv("c0", "x", 4, 2, 1)
    add("%r0 : f32[4,6,6] = relu(%c0)")
    last = "r0"
    for i in range(1, depth + 1):
        conv(f"c{i}", last, 4, 4, groups)
        source = f"c{i}"
        if draw(st.booleans()):
            add(f"%j{i} : f32[4,6,6] = add(%c{i}, %{last})")
            source = f"j{i}"
        add(f"%r{i} : f32[4,6,6] = relu(%{source})")
        last = f"r{i}"
    pool = draw(st.sampled_from(["sum_pool", "max_pool"]))
    add(f"%p : f32[4,3,3] = {pool}(%{last}) <kernel=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0], "
        "dilations=[1, 1]>")  # fmt: skip
    add("%f : f32[36] = reshape(%p) <shape=[36]>")
    param("d.w", 3, 36)
    param("d.b", 3)
    add("%d : f32[3] = dense(%f) <w=@d.w, b=@d.b>")
    declared = [f"  param @{k} : f32[{','.join(map(str, v.shape))}]" for k, v in params.items()]
    text = "\n".join(["graph @net <stage=ann, steps=0> {", *declared, *lines, "  return %d", "}"])
    graph = parse(text).with_params({k: Param.of(v, F32) for k, v in params.items()})
    x = rng.random((24, 2, 6, 6)).astype(np.float32)
    return graph, x


def run_pair(graph, x, steps, pipeline="fold,relay,observe,qcfs,dni,snm,quantise", spec=None):
    more = {} if spec is None else {"spec": spec}
    context = Context({"x": x}, steps=steps, **more)
    integer, _ = Pipeline(parse_pipeline(pipeline)).run(graph, context)
    floating = context.last["snn"]
    output = integer.outputs[0]
    results = []
    for each in (floating, integer):
        run = simulate(each, encode(each, {"x": x}).feeds)
        results.append(decode(each, output, run.readout[output][-1], steps))
    return floating, integer, *results


@given(nets(), st.sampled_from([1, 4]))
@settings(max_examples=25)
def test_random_networks_stay_close(net, steps):
    graph, x = net
    _, integer, real, coded = run_pair(graph, x, steps)
    assert integer.stage == "int"
    scale = real.std() + 1e-3
    assert np.abs(real - coded).mean() / scale < 0.25
    assert np.corrcoef(real.reshape(-1), coded.reshape(-1))[0, 1] > 0.9


@given(nets())
@settings(max_examples=8)
def test_widths_hold(net):
    """Declared widths are those of the target, and every number is inside them."""
    graph, x = net
    spec = HardwareSpec("narrow", weight_bits=5, state_bits=20, input_bits=4)
    _, integer, *_ = run_pair(graph, x, 4, spec=spec)
    for node in integer:
        if op_of(node).weighted:
            w = integer.params[node.params["w"]]
            assert w.type.dtype == signed(5)
            assert np.abs(w.array).max() <= 15
        if op_of(node).neuron:
            assert integer.params[node.params["theta"]].type.dtype == signed(20)
            assert (integer.array(node, "theta") >= 1).all()
        if node.op == "input":
            assert str(node.type.dtype) == "u4"


def real_weights(graph, name):
    """Weights of a synapse of the float stage with the amplitudes of its input."""
    if name.endswith(".synapse"):
        return graph.array(graph[name.removesuffix(".synapse")], "w")
    synapse = graph[name]
    source = graph[synapse.inputs[0]]
    amplitude = graph.array(source, "w")
    side = np.broadcast_to(amplitude, source.type.shape[:1])
    return op_of(synapse).scale_inputs(graph.array(synapse, "w"), side)


@given(nets())
@settings(max_examples=10)
def test_currents_that_meet_share_a_scale(net):
    graph, x = net
    floating, integer, *_ = run_pair(graph, x, 4, "fold,relay,observe,qcfs,quantise")
    for node in integer:
        if node.op != "add":
            continue
        low, high = 0.0, np.inf
        for name in node.inputs:
            whole = integer.weights(integer[name])
            flat = np.abs(whole).reshape(len(whole), -1)
            real = np.abs(real_weights(floating, name)).reshape(flat.shape)
            exponent = integer.arrays(integer[name]).get("exponent", np.zeros(len(whole), int))
            half = 2.0 ** exponent[:, None] / 2
            # every weight lies within half a step of the one scale that explains them all
            low = np.maximum(low, (real / (flat + half)).max(axis=1))
            high = np.minimum(high, (real / np.maximum(flat - half, 1e-9)).min(axis=1))
        assert (low <= high * (1 + 1e-6)).all()


def test_more_bits_lose_less():
    rng = np.random.default_rng(0)
    text = EXACT.format(
        steps=4, free="false", a=rng.normal(size=(3, 2)).tolist(), theta=[50.0, 60.0, 70.0],
        v0=[25.0, 30.0, 35.0], bias=[1.0, 2.0, 3.0], b=rng.normal(size=(2, 3)).tolist(),
        end=[0.0, 0.0],
    )  # fmt: skip
    errors = []
    for bits in (2, 4, 8):
        _, record = quantised(parse(text), f"quantise{{bits={bits}}}", steps=4)
        errors.append(record.layers["a"]["weight_error"])
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.01


@pytest.mark.parametrize("bits", [1, 9, -3])
def test_bits_that_the_target_does_not_take(bits):
    text = EXACT.format(
        steps=4, free="false", a=[[1, 1]] * 3, theta=[1] * 3, v0=[1] * 3, bias=[0] * 3,
        b=[[1] * 3] * 2, end=[0, 0],
    )  # fmt: skip
    with pytest.raises(PassError, match=f"weights of {bits} bits: the target takes 2 to 8"):
        quantised(parse(text), f"quantise{{bits={bits}}}", steps=4)


def test_a_threshold_far_above_the_weights_still_fits():
    """The scale is raised until no input can overflow, whatever that costs the weights."""
    text = EXACT.format(
        steps=4, free="false", a=[[1e-6, 1e-6]] * 3, theta=[100] * 3, v0=[50] * 3, bias=[0] * 3,
        b=[[1] * 3] * 2, end=[0, 0],
    )  # fmt: skip
    integer, _ = quantised(parse(text), steps=4)
    assert np.abs(integer.array(integer["n"], "theta")).max() < 2**23


@given(st.integers(0, 2**32 - 1), st.integers(1, 16))
@settings(max_examples=60)
def test_no_input_overflows_the_state(seed, steps):
    """The worst-case bounds are enough: no RangeError for any input, on a narrow target."""
    rng = np.random.default_rng(seed)
    text = EXACT.format(
        steps=steps, free="false", a=(rng.normal(size=(3, 2)) * 10 ** rng.uniform(-4, 2)).tolist(),
        theta=(10 ** rng.uniform(-2, 4, 3)).tolist(), v0=rng.normal(size=3).tolist(),
        bias=(rng.normal(size=3) * 10 ** rng.uniform(-2, 3)).tolist(),
        b=rng.normal(size=(2, 3)).tolist(), end=(rng.normal(size=2) * 100).tolist(),
    )  # fmt: skip
    spec = HardwareSpec("narrow", weight_bits=8, state_bits=18, input_bits=8)
    try:
        integer, _ = quantised(parse(text), steps=steps, spec=spec)
    except RangeError:  # found at compile time
        return
    x = rng.choice([0, 255], (16, 2))
    simulate(integer, {"x": x})


def test_offsets_of_the_input_code_become_biases():
    text = EXACT.format(
        steps=4, free="false", a=[[2, 1]] * 3, theta=[64] * 3, v0=[32] * 3, bias=[5] * 3,
        b=[[1] * 3] * 2, end=[0, 0],
    ).replace("@x.offset : f64[] = 0", "@x.offset : f64[] = -10")  # fmt: skip
    integer, _ = quantised(parse(text), steps=4)
    unit = integer.array(integer["n"], "scale")
    bias = integer.array(integer["n"], "bias") * unit
    assert bias == pytest.approx([5 - 30] * 3, abs=float(unit.max()))
