"""Runs an integer graph in Lava: emits the project, runs it in a child process, reads it back."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from spikec.backends.lava.child import run_child, scratch_folder, terminable
from spikec.backends.lava.emit import write
from spikec.backends.lava.estimate import Estimate
from spikec.backends.lava.plan import Plan
from spikec.backends.lava.planner import plan_network
from spikec.ir import BackendError, Graph, RangeError
from spikec.ir.analysis import cone_of, run_linear
from spikec.ir.op import Value
from spikec.ir.ops.input import Input
from spikec.ir.types import Array
from spikec.runtime.artifact import npz_bytes
from spikec.runtime.interpreter import (
    Feeds,
    Observer,
    Simulation,
    as_read,
    check_feeds,
    check_width,
    over_time,
    run_length,
)
from spikec.runtime.interpreter import simulate as reference

Results = dict[str, Array]
OVERFLOW = 3
"""Exit code of the project's runner when a value left its range."""
LOST = ("no end after", "child processes died")
"""How the runner's message begins when Lava hung, or lost a process without an exception."""
LONGEST = 600.0
"""Seconds that a run may take by estimate, unless more are allowed."""
ATTEMPTS = 2
"""How often a run that Lava lost is tried."""


def simulate(
    graph: Graph,
    feeds: Feeds,
    steps: int | None = None,
    trace: Collection[str] = (),
    tag: str = "fixed_pt",
    neuron: str = "own",
    seconds: float = LONGEST,
) -> Simulation:
    """Run an integer graph in Lava; see `spikec.runtime.interpreter.simulate`.

    Args:
        graph: The graph.
        feeds: Coded inputs.
        steps: Time steps; the graph's own by default.
        trace: Layers whose spikes and potentials to return.
        tag: Lava's process models: fixed_pt or floating_pt, where integers are exact as well.
        neuron: `own`, or `stock`: Lava's ATRLIF for the layers that it provably computes exactly.
        seconds: What the run may take by the estimate that is made before it starts.

    Raises:
        OutOfMemory: when there is too little memory for it.
        RangeError: when a current or potential leaves its width, as the reference tells it.
        BackendError: when Lava cannot hold the graph, takes too many processes or too long, or
            fails.
    """
    steps = run_length(graph, steps)
    samples = check_feeds(graph, feeds, steps)
    plan = plan_network(graph, steps, neuron)
    for node in graph.inputs:
        check_width(graph, node, over_time(node, feeds, steps), None)
    coded = {
        node.name: as_read(node, feeds, steps).astype(node.type.dtype.storage)
        for node in graph.inputs
    }
    traced = [name for name in plan.layers if name in trace]
    neurons = sum(graph[name].type.size for name in traced)
    Estimate.of(graph, plan, samples, steps, neurons).refuse(seconds)
    try:
        with terminable(), scratch_folder() as folder:
            results = _run(graph, plan, coded, steps, samples, traced, folder, tag)
        return _collect(graph, plan, coded, steps, traced, results)
    except RangeError:
        reference(graph, feeds, steps)  # Lava finds first what comes first in time, not in order
        raise


def _run(
    graph: Graph,
    plan: Plan,
    coded: Results,
    steps: int,
    samples: int,
    traced: list[str],
    folder: Path,
    tag: str,
) -> Results:
    """Emit and run the project; returns the arrays that it wrote.

    Now and then, on a busy machine, Lava hangs while it forks its processes or loses one; such a
    run, which has no fault of its own, is repeated once.
    """
    write(graph, plan, folder)
    (folder / "inputs.npz").write_bytes(npz_bytes(coded))
    total = samples * steps + plan.depth
    timeout = 120 + total * (1 + plan.synapses / 1e7)
    if plan.stock:  # a run for each sample
        timeout += samples * (plan.depth + 2 + 0.1 * len(plan.processes))
    command = [
        sys.executable,
        "run.py",
        "--input",
        "inputs.npz",
        "--output",
        "results.npz",
        "--steps",
        str(steps),
        "--timeout",
        f"{timeout:.0f}",
        "--fault",
        "fault.json",
        "--tag",
        tag,
        "--scratch",
        ".",
        "--spikes",
        "--end-with-parent",
        str(os.getpid()),
    ]
    command += ["--trace", *traced] if traced else []
    for _ in range(ATTEMPTS):
        (folder / "fault.json").unlink(missing_ok=True)
        code, log = run_child(command, folder, timeout + 60)
        if code == 0 or not (code is None or _fault(folder).get("message", "").startswith(LOST)):
            break
    if code != 0:
        raise _error(graph, code, log, _fault(folder))
    with np.load(folder / "results.npz") as results:
        return dict(results)


def _fault(folder: Path) -> dict[str, Any]:
    """What a failed run wrote about its fault."""
    path = folder / "fault.json"
    fault: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return fault


def _error(graph: Graph, code: int | None, log: str, fault: Mapping[str, Any]) -> Exception:
    """The error that a failed run stands for."""
    overflow = fault.get("overflow")
    if code == OVERFLOW and overflow:
        node = graph[overflow["layer"]]
        return RangeError(
            f"%{node.name}: its {overflow['what']} reaches {overflow['value']} at neuron "
            f"{overflow['neuron']}, step {overflow['step']}, sample {overflow['sample']}; it "
            f"holds {overflow['limits'][0]} to {overflow['limits'][1]}",
            loc=node.loc,
            hint="compile with fewer --weight-bits or a target with wider state",
        )
    lines = str(fault.get("message", log)).strip().splitlines()[-6:]
    ended = "did not end in time" if code is None else f"failed (exit code {code})"
    return BackendError("\n".join([f"Lava {ended}", *lines]))


def _collect(
    graph: Graph, plan: Plan, coded: Results, steps: int, traced: list[str], results: Results
) -> Simulation:
    """Build the result, with the linear values that it needs computed from the spikes."""
    observer = Observer(graph, steps, traced)
    wanted = cone_of(graph, {*observer.counted, *plan.unproven}).names
    values: dict[str, Value] = {}
    for node in graph.nodes:
        name, potentials = node.name, None
        if isinstance(node.operation, Input):
            values[name] = over_time(node, coded, steps).astype(np.int64)
        elif name in plan.layers:
            spikes, potentials = (results.get(f"{w}/{name}") for w in ("spikes", "potentials"))
            potentials = None if potentials is None else potentials.astype(np.int64)
            value = potentials if spikes is None else spikes
            assert value is not None
            values[name] = value
        elif name in wanted:
            inputs = [values[source].astype(np.int64) for source in node.inputs]
            values[name] = run_linear(node, inputs, graph.arrays(node))
            check_width(graph, node, values[name], None)
        if name in values:
            observer.see(node, values[name], potentials)
    return observer.result
