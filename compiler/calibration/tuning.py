"""The gradients of a block of spiking layers, and steps along them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from spikec.compiler.calibration.cone import mean_over_steps
from spikec.compiler.calibration.partition import Block
from spikec.ir import Node, op_of, spread
from spikec.ir.neuron import Membrane, Neuron, total_weight
from spikec.ir.op import Value, summed_to
from spikec.ir.types import Array
from spikec.runtime import fast

_DECAYS = 0.9, 0.999
"""Of the averages of gradients and of their squares."""
_LEAST_THETA = 0.05
"""Share of its first value that a threshold keeps."""


class Tuning:
    """A block on mean currents, with params that move.

    Weights, thresholds and biases move. Potentials besides theta keep their share of it: what an
    initial potential adds, a bias adds too.

    Attributes:
        values: All params of the block by name, as they are by now.
        scales: For those that move the size that an iteration moves them in proportion to.
    """

    def __init__(
        self,
        block: Block,
        params: Mapping[str, Array],
        weights: set[str],
        bounded: set[str],
        steps: int,
    ) -> None:
        """Start at `params`; of the weights only those named move, thresholds in `bounded` fall."""
        self.block = block
        self.steps = steps
        self.first = params
        self.values = {name: value.astype(np.float32) for name, value in params.items()}
        self.bounded = bounded
        self.scales = {name: float(np.abs(params[name]).mean()) for name in weights}
        for node in block.layers:
            moving = [node.params[role] for role in ("theta", "bias") if role in node.params]
            size = float(np.abs(params[moving[0]]).mean()) if moving else 0.0
            self.scales |= dict.fromkeys(moving, size)

    def run(self, given: Mapping[str, Array]) -> dict[str, Array]:
        """Values of all nodes: of neurons mean spikes, of a readout its mean current.

        Args:
            given: Mean spikes of the sources (batch, *shape).
        """
        values = dict(given)
        for node in self.block.nodes:
            inputs, params = [values[name] for name in node.inputs], self._params(node)
            op = node.operation
            if isinstance(op, Neuron):
                spikes = fast.scan(op, inputs[0][None], params, self.steps, keep=False)[0]
                values[node.name] = mean_over_steps(spikes, op.radix)
            elif isinstance(op, Membrane):
                values[node.name] = inputs[0] + spread(params["bias"], node.type.shape)
            else:
                values[node.name] = op_of(node).run(inputs, params)
        return values

    def gradients(
        self, given: Mapping[str, Array], wanted: Mapping[str, Array]
    ) -> dict[str, Array]:
        """Of the relative squared errors of the block's results, by the name of the param.

        Args:
            given: Mean spikes of the sources (batch, *shape).
            wanted: What the ANN has in place of the block's results (batch, *shape).
        """
        values = self.run(given)
        by_param = {name: np.zeros_like(self.values[name]) for name in self.scales}

        def add(node: Node, role: str, gradient: Value) -> None:
            if (name := node.params[role]) in by_param:
                by_param[name] += gradient

        by_value: dict[str, Value] = {}
        for node in self.block.layers:
            if node.name not in self.block.results:
                continue
            rates, target = values[node.name], wanted[node.name]
            weight = 2 / max(float((target**2).sum()), 1e-30)
            if "theta" not in node.params:
                by_value[node.name] = weight * (rates - target)
                continue
            theta = self.values[node.params["theta"]]
            wide = spread(theta, node.type.shape)
            off = weight * (rates * wide - target)
            by_value[node.name] = off * wide
            add(node, "theta", summed_to(off * rates, theta.shape))
        for node in reversed(self.block.nodes):
            if node.name not in by_value:
                continue
            inputs, gradient = [values[name] for name in node.inputs], by_value.pop(node.name)
            if isinstance(node.operation, Membrane):
                backs, own = self._through(node, gradient, inputs[0])
            else:
                backs, own = op_of(node).backward(gradient, inputs, self._params(node))
            for role, value in own.items():
                add(node, role, value)
            for name, back in zip(node.inputs, backs, strict=True):
                if name not in given:
                    by_value[name] = by_value[name] + back if name in by_value else back
        return by_param

    def _params(self, node: Node) -> dict[str, Array]:
        params = {role: self.values[name] for role, name in node.params.items()}
        if isinstance(node.operation, Membrane):
            params.setdefault("bias", np.zeros((), np.float32))
        return params

    def _through(
        self, node: Node, gradient: Value, current: Value
    ) -> tuple[list[Value], dict[str, Value]]:
        """Gradients before a layer: rates follow `(I + bias + v0 / T) / theta` between bounds."""
        params, op, shape = self._params(node), node.operation, node.type.shape
        back, own = gradient, {}
        if isinstance(op, Neuron):
            theta, weight = spread(params["theta"], shape), total_weight(self.steps, radix=op.radix)
            driven = (current + spread(params["bias"], shape)) / theta
            rate = driven + spread(params["v0"], shape) / (theta * weight)
            low, high = (bound / weight for bound in op.net_bounds(self.steps))
            passes = (rate > low) & (rate < high + 1 / weight)
            back = np.where(passes, gradient / theta, 0).astype(np.float32)
            own["theta"] = summed_to(-back * driven, params["theta"].shape)
        if "bias" in node.params:
            own["bias"] = summed_to(back, params["bias"].shape)
        return [back], own

    def move(self, changes: Mapping[str, Array]) -> None:
        """Add changes to params; thresholds stay positive, and bounded ones do not rise."""
        for name, change in changes.items():
            self.values[name] = self.values[name] + change.astype(np.float32)
        for node in self.block.layers:
            if not isinstance(op := node.operation, Neuron):
                continue
            theta = node.params["theta"]
            first = self.first[theta]
            most = first if node.name in self.bounded else np.float32(np.inf)
            moved = np.clip(self.values[theta], np.float32(_LEAST_THETA) * first, most)
            self.values[theta] = moved.astype(np.float32)
            for role, name in node.params.items():
                if role != "theta" and op.params[role].kind == "potential":
                    share = self.first[name] / first
                    self.values[name] = (moved * share).astype(np.float32)


class Adam:
    """Steps of sizes that do not depend on the gradients' (Kingma and Ba, ICLR 2015).

    The rate falls to 0 along half a cosine.
    """

    def __init__(self, scales: Mapping[str, float], rate: float, iterations: int) -> None:
        self.scales = scales
        self.rate = rate
        self.iterations = iterations
        self.done = 0
        self.averages: dict[str, tuple[Array | float, Array | float]] = {}

    def step(self, gradients: Mapping[str, Array]) -> dict[str, Array]:
        """The change of each param."""
        rate = self.rate * (1 + math.cos(math.pi * self.done / self.iterations)) / 2
        self.done += 1
        first, second = _DECAYS
        changes = {}
        for name, gradient in gradients.items():
            mean, square = self.averages.get(name, (0.0, 0.0))
            mean = first * mean + (1 - first) * gradient
            square = second * square + (1 - second) * gradient**2
            self.averages[name] = mean, square
            size = np.sqrt(square / (1 - second**self.done)) + 1e-12
            step = rate * self.scales[name] / (1 - first**self.done)
            changes[name] = -step * mean / size
        return changes
