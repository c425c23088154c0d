#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Train a small VGG-like QCFS network on Fashion-MNIST and export it to ONNX.

QCFS is the quantization clip-floor-shift activation of Bu et al., "Optimal ANN-SNN
Conversion for High-accuracy and Ultra-low-latency Spiking Neural Networks" (ICLR 2022):

    h(x) = lambda * clip(floor(x * L / lambda + 1/2) / L, 0, 1)

with one trained threshold lambda per layer and L steps (here 4). In the exported graph
it is the chain Mul, Div, Add, Floor, Div, Clip, Mul. The graph takes raw pixels
(0..255) as float32 of shape (N, 1, 28, 28).

Needs: numpy, torch, onnx, onnxruntime, and train_fashion.py next to this file.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from train_fashion import main


class QCFS(nn.Module):
    """The activation above; the gradient passes floor unchanged (straight through)."""

    def __init__(self, levels: int = 4, start: float = 4.0) -> None:
        super().__init__()
        self.levels = float(levels)
        self.lam = nn.Parameter(torch.tensor(start))

    def forward(self, x: Tensor) -> Tensor:
        z = x * self.levels / self.lam + 0.5
        # in training: the value of floor(z) with the gradient of z
        z = z + (z.floor() - z).detach() if self.training else z.floor()
        return self.lam * torch.clamp(z / self.levels, 0.0, 1.0)


def layer(c_in: int, c_out: int) -> list[nn.Module]:
    """3x3 convolution, batch normalization, QCFS."""
    conv = nn.Conv2d(c_in, c_out, 3, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(c_out), QCFS()]


def qcfs_vgg() -> nn.Sequential:
    """Five convolutions, three average poolings (28, 14, 7, 3 pixels), linear head."""
    return nn.Sequential(
        *layer(1, 16), *layer(16, 16), nn.AvgPool2d(2),
        *layer(16, 32), *layer(32, 48), nn.AvgPool2d(2),
        *layer(48, 64), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(64 * 9, 10),
    )  # fmt: skip


if __name__ == "__main__":
    main(__doc__, qcfs_vgg, epochs=14)
