"""The fast engine: bit for bit the reference, on all cores.

Integer graphs are planned into compiled layers (synapses, joins and neurons in one kernel, all
steps together); graphs of floats and uncommon ops run node by node.
"""

from __future__ import annotations

from collections.abc import Collection

from spikec.ir import Graph
from spikec.runtime.fast import simple
from spikec.runtime.fast.engine import plan_for, run_plan
from spikec.runtime.fast.scans import Drawn, rate_errors, scan
from spikec.runtime.interpreter import Feeds, Simulation, check_feeds, run_length


def simulate(
    graph: Graph,
    feeds: Feeds,
    steps: int | None = None,
    trace: Collection[str] = (),
    *,
    events: bool = True,
    threads: int | None = None,
) -> Simulation:
    """Run a spiking graph; arguments, result and errors as the reference's `simulate`.

    Args:
        graph: The graph.
        feeds: As `check_feeds` has them, at stage int already encoded integers.
        steps: Time steps; the graph's own by default.
        trace: Layers whose spikes and potentials to return.
        events: Whether to return event counts.
        threads: Threads to use; by default SPIKEC_THREADS, or all cores of this process.
    """
    steps = run_length(graph, steps)
    check_feeds(graph, feeds, steps)
    if graph.stage == "int":
        samples = len(next(iter(feeds.values())))
        run = run_plan(plan_for(graph, steps, samples), feeds, trace, events, threads)
        if run is not None:
            return run
    return simple.simulate(graph, feeds, steps, trace)


__all__ = ["Drawn", "rate_errors", "scan", "simulate"]
