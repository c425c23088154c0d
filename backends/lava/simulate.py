"""Runs an integer graph in Lava: emits the project, runs it in a child process, reads it back."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikec.backends.lava.child import run_child, scratch_folder, terminable
from spikec.backends.lava.emit import save_arrays, write
from spikec.backends.lava.plan import Plan
from spikec.backends.lava.planner import plan_network
from spikec.ir import BackendError, Graph, RangeError, op_of
from spikec.ir.op import Value, steps_of
from spikec.runtime.interpreter import (
    Feeds,
    LayerTrace,
    Simulation,
    check_feeds,
    check_width,
    synapse_inputs,
    unit_events,
)

Results = dict[str, NDArray[Any]]
OVERFLOW = 3
"""Exit code of the project's runner when a value left its range."""
LOST = ("no end after", "child processes died")
"""How the runner's message begins when Lava hung, or lost a process without an exception."""
ATTEMPTS = 2
"""How often a run that Lava lost is tried."""


def simulate(
    graph: Graph,
    feeds: Feeds,
    steps: int | None = None,
    trace: Collection[str] = (),
    tag: str = "fixed_pt",
    neuron: str = "own",
) -> Simulation:
    """Run an integer graph in Lava; see `spikec.runtime.interpreter.simulate`.

    Args:
        graph: The graph.
        feeds: Coded inputs.
        steps: Time steps; the graph's own by default.
        trace: Layers whose spikes and potentials to return.
        tag: Lava's process models: fixed_pt or floating_pt, where integers are exact as well.
        neuron: `own`, or `stock`: Lava's ATRLIF for the layers that it provably computes exactly.

    Raises:
        RangeError: when a current or potential leaves its width.
        BackendError: when Lava cannot hold the graph or fails.
    """
    samples = check_feeds(graph, feeds)
    steps = steps or graph.steps
    plan = plan_network(graph, steps, neuron)
    for node in graph.inputs:
        check_width(graph, node, np.asarray(feeds[node.name])[None], None)
    coded = {node.name: feeds[node.name].astype(node.type.dtype.storage) for node in graph.inputs}
    traced = [name for name in plan.layers if name in trace]
    with terminable(), scratch_folder() as folder:
        results = _run(graph, plan, coded, steps, samples, traced, folder, tag)
    return _collect(graph, plan, coded, steps, traced, results)


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
    save_arrays(folder / "inputs.npz", coded)
    total = samples * steps + plan.depth
    timeout = 120 + total * (1 + plan.synapses / 1e7)
    if plan.stock:  # a run for each sample
        timeout += samples * (plan.depth + 2 + 0.1 * len(plan.processes))
    command = [sys.executable, "run.py", "--input", "inputs.npz", "--output", "results.npz",
               "--steps", str(steps), "--timeout", f"{timeout:.0f}", "--fault", "fault.json",
               "--tag", tag, "--scratch", ".", "--spikes", "--end-with-parent"]  # fmt: skip
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
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def _error(graph: Graph, code: int | None, log: str, found: Mapping[str, Any]) -> Exception:
    """The error that a failed run stands for."""
    overflow = found.get("overflow")
    if code == OVERFLOW and overflow:
        node = graph[overflow["layer"]]
        return RangeError(
            f"%{node.name}: its {overflow['what']} reaches {overflow['value']} at neuron "
            f"{overflow['neuron']}, step {overflow['step']}, sample {overflow['sample']}; it "
            f"holds {overflow['limits'][0]} to {overflow['limits'][1]}",
            loc=node.loc,
            hint="compile with fewer --weight-bits or a target with wider state",
        )
    lines = str(found.get("message", log)).strip().splitlines()[-6:]
    ended = "did not end in time" if code is None else f"failed (exit code {code})"
    return BackendError("\n".join([f"Lava {ended}", *lines]))


def _collect(
    graph: Graph, plan: Plan, coded: Results, steps: int, traced: list[str], results: Results
) -> Simulation:
    """Build the result, with the linear values that it needs computed from the spikes."""
    counted = synapse_inputs(graph)
    wanted = _needed(graph, {*counted, *plan.unproven})
    simulation = Simulation({}, {}, {})
    values: dict[str, Value] = {}
    for node in graph.nodes:
        name = node.name
        if node.op == "input":
            values[name] = coded[name].astype(np.int64)[None]
        elif name in plan.layers:
            spiking = node.type.dtype.kind == "spike"
            values[name] = results[f"{'spikes' if spiking else 'potentials'}/{name}"]
        elif name in wanted:
            values[name] = _linear(graph, name, values)
            check_width(graph, node, values[name], None)
        if name in counted:
            simulation.events[name] = steps_of((values[name] != 0).sum(axis=1), steps)
            if node.type.dtype.is_graded:
                simulation.units[name] = unit_events(values[name])
        if name in graph.outputs:
            simulation.readout[name] = values[name].astype(np.int64)
        if name in traced:
            spikes = results.get(f"spikes/{name}")
            potentials = results[f"potentials/{name}"].astype(np.int64)
            simulation.traces[name] = LayerTrace(spikes, potentials)
    return simulation


def _needed(graph: Graph, wanted: set[str]) -> set[str]:
    """The linear nodes to compute: the wanted ones and those before them, up to the layers."""
    needed = set(wanted)
    for node in reversed(graph.nodes):
        if node.name in needed and node.op != "input" and not op_of(node).stateful:
            needed.update(node.inputs)
    return needed


def _linear(graph: Graph, name: str, values: dict[str, Value]) -> Value:
    """A linear value of every step, by its op's meaning: (steps or 1, batch, *shape)."""
    node = graph[name]
    inputs = [values[source] for source in node.inputs]
    length = max(map(len, inputs))
    flat = [steps_of(x, length).reshape(-1, *x.shape[2:]).astype(np.int64) for x in inputs]
    value = op_of(node).run(flat, graph.arrays(node))
    return value.reshape(length, -1, *value.shape[1:])
