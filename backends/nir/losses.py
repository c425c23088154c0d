"""What NIR cannot say about a network, and whether its loss was accepted."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from spikec.backends.nir.bias import stranded
from spikec.ir import BackendError, Graph, Node, op_of
from spikec.ir.neuron import Neuron, Sign
from spikec.ir.ops.accumulate import Accumulate
from spikec.ir.ops.input import Input

LOSSES = {
    "reset": "the reset that subtracts theta; IF goes back to v_reset",
    "v0": "an initial potential",
    "signed": "negative spikes, and the memory that allows them",
    "graded": "spikes with a payload",
    "bias": "a constant current that no convolution or dense layer can carry",
    "time": "how many steps there are, that the input is there in all of them and that the output "
    "is summed",
    "integers": "bit widths; the values are exact",
}
"""What may be lost, and what it is."""


ALWAYS = ("reset", "time", "integers")
"""What is lost of every network."""


@dataclass(frozen=True, slots=True)
class Loss:
    """One thing that a node does and NIR cannot say.

    Attributes:
        name: Of `LOSSES`.
        node: Which does it.
    """

    name: str
    node: Node


def losses_of(graph: Graph, node: Node) -> list[str]:
    """The names of what is lost at a node, in the order of `LOSSES`."""
    op = op_of(node)
    v0 = np.any(graph.array(node, "v0")) if "v0" in node.params else False
    graded = node.type.dtype.is_graded and op.neuron
    lost = {
        "integers": op.weighted or isinstance(op, Input),
        "time": isinstance(op, Input | Accumulate),
        "reset": op.neuron,
        "v0": bool(v0),
        "bias": stranded(graph, node),
        "signed": isinstance(op, Neuron) and op.sign is not Sign.UNSIGNED and not graded,
        "graded": graded,
    }
    return [name for name in LOSSES if lost[name]]


def losses(graph: Graph) -> list[Loss]:
    """All that is lost, by kind and in the order of the nodes."""
    lost = [Loss(name, node) for node in graph for name in losses_of(graph, node)]
    return sorted(lost, key=lambda loss: list(LOSSES).index(loss.name))


def check(graph: Graph, allowed: Collection[str]) -> None:
    """Raise BackendError unless all that is lost is `allowed`."""
    for name in allowed:
        if name not in LOSSES:
            raise BackendError(f"unknown loss '{name}'", hint=f"one of {', '.join(LOSSES)}")
    refused = [loss for loss in losses(graph) if loss.name not in allowed]
    if not refused:
        return
    names = list(dict.fromkeys(loss.name for loss in refused))
    lines = [_line(name, [loss.node for loss in refused if loss.name == name]) for name in names]
    raise _refusal(lines, {*allowed, *names})


def refuse(names: Collection[str], allowed: Collection[str]) -> None:
    """Raise BackendError for what is lost of every network and was not accepted."""
    if names:
        lines = [f"  {name}: {LOSSES[name]}" for name in names]
        raise _refusal(lines, {*allowed, *names, "v0"})  # most networks have initial potentials


def _refusal(lines: list[str], accepted: Collection[str]) -> BackendError:
    accepting = "+".join(name for name in LOSSES if name in accepted)
    return BackendError(
        "NIR cannot say\n" + "\n".join(lines),
        hint=f"if the receiver can do without: --target 'nir{{allow_lossy={accepting}}}'",
    )


def _line(name: str, nodes: list[Node]) -> str:
    first, others = nodes[0], len(nodes) - 1
    where = f"%{first.name}" + (f" (ONNX node {first.loc})" if first.loc else "")
    return f"  {name}: {LOSSES[name]}; {where}" + (f" and {others} more" if others else "")
