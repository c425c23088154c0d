# mypy: disable-error-code="import-not-found, import-untyped"
"""Reads `network.nir` into sinabs, so that every spike is that of spikec's reference.

    from sinabs_reader import SpikingNetwork

    logits = SpikingNetwork("network.nir")(images)

By itself sinabs lets a neuron fire several times in a step, keeps potentials above -threshold and
starts them at 0. Here it fires once, has no lower bound, and starts at v0 from the metadata. Sums
are exact below 2^24 (float32). Needs torch, sinabs (3.1.3 was tried) and nir 1.0.8, which sinabs
pins lower: `pip install --no-deps sinabs`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch
from numpy.typing import NDArray
from sinabs.activation import SingleSpike
from sinabs.nir import from_nir

Array = NDArray[Any]


class SpikingNetwork:
    """A network that sinabs simulates.

    Args:
        path: The NIR file.

    Raises:
        ValueError: for what sinabs (with nirtorch 2.6) computes wrongly: branches, padded pools.
    """

    def __init__(self, path: str | Path = "network.nir") -> None:
        self.graph = nir.read(path, type_check=False)
        self.steps = int(self.graph.metadata["spikec.steps"])
        starts, ends = ([edge[side] for edge in self.graph.edges] for side in (0, 1))
        if len({*starts}) < len(starts) or len({*ends}) < len(ends):
            raise ValueError("the network has branches, which nirtorch does not add up")
        for name, node in self.graph.nodes.items():
            if isinstance(node, nir.SumPool2d) and np.any(node.padding):
                raise ValueError(f"{name} is padded, which sinabs ignores")

    def __call__(self, x: Array) -> Array:
        """The outputs (samples, values) that `spikec run` gives, for inputs (samples, *shape)."""
        scale = self._one(nir.Output).metadata["spikec.scale"]
        outputs: Array = self.readout(self.encode(x)) * scale / self.steps
        return outputs

    def encode(self, x: Array) -> Array:
        """Inputs as integer codes."""
        about = self._one(nir.Input).metadata
        offset, scale = (
            _spread(about[f"spikec.{key}"], x.shape[1:]) for key in ("offset", "scale")
        )
        bits = int(about["spikec.type"][1:].partition("[")[0])
        codes: Array = np.clip(np.rint((x - offset) / scale), 0, 2**bits - 1)
        return codes

    def readout(self, codes: Array) -> Array:
        """Integer potentials (samples, values) after the last step."""
        network = from_nir(self.graph, batch_size=len(codes))
        layers = dict(network.named_modules())
        for name, node in self.graph.nodes.items():
            if isinstance(node, nir.IF):
                layer, shape = layers[name], node.v_threshold.shape
                theta, v0 = (
                    np.broadcast_to(_spread(node.metadata[f"spikec.{key}"], shape), shape)
                    for key in ("theta", "v0")
                )
                layer.spike_fn, layer.min_v_mem = SingleSpike, None
                layer.spike_threshold.data = torch.tensor(theta).float()
                layer.v_mem = torch.tensor(np.stack([v0] * len(codes))).float()
        with torch.no_grad():
            currents, _ = network(torch.tensor(np.repeat(codes, self.steps, axis=0)).float())
        steps = currents.double().numpy().reshape(len(codes), self.steps, -1)
        total: Array = steps.sum(axis=1)
        return total

    def _one(self, kind: type) -> Any:
        (node,) = (node for node in self.graph.nodes.values() if isinstance(node, kind))
        return node


def _spread(values: Array, shape: tuple[int, ...]) -> Array:
    """One value, one for each channel or one for each element, for a shape."""
    values = np.asarray(values)
    if values.size == np.prod(shape):
        return values.reshape(shape)
    return values.reshape(-1, *(1,) * (len(shape) - 1))
