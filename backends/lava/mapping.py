"""Says how each part of a network was mapped to Lava, and what only its CPU simulation can do."""

from __future__ import annotations

from collections.abc import Iterator

from spikec.backends.backend import MappedPart
from spikec.backends.lava.calls import (
    Call,
    ConstantSource,
    Convolution,
    Delay,
    Dense,
    InputSource,
    OneToOne,
    Sparse,
    Synapse,
)
from spikec.backends.lava.linear import LOWERINGS
from spikec.backends.lava.plan import Plan, Process
from spikec.backends.lava.planner import plan_network
from spikec.ir import Graph, Node, op_of
from spikec.ir.neuron import Neuron, Sign
from spikec.ir.op import Stateful
from spikec.ir.ops.accumulate import Accumulate
from spikec.ir.ops.input import Input
from spikec.ir.ops.max_pool_count import MaxPoolCount
from spikec.ir.ops.routing.reduce_sum import ReduceSum

QUICK = 1 << 28
"""Products that the matrices of a network may take to be found in passing."""
CHANGES = {
    "pool": "average pooling, or a stride in the convolution before it",
    "straight": "a convolution or dense layer between them",
    "chain": "an activation between them",
    "stock": "the project's own neurons, 'lava{neuron=own}'",
    "width": "an activation behind it, or fewer bits",
    "constant": "a bias in place of the constant",
}
"""What makes a part of a network one that a chip could do."""
SYNAPSES: dict[type[Call], str] = {
    Dense: "Lava's Dense",
    OneToOne: "Lava's Sparse, one synapse per neuron",
    Convolution: "Lava's Conv",
    Sparse: "Lava's Sparse with the op's matrix",
    Delay: "Lava's DelaySparse, weight 1",
}
"""What the project's synapses are."""


UNSEEN = MappedPart(
    "",
    "parts that were not looked at",
    "finding Lava's matrices takes long for this network; --target lava does it",
    chip=False,
)
"""In place of a description that would take long."""


def describe(graph: Graph, neuron: str = "own") -> list[MappedPart]:
    """How `emit` maps a graph.

    Raises:
        BackendError: naming the node that Lava cannot hold.
    """
    return rows(graph, plan_network(graph, neuron=neuron))


def is_quick(graph: Graph) -> bool:
    """Whether a plan is made in seconds: whether few products find the matrices of its ops."""
    products = 0
    for node in graph:
        op = op_of(node)
        if op.linear and type(op) not in LOWERINGS and (op.weighted or isinstance(op, ReduceSum)):
            sources = sum(graph[name].type.size for name in node.inputs)
            products += sources * node.type.size
    return products <= QUICK


def rows(graph: Graph, plan: Plan) -> list[MappedPart]:
    """The same of a plan."""
    nodes = graph.by_name
    parts: list[MappedPart] = []
    for process in plan.processes.values():
        node = nodes[process.node]
        if isinstance(process.call, InputSource | ConstantSource):
            parts.append(_source(process, node))
        elif process.name in plan.layers.values():
            parts += _layer(process, node, plan)
        else:
            parts += _synapse(process, node, plan)
    unproven = "checked after the run: no layer sees this value"
    return parts + [
        MappedPart(name, "width", unproven, chip=False, change=CHANGES["width"])
        for name in plan.unproven
    ]


def table(parts: list[MappedPart]) -> str:
    """The rows as Markdown, those that say the same in one."""
    merged: dict[tuple[str, str, str], list[str]] = {}
    for row in parts:
        can = ("microcode" if row.microcode else "yes") if row.chip else "no"
        merged.setdefault((row.what, row.how, can), []).append(row.layer)
    lines = ["| what | how | Loihi 2 | where |", "|---|---|---|---|"]
    for (what, how, can), layers in merged.items():
        names = ", ".join(f"`{name}`" for name in dict.fromkeys(layers))
        lines.append(f"| {what} | {how} | {can} | {names} |")
    return "\n".join(lines)


