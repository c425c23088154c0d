"""Payload bits where they pay: layers share a budget by how much their rounding matters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from spikec.compiler.calibration.graded import graded_neuron
from spikec.compiler.calibration.payload import integer_neuron
from spikec.compiler.calibration.thresholds import best_thresholds, bin_centres, qcfs
from spikec.compiler.pipeline import Context, Pass, Record, within
from spikec.ir import Graph, Node, PassError, op_of, spread
from spikec.ir.activation import Activation
from spikec.ir.neuron import Neuron
from spikec.ir.types import Array
from spikec.runtime.interpreter import evaluate
from spikec.runtime.metrics import payload_bits

_PROBED = 15
"""Levels at which a layer is rounded to see what it costs; noise grows as its square does."""
_BYTES = 1 << 28
"""Room for the values of the samples that this is seen on."""
_ROOM = 0.97
"""Share of the budget that is planned with: spikes are counted on the ANN, and come a little
differently."""


class _Choice(NamedTuple):
    """Bits that a layer may get.

    Attributes:
        bits: As the pass that makes the payloads takes them.
        event: Bits of a spike, its sign included.
        noise: Squared error of the activation, in all.
        spikes: That are sent for one sample in one step.
    """

    bits: int
    event: int
    noise: float
    spikes: float


@dataclass(frozen=True)
class Budget(Pass):
    """Choose the payload bits of each layer, so that spikes carry so many on average.

    A layer is rounded alone, all others exact, and the outputs show how much its noise matters; the
    noise of other widths follows from the activation's histogram. Widths are then chosen together:
    `min sum of noise x sensitivity` under `sum of spikes x (bits - budget) <= 0`, by a multiplier.

    Options: bits, the mean over the spikes sent, sign included; payload=integer|power2; window
    where neurons gather all input before they send; samples on which outputs are compared.
    """

    bits: float = 3.0
    payload: Literal["integer", "power2"] = "integer"
    window: bool = False
    samples: int = 32

    def check(self) -> None:
        within("bits", self.bits, 1, 9)
        within("samples", self.samples, 1)

    def run(self, graph: Graph, context: Context, record: Record) -> Graph:
        layers = [node for node in graph.nodes if isinstance(node.operation, Activation)]
        for node in layers:
            if "hist" not in node.params:
                raise PassError(
                    f"%{node.name} has no statistics", loc=node.loc, hint="run observe before it"
                )
        choices = [self._choices(graph, node, context.steps) for node in layers]
        costs = _costs(graph, layers, context, self.samples)
        taken = _cheapest(choices, costs, self.bits * _ROOM)
        if _mean(taken) > self.bits:
            least = _mean([min(own, key=lambda c: c.event) for own in choices])
            raise PassError(
                f"a budget of {self.bits:g} bits is below what spikes need: {least:.2g}",
                hint=f"a budget of at least {least:.2g} bits",
            )
        context.payload_bits = {n.name: c.bits for n, c in zip(layers, taken, strict=True)}
        if self.payload == "integer":  # powers of two start at the thresholds of unit spikes
            bits = context.payload_bits.items()
            context.own_levels = {name: context.steps * ((1 << b) - 1) for name, b in bits}
        for node, choice, cost in zip(layers, taken, costs, strict=True):
            record.layer(node.name, payload_bits=choice.bits, sensitivity=cost)
        record.note(f"payloads of {_mean(taken):.2f} bits on average, sign included, as planned")
        size = sum(graph[name].type.size for name in graph.outputs)
        errors = [f"{b} bits {e / size:.2g}" for b, e in _frontier(choices, costs).items()]
        record.note(
            "relative squared error of the outputs that rounding alone is expected to make, by "
            f"budget: {', '.join(errors)}"
        )
        return graph

    def _choices(self, graph: Graph, node: Node, steps: int) -> list[_Choice]:
        signed = op_of(node, Activation).signed
        low, high, hist = (graph.array(node, role) for role in ("low", "high", "hist"))
        share = node.type.size / max(float(hist.sum()), 1.0)
        choices = []
        for bits in range(1, 4) if self.payload == "power2" else range(1 + signed, 9):
            finest = 1 << ((1 << bits) - 1) if self.payload == "power2" else (1 << bits) - 1
            sends = self._neuron(signed, bits)
            levels = steps * (finest / 2 if signed and self.payload == "integer" else finest)
            theta = best_thresholds(low, high, hist, max(1, round(levels)), shared=False)
            centres = bin_centres(low, high, hist)
            rounded = qcfs(centres, theta[:, None], max(1, round(levels)), -1.0 if signed else 0.0)
            noise = (hist * (rounded - centres) ** 2).sum() * share
            units = np.abs(centres) / theta[:, None] * levels
            if self.window and self.payload == "integer":  # the largest payloads come first
                sent = np.minimum(np.ceil(np.rint(units) * steps / levels), steps) / steps
            else:
                sent = np.minimum(units / steps, 1.0)
            spikes = (hist * sent).sum() * share
            choices.append(_Choice(bits, payload_bits(sends, steps), float(noise), float(spikes)))
        return choices

    def _neuron(self, free: bool, bits: int) -> Neuron:
        """What a layer of so many bits becomes."""
        if self.payload == "power2":
            return graded_neuron(free, self.window, 1 << bits)
        return integer_neuron(free, self.window, bits)


def _mean(choices: Sequence[_Choice]) -> float:
    """Bits that a spike carries on average."""
    spikes = sum(choice.spikes for choice in choices)
    return sum(choice.spikes * choice.event for choice in choices) / max(spikes, 1e-30)


def _cheapest(
    choices: Sequence[Sequence[_Choice]], costs: Sequence[float], budget: float
) -> list[_Choice]:
    """The choices of least cost whose spikes carry `budget` bits on average, or come nearest."""

    def at(price: float) -> list[_Choice]:
        return [
            min(own, key=lambda c: cost * c.noise + price * c.spikes * (c.event - budget))
            for own, cost in zip(choices, costs, strict=True)
        ]

    if _mean(at(0.0)) <= budget:
        return at(0.0)
    low, high = 1e-18, 1e18
    for _ in range(120):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if _mean(at(middle)) <= budget else (middle, high)
    return at(high)


def _frontier(choices: Sequence[Sequence[_Choice]], costs: Sequence[float]) -> dict[int, float]:
    """By whole budgets that are enough the least cost, as if the layers' noises added up."""
    plans = {bits: _cheapest(choices, costs, bits * _ROOM) for bits in range(1, 10)}
    return {
        bits: sum(cost * choice.noise for cost, choice in zip(costs, plan, strict=True))
        for bits, plan in plans.items()
        if _mean(plan) <= bits
    }


