"""Synapses and pooling against naive loops over Python numbers."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikec.ir import F32, OPS, InvalidGraph, TensorType
from spikec.ir.windows import Window, exact_matmul

INTS = np.int64


def reads(window: Window, spatial: tuple[int, ...]):
    """(output position, tap index, input position or None in the padding) of every read."""
    rank = len(window.kernel)
    for out in np.ndindex(*window.output(spatial)):
        for index, tap in enumerate(np.ndindex(*window.kernel)):
            at = tuple(
                out[i] * window.strides[i] + tap[i] * window.dilations[i] - window.pads[i]
                for i in range(rank)
            )
            inside = all(0 <= p < size for p, size in zip(at, spatial, strict=True))
            yield out, index, at if inside else None


def naive_conv(x, w, b, window: Window, groups: int) -> np.ndarray:
    """Python integers of any size (or exact fractions of floats)."""
    batch, _, *spatial = x.shape
    outs, per_group = w.shape[0] // groups, w.shape[1]
    y = np.zeros((batch, w.shape[0], *window.output(spatial)), object)
    flat = w.reshape(*w.shape[:2], -1)
    for n, o in itertools.product(range(batch), range(w.shape[0])):
        first = (o // outs) * per_group
        y[n, o] = int(b[o]) if b is not None else 0
        for out, tap, at in reads(window, tuple(spatial)):
            if at is not None:
                for c in range(per_group):
                    y[(n, o, *out)] += int(flat[o, c, tap]) * int(x[(n, first + c, *at)])
    return y


@st.composite
def windows(draw, rank: int | None = None) -> tuple[Window, tuple[int, ...]]:
    rank = rank or draw(st.integers(1, 3))
    most = 3 if rank < 3 else 2

    def sizes(low, high, count=rank):
        return tuple(draw(st.integers(low, high)) for _ in range(count))

    window = Window(sizes(1, most), sizes(1, 3), sizes(0, 2, 2 * rank), sizes(1, 2))
    need = [
        max(1, d * (k - 1) + 1 - window.pads[i] - window.pads[i + rank])
        for i, (k, d) in enumerate(zip(window.kernel, window.dilations, strict=True))
    ]
    spatial = tuple(n + draw(st.integers(0, 3 if rank < 3 else 1)) for n in need)
    return window, spatial


def attrs_of(window: Window, **more):
    return {
        "strides": window.strides,
        "pads": window.pads,
        "dilations": window.dilations,
        **more,
    }


@st.composite
def convolutions(draw):
    window, spatial = draw(windows())
    groups = draw(st.integers(1, 3))
    per_group, outs = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    top = draw(st.sampled_from([1, 127, 2**23 - 1, 2**28]))
    x = rng.integers(-top, top + 1, (2, groups * per_group, *spatial))
    w = rng.integers(-top, top + 1, (groups * outs, per_group, *window.kernel))
    w[rng.random(w.shape) < 0.3] = 0
    b = rng.integers(-top, top + 1, groups * outs) if draw(st.booleans()) else None
    return x, w, b, window, groups


@given(convolutions())
def test_conv_is_exact_in_integers(case):
    x, w, b, window, groups = case
    params = {"w": w} | ({} if b is None else {"b": b})
    attrs = attrs_of(window, groups=groups)
    types = {role: TensorType(F32, array.shape) for role, array in params.items()}
    y = OPS["conv"].of(attrs).run([x], params)
    expected = naive_conv(x, w, b, window, groups)
    assert y.dtype == INTS
    assert OPS["conv"].of(attrs).infer([TensorType(F32, x.shape[1:])], types) == y.shape[1:]
    assert (y == expected).all()


@given(convolutions())
@settings(max_examples=25)
def test_conv_in_float(case):
    x, w, _, window, groups = case
    x, w = x % 17 - 8, w % 17 - 8
    attrs = attrs_of(window, groups=groups)
    y = OPS["conv"].of(attrs).run([x.astype("f4")], {"w": w.astype("f4")})
    assert y.dtype == np.float32
    assert (y == naive_conv(x, w, None, window, groups)).all()


def test_conv_of_a_batch_that_is_split_into_blocks(monkeypatch):
    from spikec.ir import windows as module

    rng = np.random.default_rng(0)
    x, w = rng.integers(-9, 9, (7, 2, 6, 6)), rng.integers(-9, 9, (3, 2, 3, 3))
    attrs = {"strides": (1, 1), "pads": (1,) * 4, "dilations": (1, 1), "groups": 1}
    whole = OPS["conv"].of(attrs).run([x], {"w": w})
    monkeypatch.setattr(module, "_BLOCK", 1500)
    assert (OPS["conv"].of(attrs).run([x], {"w": w}) == whole).all()


@given(windows(), st.integers(0, 2**32 - 1))
def test_scatter_counts_every_read(case, seed):
    window, spatial = case
    channels, taps = 2, int(np.prod(window.kernel))
    per_tap = np.random.default_rng(seed).integers(0, 5, (channels, taps))
    expected = np.zeros((channels, *spatial), int)
    for _, tap, at in reads(window, spatial):
        if at is not None:
            expected[(slice(None), *at)] += per_tap[:, tap]
    assert (window.scatter((channels, *spatial), per_tap) == expected).all()


@given(convolutions())
@settings(max_examples=30)
def test_conv_fan_out(case):
    x, w, _, window, groups = case
    per_group, outs = w.shape[1], w.shape[0] // groups
    expected = np.zeros(x.shape[1:], int)
    flat = w.reshape(*w.shape[:2], -1)
    for _, tap, at in reads(window, x.shape[2:]):
        if at is not None:
            for o, c in np.ndindex(*flat.shape[:2]):
                channel = (o // outs) * per_group + c
                expected[(channel, *at)] += flat[o, c, tap] != 0
    found = OPS["conv"].of(attrs_of(window, groups=groups)).fan_out(x.shape[1:], w)
    assert (found == expected).all()


def test_dense_and_affine_fan_out():
    w = np.array([[1, 0, 2], [0, 0, 3]])
    assert OPS["dense"]().fan_out((3,), w).tolist() == [1, 0, 2]
    assert OPS["affine"]().fan_out((2, 2), np.array([0, 5])).tolist() == [[0, 0], [1, 1]]
    assert OPS["affine"]().fan_out((2,), np.array(1)).tolist() == [1, 1]


def pooled(x, window: Window, reduce) -> np.ndarray:
    y = np.zeros((*x.shape[:2], *window.output(x.shape[2:])), object)
    seen: dict[tuple, list] = {}
    for out, _, at in reads(window, x.shape[2:]):
        seen.setdefault(out, [])
        if at is not None:
            seen[out].append(at)
    for out, places in seen.items():
        for n, c in np.ndindex(*x.shape[:2]):
            y[(n, c, *out)] = reduce([x[(n, c, *at)] for at in places])
    return y


def reads_something(window: Window, spatial) -> bool:
    """Whether no window lies wholly in the padding, which no pooling defines."""
    found = {}
    for out, _, at in reads(window, spatial):
        found[out] = found.get(out, False) or at is not None
    return all(found.values())


@given(windows(), st.integers(0, 2**32 - 1))
def test_sum_pool(case, seed):
    window, spatial = case
    x = np.random.default_rng(seed).integers(-(2**30), 2**30, (2, 2, *spatial), dtype=np.int32)
    attrs = attrs_of(window, kernel=window.kernel)
    y = OPS["sum_pool"].of(attrs).run([x], {})
    assert (y == pooled(x.astype(object), window, sum)).all()


@pytest.mark.parametrize("kind", ["f4", "i4"])
def test_global_sum_pool(kind):
    x = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).astype(kind)
    window = Window((4, 5), (1, 1), (0,) * 4, (1, 1))
    y = OPS["sum_pool"].of(attrs_of(window, kernel=(4, 5))).run([x], {})
    assert (y == pooled(x.astype(object), window, sum)).all()


@given(windows(), st.integers(0, 2**32 - 1))
def test_max_pool(case, seed):
    window, spatial = case
    if not reads_something(window, spatial):
        return
    x = np.random.default_rng(seed).normal(-3, 1, (2, 2, *spatial)).astype("f4")
    y = OPS["max_pool"].of(attrs_of(window, kernel=window.kernel)).run([x], {})
    assert (y == pooled(x, window, max).astype("f4")).all()


@given(windows(), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_max_pool_count(case, seed):
    window, spatial = case
    if not reads_something(window, spatial):
        return
    steps = 6
    trains = np.random.default_rng(seed).integers(-1, 2, (steps, 2, 2, *spatial))
    attrs = attrs_of(window, kernel=window.kernel)
    spikes, potentials = OPS["max_pool_count"].of(attrs).scan([trains], {}, steps)
    counts = trains.cumsum(axis=0)
    best = np.array([pooled(c, window, max) for c in counts]).astype(int)
    assert (potentials == best).all()
    assert (spikes.cumsum(axis=0) == best).all()
    assert np.abs(spikes).max() <= 1


def test_max_pool_count_of_non_negative_counts_commutes_with_the_count():
    rng = np.random.default_rng(3)
    trains = rng.integers(0, 2, (8, 3, 1, 4, 4))
    window = Window((2, 2), (2, 2), (0,) * 4, (1, 1))
    spikes, _ = OPS["max_pool_count"].of(attrs_of(window, kernel=(2, 2))).scan([trains], {}, 8)
    assert (spikes.sum(axis=0) == pooled(trains.sum(axis=0), window, max)).all()


WIDE = st.integers(-(2**27), 2**27)


@given(st.lists(st.lists(WIDE, min_size=3, max_size=3), min_size=1, max_size=4),
       st.lists(st.lists(WIDE, min_size=3, max_size=3), min_size=1, max_size=4),
       st.booleans())  # fmt: skip
def test_dense_is_exact_in_integers(x, w, biased):
    b = [7 * i - 3 for i in range(len(w))]
    params = {"w": np.array(w)} | ({"b": np.array(b)} if biased else {})
    y = OPS["dense"]().run([np.array(x)], params)
    expected = [
        [sum(p * q for p, q in zip(row, weights, strict=True)) + (b[o] if biased else 0)
         for o, weights in enumerate(w)]
        for row in x
    ]  # fmt: skip
    assert y.tolist() == expected


@pytest.mark.parametrize("top", [2**20, 2**26, 2**27, 2**30])
def test_products_around_2_to_53_are_exact(top):
    a = np.array([[top, top, 1]])
    b = np.array([[top], [top], [1]])
    assert exact_matmul(a, b).tolist() == [[2 * top * top + 1]]


def test_affine():
    x = np.arange(12).reshape(1, 3, 2, 2)
    run = OPS["affine"]().run
    assert (run([x], {"w": np.array(3)}) == 3 * x).all()
    w, b = np.array([1, 2, 3], np.int8), np.array([10, 20, 30])
    expected = x * np.array([1, 2, 3])[:, None, None] + np.array([10, 20, 30])[:, None, None]
    assert (run([x], {"w": w, "b": b}) == expected).all()
    full = np.arange(12).reshape(3, 2, 2)
    assert (run([x], {"w": full}) == x * full).all()
    wide = run([np.array([[100]], np.int8)], {"w": np.array(100, np.int8)})
    assert wide.tolist() == [[10_000]]


@pytest.mark.parametrize("op", ["conv", "conv_transpose", "dense", "affine"])
def test_every_synapse_can_be_scaled_and_counted(op):
    """What quantisation and the metrics ask of a synapse."""
    rng = np.random.default_rng(0)
    shape = {"dense": (4,)}.get(op, (4, 3, 3))
    wshape = {"conv": (6, 2, 2, 2), "conv_transpose": (4, 3, 2, 2), "dense": (6, 4), "affine": (4,)}
    attrs = {
        "conv": {"strides": (1, 1), "pads": (0,) * 4, "dilations": (1, 1), "groups": 2},
        "conv_transpose": {"strides": (2, 1), "pads": (0,) * 4, "dilations": (1, 1), "groups": 2,
                           "extra": (0, 0)},
    }.get(op, {})  # fmt: skip
    kind, w = OPS[op].of(attrs), rng.integers(-2, 3, wshape[op]).astype(float)
    x = rng.normal(size=(1, *shape))
    y = kind.run([x], {"w": w})
    factor = rng.uniform(1, 2, shape[0])
    side = factor.reshape(-1, *(1,) * (len(shape) - 1))
    scaled = kind.run([x], {"w": kind.scale_inputs(w, factor)})
    assert np.allclose(scaled, kind.run([x * side], {"w": w}))
    gain = rng.uniform(1, 2, y.shape[1])
    scaled = kind.run([x], {"w": kind.scale_outputs(w, gain)})
    assert np.allclose(scaled, y * gain.reshape(-1, *(1,) * (y.ndim - 2)))
    rows = kind.by_output(w)
    assert rows.shape[0] == y.shape[1]
    assert rows.size == w.size
    assert np.allclose(kind.by_output(kind.scale_outputs(w, gain)), rows * gain[:, None])
    fan = kind.fan_out(shape, w)
    for place in np.ndindex(*shape):
        one = np.zeros((1, *shape))
        one[(0, *place)] = 1
        reached = kind.run([one], {"w": (w != 0).astype(float)})
        assert fan[place] == reached.sum()
    assert fan.shape == shape


def test_conv_transpose_fan_out_leaves_out_what_is_cropped():
    w = np.random.default_rng(0).integers(-1, 2, (2, 3, 3, 2))
    attrs = {"strides": (2, 1), "pads": (1, 0, 2, 1), "dilations": (1, 2), "groups": 1,
             "extra": (1, 0)}  # fmt: skip
    fan = OPS["conv_transpose"].of(attrs).fan_out((2, 4, 5), w)
    for place in np.ndindex(2, 4, 5):
        one = np.zeros((1, 2, 4, 5))
        one[(0, *place)] = 1
        reached = OPS["conv_transpose"].of(attrs).run([one], {"w": (w != 0).astype(float)})
        assert fan[place] == reached.sum()


def test_conv_transpose_is_the_transpose_of_conv():
    rng = np.random.default_rng(0)
    w = rng.integers(-5, 6, (4, 3, 3, 2))
    for strides, pads, dilations in [((1, 1), (0,) * 4, (1, 1)), ((2, 3), (1, 0, 0, 1), (1, 2))]:
        attrs = {"strides": strides, "pads": pads, "dilations": dilations, "groups": 1}
        x = rng.integers(-9, 9, (1, 3, 8, 9))
        y = OPS["conv"].of(attrs).run([x], {"w": w})
        g = rng.integers(-9, 9, y.shape)
        window = Window((3, 2), strides, pads, dilations)
        spatial = [
            (o - 1) * s + d * (k - 1) + 1 - pads[i] - pads[i + 2]
            for i, (o, s, k, d) in enumerate(
                zip(window.output((8, 9)), strides, (3, 2), dilations, strict=True)
            )
        ]
        extra = tuple(a - b for a, b in zip((8, 9), spatial, strict=True))
        back = OPS["conv_transpose"].of({**attrs, "extra": extra}).run([g], {"w": w})
        assert back.shape == x.shape
        assert (y * g).sum() == (x * back).sum()


@pytest.mark.parametrize(
    ("kernel", "attrs", "message"),
    [
        ((2,), {"strides": (1, 1), "pads": (0, 0), "dilations": (1,)}, "rank 1"),
        ((2,), {"strides": (0,), "pads": (0, 0), "dilations": (1,)}, "positive"),
        ((2,), {"strides": (1,), "pads": (0, -1), "dilations": (1,)}, "negative"),
    ],
)
def test_bad_windows(kernel, attrs, message):
    with pytest.raises(InvalidGraph, match=message):
        Window(kernel, **attrs)
