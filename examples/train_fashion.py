#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Train a small plain-ReLU residual network on Fashion-MNIST and export it to ONNX.

The exported graph takes raw pixels (0..255) as float32 of shape (N, 1, 28, 28).
The scaling to 0..1 used in training is folded into the first convolution, and
batch normalization stays in the graph as separate nodes.

The data file is an npz with x_train (60000, 28, 28) uint8, y_train, x_test, y_test.
Needs: numpy, torch, onnx, onnxruntime.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """Two 3x3 convolutions plus a shortcut (1x1 convolution when the shape changes)."""

    def __init__(self, c_in: int, c_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.short: nn.Module | None = None
        if stride != 1 or c_in != c_out:
            conv = nn.Conv2d(c_in, c_out, 1, stride, bias=False)
            self.short = nn.Sequential(conv, nn.BatchNorm2d(c_out))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.short is None else self.short(x)))


def resnet8() -> nn.Sequential:
    """Stem convolution, three residual blocks (16, 32, 48 channels), linear head."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AvgPool2d(2),
        Block(16, 16),
        Block(16, 32, stride=2),
        Block(32, 48, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(48, 10),
    )


def load(path: Path) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Read x_train, y_train, x_test, y_test; images become (N, 1, 28, 28) uint8."""
    with np.load(path) as d:
        x, xt = (torch.from_numpy(d[k][:, None]) for k in ("x_train", "x_test"))
        y, yt = (torch.from_numpy(d[k].astype("int64")) for k in ("y_train", "y_test"))
    return x, y, xt, yt


def augment(x: Tensor, shift: int = 2) -> Tensor:
    """Mirror half of the images and move each by up to `shift` pixels, zero filled."""
    n, _, h, w = x.shape
    p = F.pad(x, (shift, shift, shift, shift))[:, 0]
    rows = torch.arange(h) + torch.randint(0, 2 * shift + 1, (n, 1))
    cols = torch.arange(w) + torch.randint(0, 2 * shift + 1, (n, 1))
    cols = torch.where(torch.rand(n, 1) < 0.5, cols.flip(1), cols)
    return p[torch.arange(n)[:, None, None], rows[:, :, None], cols[:, None]][:, None]


def train(model: nn.Module, x: Tensor, y: Tensor, epochs: int, lr: float) -> None:
    """SGD with Nesterov momentum, one-cycle learning rate, batches of 128."""
    batch = 128
    steps = len(x) // batch
    opt = torch.optim.SGD(model.parameters(), lr, 0.9, weight_decay=5e-4, nesterov=True)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, lr, total_steps=epochs * steps)
    model.train()
    for epoch in range(epochs):
        start, total = time.time(), 0.0
        for idx in torch.randperm(len(x))[: steps * batch].split(batch):
            loss = F.cross_entropy(model(augment(x[idx]).float() / 255), y[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
            sched.step()
            total += loss.item()
        took = time.time() - start
        print(f"epoch {epoch + 1}: loss {total / steps:.4f}, {took:.0f} s", flush=True)


def export(model: nn.Sequential, path: Path, x: Tensor, y: Tensor) -> None:
    """Fold the 1/255 scaling into the first convolution, write ONNX, check on x, y."""
    raw, parts = copy.deepcopy(model.eval()), x.split(500)
    assert isinstance(raw[0], nn.Conv2d) and raw[0].bias is None
    with torch.no_grad():
        raw[0].weight /= 255
        want = torch.cat([model(b.float() / 255) for b in parts]).numpy()
    options: dict[str, Any] = {
        "input_names": ["image"],
        "output_names": ["logits"],
        "dynamic_axes": {"image": {0: "N"}, "logits": {0: "N"}},
        "training": torch.onnx.TrainingMode.PRESERVE,  # keep BatchNormalization nodes
    }
    inputs = (x[:1].float(),)
    torch.onnx.export(raw, inputs, path, dynamo=False, opset_version=17, **options)
    run = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run
    got = np.concatenate([run(None, {"image": b.float().numpy()})[0] for b in parts])
    hit = got.argmax(1) == y.numpy()
    diff = np.abs(got - want).max(1)
    print(f"onnxruntime: all {hit.mean():.2%}, first 1000 {hit[:1000].mean():.2%}")
    print(f"same class as torch: {(got.argmax(1) == want.argmax(1)).mean():.2%}")
    print(f"logits off by: median {np.median(diff):.1e}, max {diff.max():.1e}")


def main(doc: str | None, build: Callable[[], nn.Sequential], epochs: int) -> None:
    """Command line shared by the training scripts in this folder."""
    ap = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ap.epilog = "example:\n  python %(prog)s --data fashion_mnist.npz --output net.onnx"
    arg = ap.add_argument
    arg("--data", type=Path, required=True, help="npz with the four arrays")
    arg("--output", type=Path, required=True, help="ONNX file to write")
    arg("--epochs", type=int, default=epochs, help="default: %(default)s")
    arg("--lr", type=float, default=0.1, help="peak; default: %(default)s")
    arg("--seed", type=int, default=0, help="default: %(default)s")
    arg("--threads", type=int, default=2, help="default: %(default)s")
    args = ap.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    model, (x, y, x_test, y_test) = build(), load(args.data)
    train(model, x, y, args.epochs, args.lr)
    export(model, args.output, x_test, y_test)


if __name__ == "__main__":
    main(__doc__, resnet8, epochs=24)
