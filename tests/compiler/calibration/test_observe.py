"""Statistics, and how inputs are coded."""

import numpy as np
import pytest

from spikec.compiler.pipeline import Context, Pipeline, parse_pipeline
from spikec.ir import InvalidData, PassError, parse

NET = """
graph @net <stage=ann, steps=0> {
  %x : f32[2,3] = input() from "image"
  %r : f32[2,3] = relu(%x) from "relu"
  %y : f32[2,3] = relay(%x)
  %s : f32[2,3] = add(%r, %y)
  return %s
}
"""


def observed(x, bins=512):
    passes = parse_pipeline(f"observe{{bins={bins}}}")
    graph, (record,) = Pipeline(passes).run(parse(NET), Context({"x": x}))
    return graph, record


def test_ranges_and_histograms():
    rng = np.random.default_rng(0)
    x = rng.normal(0, [[1], [3]], (70, 2, 3)).astype(np.float32)  # more than two blocks
    graph, _ = observed(x, 64)
    by_channel = x.transpose(1, 0, 2).reshape(2, -1)
    for name, values in (("r", np.maximum(by_channel, 0)), ("y", by_channel)):
        node = graph[name]
        low, high = graph.array(node, "low"), graph.array(node, "high")
        assert low == pytest.approx(np.minimum(values.min(axis=1), 0))
        assert high == pytest.approx(values.max(axis=1))
        hist = graph.array(node, "hist")
        assert hist.shape == (2, 64)
        assert hist.sum(axis=1).tolist() == [210, 210]
        for c in range(2):
            wanted, _ = np.histogram(values[c], 64, (low[c], high[c]))
            assert np.abs(wanted - hist[c]).sum() <= 4


@pytest.mark.parametrize(
    ("low", "high", "whole", "scale", "offset", "what"),
    [
        (0, 1, False, 1 / 255, 0, "the range 0..1"),
        (0, 200, True, 1, 0, "integers 0..255"),
        (-4, 9, True, 1, -8, "integers -8..247"),
        (-100, 100, True, 1, -128, "integers -128..127"),
        (-200, 20, True, 1, -199, "integers -199..56"),
        (0, 300, True, None, None, "its observed range per channel"),
        (-1, 1, False, None, None, "its observed range per channel"),
    ],
)
def test_inputs_are_coded(low, high, whole, scale, offset, what):
    x = np.random.default_rng(0).uniform(low, high, (20, 2, 3))
    x = np.rint(x) if whole else x
    graph, record = observed(x)
    found = graph.array(graph["x"], "scale"), graph.array(graph["x"], "offset")
    assert record.notes[0] == f"input 'image' is coded in 8 bits over {what}"
    if scale is not None:
        assert (float(found[0]), float(found[1])) == pytest.approx((scale, offset))
    else:
        values = x.transpose(1, 0, 2).reshape(2, -1)
        margin = 0.25 * np.ptp(values, axis=1)  # that of few samples
        least = values.min(axis=1) - margin
        least = np.maximum(least, 0) if low >= 0 else least
        assert np.broadcast_to(found[1], 2) == pytest.approx(least)
        assert found[0] == pytest.approx((values.max(axis=1) + margin - least) / 255)


def test_a_constant_channel_can_be_coded():
    x = np.random.default_rng(0).normal(size=(9, 2, 3))
    x[:, 1] = -5.0
    graph, _ = observed(x)
    assert graph.array(graph["x"], "scale").shape == ()  # that of the other channel
    assert graph.array(graph["x"], "offset")[1] == -5


def test_an_activation_that_overflows_is_named():
    text = NET.replace("  %x", "  param @a.w : f32[] = 1e38\n  %x").replace(
        "  %r : f32[2,3] = relu(%x)",
        "  %a : f32[2,3] = affine(%x) <w=@a.w>\n  %r : f32[2,3] = relu(%a)",
    )
    graph, context = parse(text), Context({"x": np.full((2, 2, 3), 100.0)})
    message = "relu: pass observe: %r becomes NaN or infinite"
    with np.errstate(over="ignore"), pytest.raises(PassError, match=message):
        Pipeline(parse_pipeline("observe")).run(graph, context)


def test_nan_is_refused():
    x = np.zeros((2, 2, 3))
    x[1, 1, 1] = np.nan
    with pytest.raises(InvalidData, match="NaN or infinite"):
        observed(x)
