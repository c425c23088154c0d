"""How long a result takes, by the layers that gather a window before they fire."""

from __future__ import annotations

from spikec.ir.graph import Graph
from spikec.ir.neuron import Membrane


def gathering_layers(graph: Graph) -> list[str]:
    """Layers that gather a window of T steps before they fire in the next."""
    return [
        n.name for n in graph.nodes if isinstance(n.operation, Membrane) and n.operation.gathers
    ]


def latency_in_windows(graph: Graph) -> int:
    """Windows of T steps from the first input to the result.

    One, and one more for each layer that gathers on the longest path.
    """
    gathers, depth = set(gathering_layers(graph)), dict[str, int]()
    for node in graph.nodes:
        before = max((depth[name] for name in node.inputs), default=0)
        depth[node.name] = before + (node.name in gathers)
    return max(depth[name] for name in graph.outputs) + 1
