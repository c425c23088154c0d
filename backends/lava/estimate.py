"""What a run in Lava takes, estimated before it starts.

Lava runs each process of the network in a process of the system. The constants were measured with
lava-nc 0.10.0 on Python 3.11, chains of 2 to 25 dense layers of 16 to 1,000 neurons and ResNet-8.
"""

from __future__ import annotations

import math
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from spikec.backends.lava.plan import Plan
from spikec.ir import BackendError, Graph
from spikec.runtime.memory import require

OWN = 4
"""Processes that Lava and Python need beside those of the network."""
BASE, EACH, SYNAPSE, NEURON = 150 << 20, 6 << 20, 32, 200
"""Bytes: of Lava itself, of a process, of a weight that is stored, of an element of a port."""
START, STEP, WEIGHT = 0.25, 0.001, 2e-8
"""Seconds: to start a process; of a process in a step; of a weight that is applied in a step."""
_WAYS = (
    "fewer samples (--limit) or steps; --engines reference,fast computes the same numbers; or run "
    "the project that `--target lava` writes on a larger machine"
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run takes.

    Attributes:
        processes: Of the system.
        memory: Bytes.
        seconds: On a machine with little else to do.
    """

    processes: int
    memory: int
    seconds: float

    @staticmethod
    def of(graph: Graph, plan: Plan, samples: int, steps: int, traced: int) -> Estimate:
        """Of a planned network.

        Args:
            graph: The network.
            plan: Its plan.
            samples: How many.
            steps: Time steps of each.
            traced: Neurons whose spikes and potentials are kept.
        """
        count = len(plan.processes)
        ports = sum(math.prod(wire.port_shape) for p in plan.processes.values() for wire in p.wires)
        weights = sum(array.size for array in plan.weights.values())
        total = samples * steps + plan.depth
        kept = 16 * total * (traced + sum(graph[name].type.size for name in graph.outputs))
        runs = samples if plan.stock else 1  # each is a run of its own
        return Estimate(
            processes=count + OWN,
            memory=BASE + EACH * count + SYNAPSE * weights + NEURON * ports + kept,
            seconds=runs * START * count + total * (STEP * count + WEIGHT * plan.synapses),
        )

    def refuse(self, seconds: float, root: Path = Path("/")) -> None:
        """Raise where the run would not fit.

        Args:
            seconds: What it may take.
            root: Of the file system.

        Raises:
            OutOfMemory: for more memory than there is.
            BackendError: for more processes than the system allows, or more time than `seconds`.
        """
        require(self.memory, f"Lava's run of {self.processes} processes", _WAYS)
        room = processes_left(root)
        if self.processes > room:
            raise BackendError(
                f"Lava would start {self.processes} processes, the system allows {room} more",
                hint=_WAYS,
            )
        if self.seconds > seconds:
            raise BackendError(
                f"Lava would take about {self.seconds / 60:.0f} minutes for these samples, with "
                f"{self.processes} processes; {seconds / 60:.0f} minutes are allowed",
                hint=f"'lava{{seconds={math.ceil(self.seconds * 1.5 / 60) * 60}}}' allows it; "
                + _WAYS,
            )


def processes_left(root: Path = Path("/")) -> int:
    """Processes that may still be started, by the control groups and the user's limit."""
    bounds = [1 << 22]
    with suppress(OSError, ValueError):
        group = (root / "proc/self/cgroup").read_text().splitlines()[-1].split(":", 2)[2]
        place = root / "sys/fs/cgroup" / group.lstrip("/")
        for folder in (place, *place.parents):
            with suppress(OSError, ValueError):  # "max", or a root without limits
                most, used = (
                    int((folder / f"pids.{name}").read_text()) for name in ("max", "current")
                )
                bounds.append(most - used)
    with suppress(ImportError, ValueError):
        import resource

        most = resource.getrlimit(resource.RLIMIT_NPROC)[0]
        if most != resource.RLIM_INFINITY and os.geteuid() != 0:
            bounds.append(most)
    return max(0, min(bounds))
