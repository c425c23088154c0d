"""Convolutions in onnxruntime are those of the graph's op."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spikec.compiler.onnx.convolution import fast_convolutions
from spikec.ir.windows import Window, convolve


@given(
    st.integers(1, 3), st.sampled_from([(1, 4, 4), (2, 4, 6), (4, 4, 8)]), st.integers(1, 3),
    st.integers(1, 2), st.integers(0, 2), st.integers(1, 2), st.integers(0, 99),
)  # fmt: skip
def test_convolutions_are_the_same(rank, channels, kernel, stride, pad, dilation, seed):
    groups, before, after = channels
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3, before, *(6, 5, 7)[:rank])).astype(np.float32)
    w = rng.normal(size=(after, before // groups, *(kernel,) * rank)).astype(np.float32)
    pads = tuple(rng.integers(0, pad + 1, 2 * rank).tolist())
    window = Window((kernel,) * rank, (stride,) * rank, pads, (dilation,) * rank)
    with fast_convolutions():
        found = convolve(x, w, window, groups)
        exact = convolve(x.astype(np.float64), w.astype(np.float64), window, groups)
        whole = convolve(np.rint(9 * x).astype(np.int16), np.rint(9 * w).astype(np.int8),
                         window, groups)  # fmt: skip
    assert found.dtype == np.float32
    assert np.allclose(found, convolve(x, w, window, groups), atol=1e-4)
    assert np.allclose(found, exact, atol=1e-4)
    assert whole.dtype == np.int64
