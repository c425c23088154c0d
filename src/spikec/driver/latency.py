"""What is said of a network whose layers wait for their whole input."""

from __future__ import annotations

from collections.abc import Collection

from spikec.ir import Graph, op_of
from spikec.ir.analysis import gathering_layers, latency_in_windows


def notes_of_latency(graph: Graph, passes: Collection[str]) -> list[str]:
    """The latency of a layerwise or mixed schedule, and how many layers have windows.

    Args:
        graph: The integer network.
        passes: Names of those that made it: `mixed` may have found no layer that needs a window.
    """
    gathering, steps = len(gathering_layers(graph)), graph.steps
    if not gathering and "mixed" not in passes:
        return []
    neurons = sum(op_of(node).neuron for node in graph.nodes)
    windows = latency_in_windows(graph)
    return [
        f"latency {windows} window{'s' if windows > 1 else ''} of {steps} steps = "
        f"{windows * steps} steps, throughput one sample every {steps} steps; "
        f"{gathering} of {neurons} layers of neurons gather a window before they fire"
    ]
