"""Writes the qcfs_*.onnx files: the QCFS activation as PyTorch's exporters spell it out.

Run with torch 2.13 and onnxscript 0.7: `python make_qcfs.py FOLDER`. The activation is written
after equation 10 of Bu et al., ICLR 2022, in the ways that one comes across.
"""

import sys
import warnings
from pathlib import Path

import onnx
import torch
from torch import nn

CLASSES, CHANNELS, LEVELS = 5, 4, 4


class GradFloor(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.floor()

    @staticmethod
    def backward(ctx, grad):
        return grad

    @staticmethod
    def symbolic(g, x):
        return g.op("Floor", x)


def straight_through(y):
    return y + (y.floor() - y).detach()


class Qcfs(nn.Module):
    """One spelling of `lambda * clip(floor(x L / lambda + 1/2) / L, 0, 1)`."""

    def __init__(self, spelling, per_channel):
        super().__init__()
        self.spelling = spelling
        shape = (1, CHANNELS, 1, 1) if per_channel else (1,)
        self.up = nn.Parameter(torch.rand(shape) + 0.5)

    def forward(self, x):
        return getattr(self, self.spelling)(x)

    def paper(self, x):
        x = x / self.up
        x = torch.clamp(torch.floor(x * LEVELS + 0.5) / LEVELS, 0, 1)
        return x * self.up

    def function(self, x):
        x = GradFloor.apply(x / self.up * LEVELS + 0.5) / LEVELS
        return torch.clamp(x, 0, 1) * self.up

    def clip_first(self, x):
        x = torch.clamp(x / self.up, 0, 1)
        return straight_through(x * LEVELS + 0.5) / LEVELS * self.up

    def minmax(self, x):
        step = self.up / LEVELS
        x = straight_through(0.5 + x / step)
        x = torch.minimum(torch.maximum(x, torch.tensor(0.0)), torch.tensor(float(LEVELS)))
        return step * x

    def rounding(self, x):
        step = self.up / LEVELS
        y = torch.relu(x / step)
        y = y + (torch.round(y) - y).detach()
        return y.clamp(max=float(LEVELS)) * step


class Net(nn.Module):
    def __init__(self, spelling, per_channel):
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(1, CHANNELS, 3, padding=1)
        self.act = Qcfs(spelling, per_channel)
        self.pool = nn.AvgPool2d(2)
        self.fc = nn.Linear(CHANNELS * 9, CLASSES)

    def forward(self, x):
        return self.fc(torch.flatten(self.pool(self.act(self.conv(x))), 1))


def export(folder, spelling, per_channel, opset, dynamo):
    net = Net(spelling, per_channel).eval()
    how = "dynamo" if dynamo else "legacy"
    name = f"qcfs_{spelling}_{'channel' if per_channel else 'tensor'}_{how}{opset}.onnx"
    path = folder / name
    x = torch.rand(1, 1, 6, 6)
    torch.onnx.export(net, (x,), str(path), opset_version=opset, dynamo=dynamo)
    model = onnx.load(str(path))
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del model.graph.value_info[:]
    del model.metadata_props[:]
    onnx.save(model, str(path))
    Path(f"{path}.data").unlink(missing_ok=True)
    return name


def main():
    warnings.simplefilter("ignore")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for spelling in ("paper", "function", "clip_first", "minmax", "rounding"):
        for per_channel in (False, True):
            for dynamo, opsets in ((False, range(11, 21)), (True, range(18, 21))):
                for opset in opsets:
                    try:
                        print(export(folder, spelling, per_channel, opset, dynamo))
                    except Exception as error:
                        print("failed", spelling, opset, dynamo, str(error)[:200])


if __name__ == "__main__":
    main()