def _costs(graph: Graph, layers: Sequence[Node], context: Context, samples: int) -> list[float]:
    """What a unit of each layer's noise costs: the squared error that it makes in the outputs."""
    values = 4 * sum(node.type.size for node in graph.nodes)
    count = max(2, min(samples, _BYTES // values))
    feeds = {name: x[:count] for name, x in context.data("budget").items()}
    exact = {node.name: value for node, value in evaluate(graph, feeds)}
    spans = {name: float(exact[name].var()) or 1.0 for name in graph.outputs}
    costs = []
    for done, layer in enumerate(layers, 1):
        changed = {layer.name: _probed(graph, layer, exact[layer.name])}
        noise = float(((changed[layer.name] - exact[layer.name]) ** 2).sum())
        for node in graph.nodes:
            if node.name not in changed and any(name in changed for name in node.inputs):
                inputs = [changed.get(name, exact[name]) for name in node.inputs]
                changed[node.name] = op_of(node).run(inputs, graph.arrays(node))
        lost = sum(
            float(((changed.get(name, exact[name]) - exact[name]) ** 2).sum()) / span
            for name, span in spans.items()
        )
        costs.append(lost / max(noise, 1e-30))
        context.progress("weigh layers", done, len(layers))
    return costs


def _probed(graph: Graph, layer: Node, value: Array) -> Array:
    """An activation rounded to few levels."""
    low, high, hist = (graph.array(layer, role) for role in ("low", "high", "hist"))
    theta = best_thresholds(low, high, hist, _PROBED, shared=False).astype(np.float32)
    floor = -1.0 if op_of(layer, Activation).signed else 0.0
    return qcfs(value, spread(theta, layer.type.shape), _PROBED, floor)
