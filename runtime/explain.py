"""Why one neuron did what it did in one step: its inputs, weights, potential and threshold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from spikec.ir import Graph, Node, op_of, spread
from spikec.ir.analysis import cone_of
from spikec.ir.neuron import Membrane, Neuron
from spikec.ir.op import Stateful, steps_of
from spikec.ir.ops.input import Input
from spikec.ir.types import Array
from spikec.ir.windows import Pooling
from spikec.runtime.interpreter import Feeds, LayerTrace, Simulation, over_time

LIMIT = 20
"""Inputs that are listed; the others are counted."""
_BATCH, _PARTS = 32, 16


def explain(
    graph: Graph,
    feeds: Feeds,
    traces: Mapping[str, LayerTrace],
    layer: str,
    neuron: tuple[int, ...],
    step: int,
    sample: int,
    limit: int = LIMIT,
) -> dict[str, Any]:
    """All that enters a neuron in a step, and what follows by the ops' meaning.

    Args:
        graph: Stage int.
        feeds: Coded inputs of a block of samples.
        traces: What all layers before this one did on that block.
        layer: The neuron's layer.
        neuron: Its index there.
        step: From 1.
        sample: Index in the block.
        limit: How many inputs to list, largest products first.
    """
    node, t = graph[layer], step - 1
    cone = Cone(graph, node, neuron)
    steps = len(traces[layer].potentials)
    values = {name: _series(graph, name, feeds, traces, sample, steps) for name in cone.sources}
    current = cone.run(values)
    now = {name: value[t : t + 1] for name, value in values.items()}
    inputs = sorted(cone.products(now), key=lambda item: -abs(item["product"]))
    op = op_of(node, Stateful)
    params = {r: _at(graph, node, r, neuron) for r in node.params if not op.params[r].is_unit}
    story: dict[str, Any] = {
        "inputs": inputs[:limit],
        "inputs_nonzero": len(inputs),
        "current": int(current[t]),
        "constant": cone.constant(),
        **params,
    }
    if not isinstance(op, Membrane):
        return story
    before = params.get("v0", 0)
    if t > 0:
        before = int(traces[layer].potentials[(t - 1, sample, *neuron)])
    story["potential_before"] = before
    if not op.gathers:
        story["potential_charged"] = charge(op, params, before, story["current"])
    arrays = {role: np.array([value]) for role, value in params.items()}
    spikes, potentials = op.scan([current.reshape(-1, 1, 1)], arrays, steps)
    if isinstance(op, Neuron):
        story["count_before"] = int(spikes[:t].sum())
        story["expected_spike"] = int(spikes[t, 0, 0])
    story["expected_potential"] = int(potentials[t, 0, 0])
    story["current_before"] = int(current[t - 1]) if t > 0 else 0
    story["current_after"] = int(current[t + 1]) if t + 1 < steps else None
    return story


def charge(op: Membrane, params: Mapping[str, int], before: int, current: int) -> int:
    """The potential of one neuron after the current of a step."""
    arrays = {"bias": np.array(0), **{role: np.array(value) for role, value in params.items()}}
    return int(op.charge(np.array(before), np.array(current), arrays))


def _at(graph: Graph, node: Node, role: str, neuron: tuple[int, ...]) -> int:
    array = spread(graph.array(node, role), node.type.shape)
    return int(np.broadcast_to(array, node.type.shape)[neuron])


def _series(
    graph: Graph,
    name: str,
    feeds: Feeds,
    traces: Mapping[str, LayerTrace],
    sample: int,
    steps: int,
) -> Array:
    """A source's value in every step (steps, *shape)."""
    if isinstance(graph[name].operation, Input):
        return steps_of(over_time(graph[name], feeds, steps)[:, sample].astype(np.int64), steps)
    trace = traces[name]
    value = trace.potentials if trace.spikes is None else trace.spikes
    return value[:, sample].astype(np.int64)


class Cone:
    """The linear ops between one neuron and the layers and inputs before it."""

    def __init__(self, graph: Graph, layer: Node, neuron: tuple[int, ...]) -> None:
        self.graph, self.layer, self.neuron = graph, layer, neuron
        cone = cone_of(graph, layer.inputs)
        self.nodes, self.sources = cone.nodes, [source.name for source in cone.sources]

    def run(self, values: Mapping[str, Array], kind: str = "exact") -> Array:
        """The neuron's current (batch,).

        Args:
            values: Each source's value (batch, *shape); sources left out are 0.
            kind: `exact`; `linear` without constants; `reach` with absolute weights and without
                constants, so that 0 means that nothing non-zero arrives.
        """
        batch = len(next(iter(values.values())))
        by_name = {
            name: values.get(name, np.zeros((batch, *self.graph[name].type.shape), np.int64))
            for name in self.sources
        }
        for node in self.nodes:
            params = {r: a.astype(np.int64) for r, a in self.graph.arrays(node).items()}
            if kind != "exact":
                params.pop("b", None)
            if kind == "reach" and "w" in params:
                params["w"] = np.abs(params["w"])
            by_name[node.name] = op_of(node).run([by_name[i] for i in node.inputs], params)
        value = by_name[self.layer.inputs[0]]
        if isinstance(self.layer.operation, Pooling):
            value = self.layer.operation.sums(value)
        place: tuple[Any, ...] = (slice(None), *self.neuron)
        return np.asarray(value[place])

    def constant(self) -> int:
        """The current when nothing fires."""
        zeros = {n: np.zeros((1, *self.graph[n].type.shape), np.int64) for n in self.sources}
        return int(self.run(zeros)[0]) if zeros else 0

    def products(self, values: Mapping[str, Array]) -> Iterator[dict[str, Any]]:
        """The non-zero elements of the sources (1, *shape) that a non-zero weight connects."""
        for name in self.sources:
            value = values[name][0]
            elements = self._connected(name, np.argwhere(value))
            for start in range(0, len(elements), _BATCH):
                block = elements[start : start + _BATCH]
                units = np.zeros((len(block), *value.shape), np.int64)
                for unit, element in zip(units, block, strict=True):
                    unit[tuple(element)] = 1
                for element, weight in zip(block, self.run({name: units}, "linear"), strict=True):
                    x, w = int(value[tuple(element)]), int(weight)
                    yield {
                        "source": name,
                        "element": [int(i) for i in element],
                        "value": x,
                        "weight": w,
                        "product": w * x,
                    }

    def _connected(self, name: str, elements: Array) -> list[Array]:
        """Those of some elements that reach the neuron, by testing ever smaller groups."""
        shape, groups = self.graph[name].type.shape, [elements] if len(elements) else []
        connected: list[Array] = []
        while groups:
            parts = [p for g in groups for p in np.array_split(g, min(_PARTS, len(g))) if len(p)]
            groups = []
            for start in range(0, len(parts), _BATCH):
                block = parts[start : start + _BATCH]
                marks = np.zeros((len(block), *shape), np.int64)
                for row, part in zip(marks, block, strict=True):
                    row[tuple(part.T)] = 1
                for part, reach in zip(block, self.run({name: marks}, "reach"), strict=True):
                    if reach and len(part) == 1:
                        connected.append(part[0])
                    elif reach:
                        groups.append(part)
        return connected


