"""Layers onto neurocores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from spikec.compiler.pipeline import Context, Pass, Record
from spikec.compiler.placement import partition as placing
from spikec.compiler.placement.partition import Demand, Placement
from spikec.ir import Graph, Node, PassError, op_of
from spikec.ir.hardware import HardwareSpec
from spikec.ir.op import Stateful


@dataclass(frozen=True)
class Place(Pass):
    """Partition the layers onto the target's neurocores and set `core`, the first that holds each.

    Options: sharing=false stores a convolution's weights for every neuron instead of once per
    core; require=true refuses a network that does not fit, which else is a line in the report.
    """

    sharing: bool = True
    require: bool = False
    stages = ("int",)

    def run(self, graph: Graph, context: Context, record: Record) -> Graph:
        spec, needs = context.spec, placing.demands(graph)
        placed = placing.place(needs, spec, self.sharing)
        summary = summarise(needs, placed, spec, self.sharing)
        record.summary.update(summary)
        for layer in summary["layers"]:
            figures = {key: value for key, value in layer.items() if key != "name"}
            record.layer(layer["name"], placement=figures)
        problems = summary["problems"]
        if problems and self.require:
            first = problems[0]
            raise PassError(
                f"does not fit on {spec.name}: {first['text'].split('; what would')[0]}",
                loc=None if first["layer"] is None else graph[first["layer"]].loc,
                hint=first["hint"],
            )
        for problem in problems:
            record.note(f"does not fit on {spec.name}: {problem['text']}")
        if not problems:
            record.note(
                f"room on {spec.name}: {summary['cores']} of {_available(spec)} neurocores "
                f"({summary['cores_without_sharing']} without convolutional weight sharing)"
            )
        return graph.with_nodes(_on_core(node, placed) for node in graph.nodes)


def _on_core(node: Node, placed: Placement) -> Node:
    op = op_of(node)
    if node.name not in placed.held or not isinstance(op, Stateful):
        return node
    return replace(node, operation=replace(op, core=placed.held[node.name][0]))


def _available(spec: HardwareSpec) -> str:
    if spec.chips is None or spec.cores_per_chip is None:
        return "any number of"
    return str(spec.chips * spec.cores_per_chip)


def summarise(
    needs: list[Demand], placed: Placement, spec: HardwareSpec, sharing: bool
) -> dict[str, Any]:
    """The placement as plain data, for reports and pictures."""
    other = placing.place(needs, spec, not sharing)
    with_sharing, without = (placed, other) if sharing else (other, placed)
    problems = placing.check(placed, needs, spec)
    layers = [
        {
            "name": d.name,
            "neurons": d.neurons,
            "synapses": int(d.fan_in.sum()),
            "fan_in": int(d.fan_in.max(initial=0)),
            "axons": d.senders,
            "delay": max(d.delays.values(), default=0),
            "weight_bits": d.bits,
            "memory": d.stored(True),
            "memory_without_sharing": d.stored(False),
            "first_core": placed.held[d.name][0],
            "cores": len(placed.held[d.name]),
            "cores_without_sharing": len(without.held[d.name]),
            "bound_by": placing.bound_by(d, spec, len(placed.held[d.name])),
        }
        for d in needs
    ]
    return {
        "hardware": spec.name,
        "figures": spec.describe(),
        "sharing": sharing,
        "fits": not problems,
        "problems": [
            {
                "layer": p.layer,
                "limit": p.limit,
                "need": p.need,
                "have": p.have,
                "hint": p.hint,
                "text": str(p),
            }
            for p in problems
        ],
        "cores": len(placed.cores),
        "cores_with_sharing": len(with_sharing.cores),
        "cores_without_sharing": len(without.cores),
        "memory": sum(core.memory for core in with_sharing.cores),
        "memory_without_sharing": sum(core.memory for core in without.cores),
        "layers": layers,
        "core_loads": [
            {
                "core": i,
                "neurons": c.neurons,
                "memory": c.memory,
                "layers": {name: neurons for name, neurons, _ in c.parts},
            }
            for i, c in enumerate(placed.cores)
        ],
    }
