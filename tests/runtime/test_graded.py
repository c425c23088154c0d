"""Graded networks: reference, fast engine and Lava do the same; figures count what was sent."""

from __future__ import annotations

import numpy as np
import pytest

from spikec.backends.lava import unavailable as lava_unavailable
from spikec.backends.lava.simulate import simulate as lava
from spikec.ir import OPS, SPIKE, Graph, Node, Param, RangeError, TensorType, signed, unsigned
from spikec.ir.types import spikes
from spikec.ir.verify import verify
from spikec.runtime import fast
from spikec.runtime.check import Comparison, traced_layers
from spikec.runtime.interpreter import simulate as reference
from spikec.runtime.metrics import (
    activity,
    fan_outs,
    payload_bits,
    spike_counts,
    synaptic_operations,
)

I8, I24 = signed(8), signed(24)
CONV = {"strides": (1, 1), "pads": (1, 1, 1, 1), "dilations": (1, 1), "groups": 1}
POOL = {"kernel": (2, 2), "strides": (2, 2), "pads": (0, 0, 0, 0), "dilations": (1, 1)}


def network(levels: int, seed: int = 0, steps: int = 4) -> Graph:
    """conv, graded, conv + skip, graded relay, max pool, binary, sum pool, dense: all kinds."""
    rng = np.random.default_rng(seed)
    nodes: list[Node] = [Node("x", OPS["input"](), (), TensorType(unsigned(8), (2, 4, 4)))]
    params: dict[str, Param] = {}

    def add(name, op, inputs, shape, dtype=I24, attrs=None, **arrays):
        made = {f"{name}.{r}": Param.of(a, I8 if r == "w" else I24) for r, a in arrays.items()}
        params.update(made)
        roles = {role: f"{name}.{role}" for role in arrays}
        made = OPS[op].of(attrs or {})
        nodes.append(Node(name, made, inputs, TensorType(dtype, shape), roles))

    def weights(*shape):
        return rng.integers(-60, 61, shape)

    def fire(name, source, shape, theta, free=False):
        theta = rng.integers(theta // 2, theta, shape[:1])
        attrs = {"levels": levels, "free": free}
        add(name, "integrate_graded", (source,), shape, spikes(levels), attrs, theta=theta,
            fire=-(-theta * 3 // 4), v0=theta // 3, bias=rng.integers(-40, 41, shape))  # fmt: skip

    full = (6, 4, 4)
    add("c1", "conv", ("x",), full, attrs=CONV, w=weights(6, 2, 3, 3))
    fire("s1", "c1", full, 9000)
    add("c2", "conv", ("s1",), full, attrs=CONV, w=weights(6, 6, 3, 3))
    add("k", "affine", ("s1",), full, w=np.full((), 50))
    add("j", "add", ("c2", "k"), full)
    fire("s2", "j", full, 150, free=True)
    add("m", "max_pool_count", ("s2",), (6, 2, 2), spikes(levels), POOL)
    add("c3", "conv", ("m",), (5, 2, 2), attrs=CONV, w=weights(5, 6, 3, 3))
    add("s3", "integrate", ("c3",), (5, 2, 2), SPIKE, theta=np.full((), 200), v0=np.full((), 90))
    add("c4", "conv", ("s3",), (5, 2, 2), attrs=CONV, w=weights(5, 5, 3, 3))
    add("c5", "conv", ("m",), (5, 2, 2), attrs=CONV, w=weights(5, 6, 3, 3))
    add("j2", "add", ("c4", "c5"), (5, 2, 2))
    fire("s4", "j2", (5, 2, 2), 150)
    add("p", "sum_pool", ("s4",), (5, 1, 1), attrs=POOL)
    add("r", "reshape", ("p",), (5,), attrs={"shape": (5,)})
    add("d", "dense", ("r",), (3,), w=weights(3, 5))
    add("y", "accumulate", ("d",), (3,))
    return verify(Graph("net", "int", steps, tuple(nodes), ("y",), params))


def inputs(samples: int, seed: int = 1) -> dict[str, np.ndarray]:
    x = np.random.default_rng(seed).integers(0, 256, (samples, 2, 4, 4))
    return {"x": x * (x > 60)}


def same(graph, feeds, engine, steps=None) -> None:
    layers = traced_layers(graph)
    left, right = reference(graph, feeds, steps, layers), engine(graph, feeds, steps, layers)
    comparison = Comparison()
    comparison.add(graph, {"reference": left, "other": right}, 0)
    assert comparison.first_difference is None
    for kind in ("events", "units"):
        a, b = getattr(left, kind), getattr(right, kind)
        assert a.keys() == b.keys()
        assert all((a[name] == b[name]).all() for name in a)
    assert all((left.readout[name] == right.readout[name]).all() for name in left.readout)


@pytest.mark.parametrize("levels", [2, 3, 4, 7, 8])
@pytest.mark.parametrize("samples", [5, 70])
def test_the_fast_engine_is_the_reference(levels, samples):
    graph = network(levels, seed=levels)
    found = reference(graph, inputs(samples), trace=["s1", "s2", "m", "s4"])
    sent = set(np.unique(found.traces["s1"].spikes)) | set(np.unique(found.traces["s2"].spikes))
    assert sent <= {s * 2**k for k in range(levels) for s in (-1, 1)} | {0}
    assert len(sent) > levels
    for steps in (1, None, 7):
        same(graph, inputs(samples), fast.simulate, steps)


@pytest.mark.lava
@pytest.mark.skipif(lava_unavailable() is not None, reason=str(lava_unavailable()))
@pytest.mark.parametrize("levels", [4, 8])
def test_lava_is_the_reference(levels):
    same(network(levels, seed=levels), inputs(3), lava)


def test_pooling_gives_the_maximum_of_the_sums():
    graph = network(4)
    found = reference(graph, inputs(6), trace=["s2", "m"])
    sums = found.traces["s2"].spikes.sum(axis=0, dtype=int).reshape(6, 6, 2, 2, 2, 2)
    assert (found.traces["m"].spikes.sum(axis=0, dtype=int) == sums.max(axis=(3, 5))).all()


@pytest.mark.parametrize("engine", [reference, fast.simulate])
def test_a_potential_that_leaves_its_width_is_found(engine):
    graph = network(4)
    values = np.full((6, 4, 4), (1 << 23) - 100)
    huge = {"s2.bias": Param.of(values, I24), "s2.v0": Param.of(values[:, 0, 0], I24)}
    with pytest.raises(RangeError, match="s2"):
        engine(graph.with_params(huge), inputs(4))


def test_only_unit_payloads_are_accumulates():
    graph, feeds = network(4), inputs(9)
    found = reference(graph, feeds, trace=["s1", "s2", "m", "s3", "s4"])
    fans = fan_outs(graph)
    operations = synaptic_operations(graph, activity(graph, found.events, fans, found.units), 4, 9)
    sent = found.traces["s1"].spikes
    unit, all_ = int((abs(sent) == 1).sum()), int((sent != 0).sum())
    assert 0 < unit < all_
    assert operations["k"]["effective_acs"] == pytest.approx(unit / 9)
    assert operations["k"]["effective_macs"] == pytest.approx((all_ - unit) / 9)
    assert operations["c4"]["effective_macs"] == 0
    assert operations["c1"]["effective_acs"] == 0
    blind = synaptic_operations(graph, activity(graph, found.events, fans), 4, 9)
    assert blind["k"]["effective_acs"] == 0


def test_payload_bits_are_sign_and_exponent():
    assert [payload_bits(network(levels)["s1"].operation, 4) for levels in (2, 3, 4, 5, 8)] == [
        2,
        3,
        3,
        4,
        4,
    ]
    graph = network(4)
    assert payload_bits(graph["s3"].operation, 4) == 0
    found = reference(graph, inputs(9))
    counts = spike_counts(graph, activity(graph, found.events, {}), 4, 9)
    assert counts["s1"]["payload_bits"] == pytest.approx(3 * counts["s1"]["spikes"])
    assert counts["s3"]["payload_bits"] == 0
