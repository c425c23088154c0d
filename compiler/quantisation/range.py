"""Proof that no integer current or potential can leave its width."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spikec.compiler.pipeline import Context, Pass, Record
from spikec.ir import Graph, RangeError, op_of
from spikec.ir.analysis import cone_of
from spikec.ir.neuron import Neuron
from spikec.runtime.coding import encode
from spikec.runtime.fast.walk import Walk, affordable, sample_blocks
from spikec.runtime.interpreter import Feeds, charged
from spikec.runtime.ranges import Bound, Ranges, ranges_of, signed_bits

HINT = "use fewer --weight-bits or fewer --timesteps, or leave out --require-proof"


@dataclass(frozen=True)
class Range(Pass):
    """Bound every current and potential over all inputs and T steps, and report the margin.

    A layer that cannot be proven is checked on the calibration data and reported as such;
    require=true refuses it. The graph is not changed.
    """

    require: bool = False
    stages = ("int",)

    def run(self, graph: Graph, context: Context, record: Record) -> Graph:
        ranges = ranges_of(graph)
        layers = [node for node in graph.nodes if op_of(node).stateful]
        parts = {n.name: [v.name for v in cone_of(graph, n.inputs).nodes] for n in layers}
        open_values = {name for name, bound in ranges.values.items() if not bound.fits}
        unproven = [
            name
            for name, bound in ranges.potentials.items()
            if not bound.fits or open_values & set(parts[name])
        ]
        checked: dict[str, tuple[int, int]] = {}
        samples = 0
        if unproven and context.calib is not None:
            samples = affordable(graph, len(next(iter(context.calib.values()))))
            calib = {name: x[:samples] for name, x in context.calib.items()}
            currents = {v for name in unproven for v in parts[name]}
            wanted = {*unproven, *(currents & open_values)}
            checked = observe(graph, calib, wanted, context)
        for name in parts:
            entry = _entry(ranges, name, parts[name], checked)
            entry["proven"] = name not in unproven
            record.layer(name, range=entry)
            if self.require and name in unproven:
                raise RangeError(
                    f"%{name} is not proven: {_reason(ranges, name, parts[name])}",
                    loc=graph[name].loc,
                    hint=HINT,
                )
        record.note(_note(len(parts), unproven, samples))
        return graph


def _note(layers: int, unproven: list[str], samples: int) -> str:
    text = f"ranges of {layers - len(unproven)} of {layers} layers are proven for all inputs"
    if not unproven:
        return text
    how = f"checked on {samples} calibration samples only" if samples else "not checked"
    return f"{text}; {', '.join('%' + name for name in unproven)}: {how}"


def _entry(
    ranges: Ranges, name: str, parts: list[str], checked: Mapping[str, tuple[int, int]]
) -> dict[str, Any]:
    potential = ranges.potentials[name]
    currents = [ranges.values[part] for part in parts]
    state = signed_bits(*potential.limits)
    worst = max([potential.bits, *(c.bits for c in currents)])
    known = name not in ranges.unknown
    entry: dict[str, Any] = {
        "current": [min(c.low for c in currents), max(c.high for c in currents)]
        if currents
        else None,
        "potential": [potential.low, potential.high] if known else None,
        "bits": worst if known else None,
        "state_bits": state,
        "margin_bits": state - worst if known else None,
        "checked": None,
    }
    if name in checked:
        low, high = checked[name]
        bits = [signed_bits(low, high)]
        bits += [signed_bits(*checked[part]) for part in parts if part in checked]
        entry["checked"] = {"potential": [low, high], "margin_bits": state - max(bits)}
    return entry


def _reason(ranges: Ranges, name: str, parts: list[str]) -> str:
    if name in ranges.unknown:
        return "no bound is known for its neurons"
    bounds = {f"its current %{part}": ranges.values[part] for part in parts}
    bounds["its potential"] = ranges.potentials[name]
    what, bound = next((what, b) for what, b in bounds.items() if not b.fits)
    return f"{what} may reach {_far(bound)}; {bound.limits[0]} to {bound.limits[1]} fit"


def _far(bound: Bound) -> int:
    return bound.high if bound.high - bound.limits[1] >= bound.limits[0] - bound.low else bound.low


def observe(
    graph: Graph, calib: Feeds, wanted: set[str], context: Context
) -> dict[str, tuple[int, int]]:
    """Smallest and largest value of some currents and potentials (before reset) on data.

    Raises:
        RangeError: when a value leaves its width on these data.
    """
    extremes: dict[str, tuple[int, int]] = {}
    done, total = 0, len(next(iter(calib.values())))
    for part in sample_blocks(graph, calib):
        walk = Walk(graph, encode(graph, part).feeds)
        for node in graph.nodes:
            value, potentials = walk.step(node, keep=node.name in wanted)
            if node.name in wanted:
                reached = value if potentials is None else potentials
                if isinstance(node.operation, Neuron):
                    reached = charged(graph, node, reached, value)
                seen = int(reached.min()), int(reached.max())
                low, high = extremes.get(node.name, seen)
                extremes[node.name] = min(low, seen[0]), max(high, seen[1])
        done += len(next(iter(part.values())))
        context.progress("range", done, total)
    return extremes
