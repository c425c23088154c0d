import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikec.ir import InvalidData, parse
from spikec.runtime.coding import decode, encode

TEXT = """
graph @g <stage=int, steps=4> {{
  param @x.scale : f64{shape} = {scale}
  param @x.offset : f64{shape} = {offset}
  param @o.scale : f64[2] = [0.5, 2.0]
  %x : u8[2] = input() <scale=@x.scale, offset=@x.offset> from "image"
  %w : i24[2] = reshape(%a) <shape=[2]>
  %o : i24[2] = accumulate(%w) <scale=@o.scale>
  return %o
}}
"""


def graph(scale="0.5", offset="-10.0", shape="[]"):
    text = TEXT.format(scale=scale, offset=offset, shape=shape)
    text = text.replace(
        "  %w", "  param @a.w : i8[] = 1\n  %a : i24[2] = affine(%x) <w=@a.w>\n  %w"
    )
    lines = text.splitlines()
    lines.insert(2, lines.pop(next(i for i, s in enumerate(lines) if "@a.w :" in s)))
    return parse("\n".join(lines))


def test_values_are_rounded_and_clipped_ones_counted():
    x = np.array([[-10.0, -9.8], [117.5, 118.0], [-10.3, 400.0]])
    coded = encode(graph(), {"x": x})
    assert coded.feeds["x"].dtype == np.uint8
    assert coded.feeds["x"].tolist() == [[0, 0], [255, 255], [0, 255]]
    assert (coded.clipped, coded.total) == (3, 6)


def test_scales_per_channel():
    coded = encode(graph("[1.0, 2.0]", "[0.0, 4.0]", "[2]"), {"x": np.array([[3, 10]])})
    assert coded.feeds["x"].tolist() == [[3, 3]]


@given(st.lists(st.integers(0, 255), min_size=2, max_size=2))
def test_coded_integers_read_back(u):
    x = np.array([u]) * 0.5 - 10
    coded = encode(graph(), {"x": x})
    assert coded.feeds["x"].tolist() == [u]
    assert coded.clipped == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(bad):
    with pytest.raises(InvalidData, match="input 'image' holds NaN or infinite values"):
        encode(graph(), {"x": np.array([[0.0, bad]])})


def test_missing_input():
    with pytest.raises(InvalidData, match="no data for input 'image'"):
        encode(graph(), {})


def test_float_graphs_take_real_values(tiny_artifact, tiny_data):
    coded = encode(tiny_artifact.stored.float_graph, {"x": tiny_data.astype(np.float64)})
    assert coded.feeds["x"].dtype == np.float32
    assert (coded.clipped, coded.total) == (0, 0)


def test_decode():
    found = decode(graph(), "o", np.array([[6, -3]]), 3)
    assert found.dtype == np.float64
    assert found.tolist() == [[6 * 0.5 / 3, -3 * 2.0 / 3]]
