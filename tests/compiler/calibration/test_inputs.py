"""Input codes follow the channels that the first layer sees."""

import numpy as np
import pytest

from spikec.compiler.calibration.inputs import (
    channel_ranges,
    compact,
    input_channels,
)
from spikec.compiler.calibration.observe import Observe
from spikec.compiler.pipeline import Context, Record
from spikec.compiler.rewrites.input_codes import Code, without_input_quantisers
from spikec.ir import parse
from spikec.ir.ops.input import Input

CONV = "<w=@c.w, strides=[1,1], pads=[0,0,0,0], dilations=[1,1], groups=1>"
FLAT = """
graph @flat <stage=ann, steps=0> {
  param @c.w : f32[2,3,1,1]
  %x : f32[12] = input() from "x"
  %r : f32[3,2,2] = reshape(%x) <shape=[3,2,2]>
  %c : f32[2,2,2] = conv(%r) CONV
  return %c
}
""".replace("CONV", CONV)
LAST = """
graph @last <stage=ann, steps=0> {
  param @a.w : f32[1,1,3]
  param @c.w : f32[2,3,1,1]
  %x : f32[2,4,3] = input() from "x"
  %a : f32[2,4,3] = affine(%x) <w=@a.w>
  %t : f32[3,2,4] = transpose(%a) <perm=[2,0,1]>
  %c : f32[2,2,4] = conv(%t) CONV
  return %c
}
""".replace("CONV", CONV)
TABLE = """
graph @table <stage=ann, steps=0> {
  param @d.w : f32[2,3]
  %x : f32[3] = input() from "x"
  %d : f32[2] = dense(%x) <w=@d.w>
  return %d
}
"""
CONTRADICTING = """
graph @two <stage=ann, steps=0> {
  param @c.w : f32[2,3,1,1]
  %x : f32[3,3,3] = input() from "x"
  %t : f32[3,3,3] = transpose(%x) <perm=[1,0,2]>
  %c : f32[2,3,3] = conv(%x) CONV
  %d : f32[2,3,3] = conv(%t) CONV
  return %c, %d
}
""".replace("CONV", CONV)


@pytest.mark.parametrize(
    ("text", "channels"),
    [
        (FLAT, np.repeat(np.arange(3), 4)),
        (LAST, np.broadcast_to(np.arange(3), (2, 4, 3))),
        (TABLE, np.arange(3)),
        (CONTRADICTING, np.zeros((3, 3, 3))),
    ],
    ids=["flat", "last", "table", "contradicting"],
)
def test_channels(text, channels):
    graph = parse(text)
    assert np.array_equal(input_channels(graph, graph["x"]), channels)


def test_ranges_are_shaped_as_params():
    x = np.array([[[0.0, -1.0, 5.0], [2.0, -2.0, 7.0]]])
    low, high = map(compact, channel_ranges(x, np.broadcast_to(np.arange(3), (2, 3))))
    assert low.tolist() == [[0, -2, 5]]
    assert high.tolist() == [[2, -1, 7]]
    low, high = map(compact, channel_ranges(x, np.array([[0, 0, 0], [1, 1, 1]])))
    assert (low.tolist(), high.tolist()) == ([-1, -2], [5, 7])


def test_a_flat_image_has_one_code_per_channel():
    graph = parse(FLAT)
    graph = graph.with_params({"c.w": type(graph.params["c.w"]).of(np.ones((2, 3, 1, 1), "f4"))})
    x = np.random.default_rng(0).normal(size=(20, 12)) * np.repeat([1, 10, 100], 4)
    seen = Observe().run(graph, Context(calib={"x": x}), Record("observe", {}))
    scale = seen.array(seen["x"], "scale").reshape(3, 4)
    assert (scale == scale[:, :1]).all()
    spans = [np.ptp(x[:, 4 * c : 4 * c + 4]) for c in range(3)]
    wider = 1 + 2 * 2 / np.sqrt(20 * 4)  # the margin of few samples
    np.testing.assert_allclose(scale[:, 0], wider * np.array(spans) / 255)


QUANTISED = """
graph @quantised <stage=ann, steps=0> {
  param @q.scale : f32[] = 0.125
  param @d.w : f32[1,4] = [[1.0, 2.0, 3.0, 4.0]]
  %x : f32[2,2] = input() from "x"
  %r : f32[4] = reshape(%x) <shape=[4]>
  %q : f32[4] = quantize(%r) <scale=@q.scale, lo=-20, hi=235, rounding="even">
  %d : f32[1] = dense(%q) <w=@d.w>
  return %d
}
"""


def test_a_quantiser_of_the_input_is_its_code():
    graph, codes = without_input_quantisers(parse(QUANTISED), 8)
    assert codes == {"x": Code(0.125, -2.5, 255)}
    assert [node.op for node in graph.nodes] == ["input", "reshape", "dense"]
    calib = {"x": np.array([[[-9.0, 1.0], [2.0, 50.0]]])}
    context = Context(calib=calib)
    seen = Observe().run(parse(QUANTISED), context, Record("observe", {}))
    assert seen["x"].operation == Input(levels=255)
    assert context.calib["x"].tolist() == [[[-2.5, 1.0], [2.0, 29.375]]]
    assert (seen.array(seen["x"], "scale"), seen.array(seen["x"], "offset")) == (0.125, -2.5)


@pytest.mark.parametrize(
    "changed",
    [
        QUANTISED.replace("hi=235", "hi=107"),
        QUANTISED.replace("return %d", "return %d, %q"),
        QUANTISED.replace("= dense(%q)", "= dense(%r)").replace("return %d", "return %d, %q"),
        QUANTISED.replace("f32[] = 0.125", "f32[4] = [1.0, 2.0, 1.0, 1.0]"),
    ],
    ids=["fewer_levels", "output", "read_elsewhere", "per_channel"],
)
def test_other_quantisers_stay(changed):
    graph = parse(changed)
    assert without_input_quantisers(graph, 8) == (graph, {})
