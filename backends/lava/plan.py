"""A planned Lava network: its processes and how their ports are wired."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from spikec.backends.lava.calls import (
    Call,
    ConstantSource,
    Delay,
    InputSource,
    Interval,
    OneToOne,
)
from spikec.ir.types import Array


@dataclass(frozen=True, slots=True)
class Wire:
    """An OutPort whose values make up (a term of) a graph value.

    Attributes:
        process: Name of the process.
        port: Name of its OutPort.
        port_shape: Shape of the port, channels first.
        shape: Shape of the value in the graph; the same elements in the same order.
        latency: Steps after which the first sample's first value arrives; None for a constant
            that is there all the time.
        interval: What the values can be.
        transposed: Whether the port really is (width, height, channels), as Lava's Conv has it.
    """

    process: str
    port: str
    port_shape: tuple[int, ...]
    shape: tuple[int, ...]
    latency: int | None
    interval: Interval
    transposed: bool = False


@dataclass(frozen=True, slots=True)
class Process:
    """One process of the emitted network.

    Attributes:
        name: The Python variable.
        call: What it is made of.
        wires: What its InPort receives; several are summed.
        in_port: Name of the InPort.
        in_shape: Shape of the InPort, channels first.
        comment: What a reader should know.
        transposed: Whether the InPort really is (width, height, channels).
        node: The graph node that it stands for or, for a delay, that waits.
        why: Why it is this process and not the obvious one.
    """

    name: str
    call: Call
    wires: tuple[Wire, ...] = ()
    in_port: str = ""
    in_shape: tuple[int, ...] = ()
    comment: str = ""
    transposed: bool = False
    node: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Fit:
    """What became of a layer under `neuron="stock"`.

    Attributes:
        reason: Why the layer keeps spikec's own neuron; empty where it is stock.
        uniform: Whether one integer half threshold serves the whole layer, as ATRLIF declares it;
            else the threshold differs between neurons, which its CPU model computes as well.
        bias_as_input: Whether its bias has to come with the input: one of its own would make it
            fire before its first step.
    """

    reason: str = ""
    uniform: bool = False
    bias_as_input: bool = False


@dataclass(slots=True)
class Plan:
    """All processes, in topological order.

    Attributes:
        steps: Time steps per sample that it is made for.
        processes: By name.
        layers: Graph node (neuron layer, pooling or readout) to process name.
        weights: What goes into `weights.npz`.
        depth: Steps between the input and the last layer.
        synapses: Weights that are applied in each step, an upper bound.
        unproven: Graph values that could leave their width unseen by any layer's check.
        layerwise: Whether delays and offsets depend on the steps per sample.
        fits: Where stock neurons are wanted, which layers they compute exactly.
    """

    steps: int
    processes: dict[str, Process] = field(default_factory=dict)
    layers: dict[str, str] = field(default_factory=dict)
    weights: dict[str, Array] = field(default_factory=dict)
    depth: int = 0
    synapses: int = 0
    unproven: list[str] = field(default_factory=list)
    layerwise: bool = False
    fits: dict[str, Fit] = field(default_factory=dict)

    def is_stock(self, layer: str) -> bool:
        """Whether a layer is Lava's own neuron."""
        return layer in self.fits and not self.fits[layer].reason

    @property
    def stock(self) -> list[str]:
        """Layers that are Lava's own neurons."""
        return [layer for layer in self.fits if self.is_stock(layer)]

    def add(self, process: Process) -> Process:
        """Add a process."""
        self.processes[process.name] = process
        return process

    def readers(self) -> dict[str, list[str]]:
        """For each process, the processes that it sends to."""
        readers: dict[str, list[str]] = {name: [] for name in self.processes}
        for process in self.processes.values():
            for wire in process.wires:
                readers[wire.process].append(process.name)
        return readers


def merge_delays(plan: Plan) -> None:
    """Let one-to-one synapses that only feed a delay hold that delay themselves."""
    readers = plan.readers()
    for process in list(plan.processes.values()):
        source = plan.processes[process.wires[0].process] if process.wires else None
        if not isinstance(process.call, Delay) or source is None:
            continue
        one = source.call
        if isinstance(one, OneToOne) and not one.delay and len(readers[source.name]) == 1:
            # A synapse takes one step, as the delay's own synapse does: the sum stays the same.
            delay = process.call.steps
            plan.processes[process.name] = replace(
                source,
                name=process.name,
                call=replace(one, delay=delay),
                comment=f"{source.comment}, later by {delay}",
            )
            del plan.processes[source.name]


def drop_unread(plan: Plan) -> None:
    """Leave out inputs that nothing reads."""
    for name, readers in plan.readers().items():
        if not readers and isinstance(plan.processes[name].call, InputSource | ConstantSource):
            del plan.processes[name]


def connected(plan: Plan) -> bool:
    """Whether all processes hang together: Lava runs one connected network."""
    neighbours: dict[str, set[str]] = {name: set() for name in plan.processes}
    for process in plan.processes.values():
        for wire in process.wires:
            neighbours[process.name].add(wire.process)
            neighbours[wire.process].add(process.name)
    seen: set[str] = set()
    todo = list(neighbours)[:1]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo.extend(neighbours[name] - seen)
    return len(seen) == len(neighbours)


def connections(process: Process) -> Iterator[tuple[str, str]]:
    """The Python sources of both ends of each wire into a process's InPort."""
    for wire in process.wires:
        source = f"{wire.process}.{wire.port}{_view(wire, process)}"
        yield source, f"{process.name}.{process.in_port}"


def _view(wire: Wire, process: Process) -> str:
    """Virtual ports that bring a wire's elements into the order of the InPort."""
    have, want = wire.port_shape, process.in_shape
    if wire.transposed and process.transposed and have == want:
        return ""
    turn, view = ".transpose((2, 1, 0))", ""
    if have != want:
        view = ".flatten()" if len(want) == 1 else f".reshape({want})"
    return turn * wire.transposed + view + turn * process.transposed
