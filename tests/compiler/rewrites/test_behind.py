"""Activations behind moves that lead to a max pooling."""

import pytest

from spikec.compiler.rewrites.behind import behind_moves
from spikec.ir import parse, verify

TEXT = """
graph @moved <stage=ann, steps=0> {
  param @q.lambda : f32%s = %s
  %%x : f32[4,4] = input()
  %%q : f32[4,4] = qcfs(%%x) <lambda=@q.lambda, levels=4>
  %%r : f32[1,4,4] = reshape(%%q) <shape=[1,4,4]>
  %%p : f32[1,2,2] = max_pool(%%r) <kernel=[2,2], strides=[2,2], pads=[0,0,0,0], dilations=[1,1]>
  return %%p
}
"""


@pytest.mark.parametrize(
    ("shape", "values", "ops"),
    [
        ("[]", "1.0", ["input", "reshape", "qcfs", "max_pool"]),
        ("[4]", "[1.0, 1.0, 1.0, 1.0]", ["input", "qcfs", "reshape", "max_pool"]),
        ("[4]", "[1.0, 2.0, 1.0, 1.0]", ["input", "qcfs", "reshape", "max_pool"]),
    ],
)
def test_params_of_channels_stay_with_their_channels(shape, values, ops):
    moved = verify(behind_moves(parse(TEXT % (shape, values)), ["r"]))
    assert [node.op for node in moved] == ops