def likely_cause(
    op: Membrane, story: Mapping[str, Any], spike: int | None, potential: int, step: int, steps: int
) -> str | None:
    """What would explain that an engine left `spike` and `potential`, in a sentence, or None.

    Args:
        op: The neuron or readout.
        story: From `explain`.
        spike: What it sent; None for a readout.
        potential: After the reset.
        step: From 0.
        steps: T.
    """
    if "potential_charged" not in story:
        return None
    params = {role: story[role] for role in op.params if role in story}
    before, charged = story["potential_before"], story["potential_charged"]
    left = potential
    if isinstance(op, Neuron):
        arrays = {role: np.array(value) for role, value in params.items()}
        left += int(op.amount(np.array(spike), arrays, step, steps))
    if left == charged and spike is not None:
        return _decided(op, story, spike)
    for key, when in (("current_before", "before"), ("current_after", "after")):
        other = story[key]
        if other not in (None, story["current"]) and left == charge(op, params, before, other):
            return f"it uses the current of the step {when}"
    for role in (role for role in params if op.params[role].kind == "current" and params[role]):
        for factor, what in ((0, "left out"), (2, "added twice")):
            changed = {**params, role: factor * params[role]}
            if left == charge(op, changed, before, story["current"]):
                return f"the {role} is {what}"
    change = left - charged
    flips = [text for item in story["inputs"] if (text := _flipped(item, change))]
    if flips:
        more = f" (or of {len(flips) - 1} others)" if len(flips) > 1 else ""
        return flips[0] + more
    return None


def _decided(op: Membrane, story: Mapping[str, Any], spike: int) -> str:
    """The potential before the reset is right, what was sent is not."""
    charged, expected = story["potential_charged"], story["expected_spike"]
    levels = [r for r in op.params if op.params[r].kind == "potential" and r != "v0" and r in story]
    level = next((role for role in levels if story[role] == charged), None)
    if level is not None and spike == 0 and expected != 0:
        return f"it compares with > where >= is right: a potential equal to {level} fires"
    if level is not None and spike != 0 and expected == 0:
        return f"it compares with <= where < is right: a potential equal to {level} is silent"
    return "the potential before the reset is right, the decision to fire is not"


def _flipped(item: Mapping[str, Any], difference: int) -> str | None:
    """Whether one flipped bit of an input's weight would make the difference."""
    change, rest = divmod(difference, item["value"])
    if rest or not -128 <= item["weight"] <= 127:
        return None
    bits = (item["weight"] ^ (item["weight"] + change)) & 0xFF
    inside = -128 <= item["weight"] + change <= 127
    if not inside or bits == 0 or bits & (bits - 1):
        return None
    place = f"%{item['source']}{item['element']}"
    return f"bit {bits.bit_length() - 1} of the weight from {place} is flipped"


def explain_difference(
    graph: Graph,
    feeds: Feeds,
    runs: Mapping[str, Simulation],
    difference: dict[str, Any],
    start: int,
) -> None:
    """Add `explanation` and `likely_cause` to the first difference of a comparison.

    Args:
        graph: The graph that ran.
        feeds: Coded inputs of the block.
        runs: Engine to its simulation of the block, as compared.
        difference: `first_difference` of the comparison.
        start: Index of the block's first sample.
    """
    first, other = difference["values"]
    place = tuple(difference["neuron"]), difference["step"], difference["sample"] - start
    story = explain(graph, feeds, runs[first].traces, difference["layer"], *place)
    causes = {}
    for engine in (first, other):
        seen = difference["values"][engine]
        right = (story.get("expected_spike"), story.get("expected_potential"))
        if (seen["spike"], seen["potential"]) != right:
            causes[engine] = likely_cause(
                op_of(graph[difference["layer"]], Membrane),
                story,
                seen["spike"],
                seen["potential"],
                difference["step"] - 1,
                len(runs[first].traces[difference["layer"]].potentials),
            )
    difference["explanation"] = story
    difference["likely_cause"] = {name: text for name, text in causes.items() if text}
