"""What rewriting passes share."""

from __future__ import annotations

from collections.abc import Container

from spikec.ir import Graph


def remove_dead(graph: Graph) -> Graph:
    """The graph without nodes that no output depends on (inputs stay)."""
    live = set(graph.outputs)
    for node in reversed(graph.nodes):
        if node.name in live:
            live.update(node.inputs)
    return graph.with_nodes(n for n in graph.nodes if n.name in live or n.op == "input")


def fresh(wanted: str, taken: Container[str]) -> str:
    """`wanted`, with a number where it is taken."""
    name, count = wanted, 1
    while name in taken:
        count += 1
        name = f"{wanted}_{count}"
    return name
