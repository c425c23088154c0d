"""One layer as calibration sees it: its neurons, the current that reaches them, and its target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from spikec.compiler.calibration.cone import Currents, StoredCone, joined, mean_over_steps
from spikec.ir import Node, op_of, spread
from spikec.ir.neuron import Membrane, Neuron
from spikec.ir.types import Array
from spikec.runtime import fast


@dataclass(frozen=True, slots=True)
class Neurons:
    """The parameters of one layer's neurons, per channel, per tensor or per neuron.

    Attributes:
        op: What they are; None for a readout, which accumulates and never fires.
        theta: Firing thresholds.
        v0: Initial potentials.
        bias: Current added in every step.
        more: The op's other params, by role; potentials as shares of theta.
    """

    op: Neuron | None
    theta: Array
    v0: Array
    bias: Array
    more: Mapping[str, Array] = field(default_factory=dict)

    def params(self) -> dict[str, Array]:
        """All params, by role."""
        values = {"bias": self.bias}
        if self.op is not None:
            values |= {"theta": self.theta, "v0": self.v0}
            values |= {r: self.theta * a if self.is_share(r) else a for r, a in self.more.items()}
        return values

    def is_share(self, role: str) -> bool:
        """Whether one of the other params is kept as a share of theta."""
        return self.op is not None and self.op.params[role].kind == "potential"

    def turned_into(self, op: Neuron) -> Neurons:
        """Neurons of another kind with the same threshold, start and bias."""
        shares = {role: np.full_like(self.theta, share) for role, share in op.shares().items()}
        return replace(self, op=op, more=shares)


@dataclass(frozen=True, slots=True)
class Synapse:
    """A synapse whose current reaches the layer directly or through a join.

    Attributes:
        node: The synapse node.
        rates: Its input averaged over the steps (samples, *input shape).
        weights: Its weights.
        unit: Its input (*input shape) when everything that it comes from sends one unit.
    """

    node: Node
    rates: Array
    weights: Array
    unit: Array


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer on the calibration data, and the parameters found for it so far.

    Attributes:
        node: The neuron or readout node.
        neurons: Its parameters.
        current: Its input without bias, from real spikes.
        before: The ANN's activation input (samples, *shape).
        target: The ANN's activation (samples, *shape).
        steps: T.
        bounded: Whether thresholds must not rise: what the ANN clips must stay clipped.
        rng: For every random choice.
        synapses: Synapses whose weights may be changed.
        skips: Weights (channels,) of one-to-one synapses that reach it besides.
        cone: How the current comes about.
        exact: Whether it computes the quantiser that it was trained with, as it is.
        payload_bits: Of its payloads, where a budget gave it some of its own; else 0.
        following: What the methods that come after the one that acts make of a layer.
    """

    node: Node
    neurons: Neurons
    current: Currents
    before: Array
    target: Array
    steps: int
    bounded: bool
    rng: np.random.Generator
    synapses: tuple[Synapse, ...] = ()
    skips: tuple[Array, ...] = ()
    cone: StoredCone | None = None
    exact: bool = False
    payload_bits: int = 0
    following: Callable[[Layer], Layer] = lambda layer: layer

    @property
    def spiking(self) -> bool:
        """Whether the layer fires; a readout does not."""
        return self.neurons.op is not None

    def spikes(self) -> Array:
        """The spikes that the layer emits (steps, samples, *shape)."""
        op, params = self.neurons.op, self.neurons.params()
        assert op is not None
        spikes = (
            (samples, fast.scan(op, block, params, self.steps, keep=False)[0])
            for samples, block in self.current.blocks()
        )
        return joined(spikes, len(self.target))

    def rate(self) -> Array:
        """What the layer tells the next one, on average over the steps (samples, *shape)."""
        if not self.spiking:
            return self.mean_current()
        mean = mean_over_steps(self.spikes(), op_of(self.node, Membrane).radix)
        return mean * spread(self.neurons.theta, self.node.type.shape)

    def mean_current(self) -> Array:
        """The input current with bias, averaged over the steps (samples, *shape)."""
        return self.current.mean() + spread(self.neurons.bias, self.node.type.shape)

    def error(self) -> float:
        """Relative squared error of the rates: `sum((rate - target)^2) / sum(target^2)`."""
        off = self.rate() - self.target
        return float((off**2).sum() / max(float((self.target**2).sum()), 1e-30))

    def with_neurons(self, **changes: Any) -> Layer:
        """The layer with other neuron parameters."""
        return replace(self, neurons=replace(self.neurons, **changes))

    def with_weights(self, index: int, weights: Array) -> Layer:
        """The layer with other weights of one synapse, and the current that they give."""
        assert self.cone is not None
        # The order in memory decides in which order sums are taken; a checkpoint keeps one alone.
        weights = np.ascontiguousarray(weights)
        synapses = list(self.synapses)
        synapses[index] = replace(synapses[index], weights=weights)
        cone = self.cone.with_weights(synapses[index].node.name, weights)
        return replace(self, cone=cone, current=cone.held(), synapses=tuple(synapses))

    def part(self, samples: slice) -> Layer:
        """The layer on some of the samples, its weights fixed."""
        return replace(
            self,
            current=self.current.part(samples),
            before=self.before[samples],
            target=self.target[samples],
            synapses=(),
            cone=None,
        )
