# mypy: disable-error-code="import-not-found"
"""Lava's stock convolution, from weights as ONNX has them.

In a module of its own because importing it takes seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lava_compat
import numpy as np
from lava.proc.conv.process import Conv
from numpy.typing import NDArray

lava_compat.mend_conv()


def conv(
    w: NDArray[Any],
    in_shape: Sequence[int],
    tag: str,
    name: str,
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0),
    dilations: Sequence[int] = (1, 1),
    groups: int = 1,
) -> Conv:
    """A convolution that delivers one step late, exact while its sums fit into 24 bits.

    Lava wants (width, height, channels) and convolves where ONNX correlates: the kernel is
    flipped and transposed, and both ports take a `transpose((2, 1, 0))`.

    Args:
        w: (out channels, in channels / groups, height, width).
        in_shape: (channels, height, width).
        tag: The arithmetic.
        name: Name of the process.
        strides: Along height and width.
        pads: The same on both sides, along height and width.
        dilations: Along height and width.
        groups: Channel groups, fewer than 128: Lava counts them in 8 bits.
    """
    flipped = w[:, :, ::-1, ::-1].transpose(0, 3, 2, 1)
    return Conv(
        weight=flipped.astype(np.int32 if tag == "fixed_pt" else float),
        input_shape=tuple(in_shape[::-1]),
        stride=tuple(strides[::-1]),
        padding=tuple(pads[::-1]),
        dilation=tuple(dilations[::-1]),
        groups=groups,
        num_message_bits=24,
        name=name,
    )