def _source(process: Process, node: Node) -> MappedPart:
    if isinstance(node.operation, Input):
        return MappedPart(
            node.name, "graded input", "the host sends the code in every step", chip=True
        )
    return MappedPart(
        node.name,
        "constant current",
        "a process that sends it in every step",
        chip=False,
        change=CHANGES["constant"],
    )


def _layer(process: Process, node: Node, plan: Plan) -> Iterator[MappedPart]:
    fit, op = plan.fits.get(node.name), op_of(node, Stateful)
    own = f"`neurons/{node.op}.py`"
    if isinstance(op, MaxPoolCount):
        numbers = "the numbers that digits spell" if op.radix else "spike counts"
        how = f"running maximum of {numbers}, {own}"
        yield MappedPart(node.name, op.title, how, chip=False, change=CHANGES["pool"])
    elif isinstance(op, Accumulate):
        yield MappedPart(node.name, op.title, f"potential, read by the host, {own}", True, True)
    elif plan.is_stock(node.name):
        yield _stock(node, plan)
    else:
        kept = f" (not stock: {fit.reason})" if fit else ""
        free = isinstance(op, Neuron) and op.sign is Sign.FREE
        what = "relay of a signed value" if free else op.title
        yield MappedPart(node.name, what, f"{own}{kept}", chip=True, microcode=True)
    if "bias" in node.params:
        yield _bias(node, plan)
    if any(wire.process in plan.layers.values() for wire in process.wires):
        how = "one OutPort into the next InPort, without a synapse or its step"
        change = CHANGES["straight"]
        yield MappedPart(node.name, "spikes straight into a layer", how, chip=False, change=change)


def _stock(node: Node, plan: Plan) -> MappedPart:
    what, how = op_of(node, Stateful).title, "Lava's ATRLIF, proven exact"
    if plan.fits[node.name].uniform:
        return MappedPart(node.name, what, how, chip=True)
    how += "; thresholds per neuron, which its process does not declare and its CPU model computes"
    return MappedPart(node.name, what, how, chip=False, change=CHANGES["stock"])


def _sent(node: Node, plan: Plan) -> bool:
    return plan.is_stock(node.name) and plan.fits[node.name].bias_as_input


def _bias(node: Node, plan: Plan) -> MappedPart:
    if _sent(node, plan):
        how = "sent as an input while the sample is there"
        return MappedPart(node.name, "bias", how, chip=False, change=CHANGES["stock"])
    if plan.is_stock(node.name):
        how = "v0 makes up for the steps before the first input"
        return MappedPart(node.name, "bias", how, chip=True)
    how = "added only in the steps of the layer's own window"
    return MappedPart(node.name, "bias", how, chip=True, microcode=True)


def _synapse(process: Process, node: Node, plan: Plan) -> Iterator[MappedPart]:
    how, waits = SYNAPSES[type(process.call)], _delay(process)
    if isinstance(process.call, Convolution) and not process.call.stock:
        how = f"Lava's Sparse, unrolled: {process.why}"
    if isinstance(process.call, Delay):
        yield MappedPart(
            node.name, "delay that balances paths", f"{how}, {_steps(waits)}", chip=True
        )
    else:
        wait = f", {_steps(waits)} later to balance paths" if waits else ""
        yield MappedPart(node.name, node.op, how + wait, chip=True)
    sources = [plan.processes[wire.process].call for wire in process.wires]
    if any(isinstance(source, Synapse | Delay) for source in sources):
        how = "a synapse feeds a synapse, with no neuron between"
        change = CHANGES["chain"]
        yield MappedPart(node.name, "chain of linear ops", how, chip=False, change=change)


def _delay(process: Process) -> int:
    """Steps that a synapse waits besides its own, 0 for most."""
    match process.call:
        case Delay():
            return process.call.steps
        case OneToOne():
            return process.call.delay
    return 0


def _steps(number: int) -> str:
    return "1 step" if number == 1 else f"{number} steps"
