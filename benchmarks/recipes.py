"""SpikingJelly's own ANN-to-SNN recipes, called as its examples call them."""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx_torch import Unsupported, torch_module

Array = NDArray[Any]
CALIBRATION_BATCH = 128
"""Of its ImageNet example."""
BALANCING_UPDATES = 391
"""Batches that local threshold balancing sees in that example: 50,000 images by 128."""
BATCH = 100

PERCENTILE = "SpikingJelly, 99.9 %"
CHANNELS = "SpikingJelly, 99.9 %, per channel, v0 = θ/2"
BALANCED = "SpikingJelly, LTB"
DELAYED = ", delayed readout"
NAMES = [PERCENTILE, CHANNELS, CHANNELS + DELAYED, BALANCED, BALANCED + DELAYED]


def unavailable() -> str | None:
    """Why SpikingJelly cannot be measured here, or None."""
    for name in ("torch", "spikingjelly"):
        if importlib.util.find_spec(name) is None:
            return f"{name} is not installed"
    from importlib.metadata import version

    found = version("spikingjelly")
    return None if int(found.split(".")[0]) >= 2 else f"SpikingJelly {found} has no recipes"


def measure(
    model: onnx.ModelProto,
    calib: Array,
    x: Array,
    steps: Sequence[int],
    progress: Callable[..., None],
) -> dict[str, dict[int, Array]]:
    """Classes by recipe and number of steps; each recipe converts once and runs once.

    Outputs are summed over steps and the state is reset between batches. `, delayed` ignores the
    outputs of the first steps, as many as `estimate_delay_start` says for each number of steps.

    Raises:
        Unsupported: where the network is no torch module that the recipes can convert.
    """
    os.environ.setdefault("TQDM_DISABLE", "1")
    import torch
    from loguru import logger
    from spikingjelly.activation_based import ann2snn

    logger.disable("spikingjelly")
    ann = torch_module(model, calib[:64])
    if not any(isinstance(layer, torch.nn.ReLU) for layer in ann.modules()):
        raise Unsupported("no ReLU to convert")
    images = torch.from_numpy(calib.astype(np.float32))
    batches = list(images.split(CALIBRATION_BATCH))
    passes = -(-BALANCING_UPDATES // len(batches))
    recipes: dict[str, Callable[[], Any]] = {
        PERCENTILE: lambda: ann2snn.RateCodingRecipe(dataloader=batches, mode="99.9%"),
        CHANNELS: lambda: ann2snn.RateCodingRecipe(
            dataloader=batches,
            mode="99.9%",
            channel_wise=True,
            pre_spike_maxpool=True,
            half_threshold=True,
        ),
        BALANCED: lambda: ann2snn.LocalThresholdBalancingRecipe(dataloader=batches * passes),
    }
    found: dict[str, dict[int, Array]] = {}
    for name, recipe in recipes.items():
        snn = ann2snn.Converter(recipe=recipe()).convert(torch_module(model, calib[:64]))
        starts = {t: 0 for t in steps}
        if name != PERCENTILE:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # few steps: it delays less than it estimates
                starts = {t: ann2snn.estimate_delay_start(snn, batches, "cpu", t) for t in steps}
        sums = _sums(snn, x, max(steps))
        found[name] = {t: sums[t].argmax(axis=1) for t in steps}
        if name != PERCENTILE:
            late = {t: (sums[t] - sums[starts[t]]).argmax(axis=1) for t in steps}
            found[name + DELAYED] = late
        progress(f"{name}, delays {starts}")
    return found


def _sums(snn: Any, x: Array, steps: int) -> Array:
    """Outputs summed over the first t = 0..steps steps: (steps + 1, N, classes)."""
    import torch
    from spikingjelly.activation_based import functional

    snn.eval()
    parts = []
    with torch.no_grad():
        for batch in torch.from_numpy(x.astype(np.float32)).split(BATCH):
            functional.reset_net(snn)
            outputs = torch.stack([snn(batch) for _ in range(steps)])
            zero = torch.zeros_like(outputs[:1])
            parts.append(torch.cat([zero, outputs.double().cumsum(0).float()]).numpy())
    return np.concatenate(parts, axis=1)
