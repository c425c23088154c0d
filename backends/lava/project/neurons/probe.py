# mypy: allow-subclassing-any, disable-error-code="import-not-found,no-any-return"
"""Records what a stock neuron of Lava does."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyRefPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, RefPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from numpy.typing import NDArray


class Probe(AbstractProcess):
    """Writes spikes and potentials of an ATRLIF as `Layer.trace` does.

    Args:
        half: Half of each neuron's threshold, (*shape); the potential is `(v - r) / unit + half`.
        unit: What v and r hold for a potential of 1.
        offset: Synapses on the longest path from the input.
        total: Steps to write.
        spikes: File for spikes, or None.
        potentials: File for potentials, or None.
    """

    def __init__(
        self,
        *,
        half: NDArray[Any],
        unit: int,
        offset: int,
        total: int,
        spikes: str | None,
        potentials: str | None,
    ) -> None:
        super().__init__(
            half=half, unit=unit, offset=offset, total=total, spikes=spikes, potentials=potentials
        )
        self.a_in = InPort(shape=half.shape)
        self.v = RefPort(shape=half.shape)
        self.r = RefPort(shape=half.shape)


class ProbeModel(PyLoihiProcessModel):
    """Records, for both arithmetics."""

    a_in: PyInPort
    v: PyRefPort
    r: PyRefPort

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.half = proc_params["half"]
        self.unit = proc_params["unit"]
        self.offset = proc_params["offset"]
        self.total = proc_params["total"]
        self.spikes = self.file(proc_params["spikes"], np.int8)
        self.potentials = self.file(proc_params["potentials"], np.int32)

    def file(self, path: str | None, kind: Any) -> NDArray[Any] | None:
        """An array on disk for one entry per step, or None when not asked for."""
        if path is None:
            return None
        shape = (self.total, *self.half.shape)
        return np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=shape)

    def run_spk(self) -> None:
        """Take the step's spikes."""
        spikes = self.a_in.recv()
        now = self.time_step - 1 - self.offset
        if self.spikes is not None and 0 <= now < self.total:
            self.spikes[now] = spikes

    def post_guard(self) -> bool:
        """Whether to read the neurons' state after this step."""
        return self.potentials is not None

    def run_post_mgmt(self) -> None:
        """Read the neurons' state after the step."""
        inner = self.v.read() - self.r.read()
        now = self.time_step - 1 - self.offset
        if self.potentials is not None and 0 <= now < self.total:
            self.potentials[now] = inner / self.unit + self.half


@implements(proc=Probe, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyProbeFixed(ProbeModel):
    """Integers."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    v: PyRefPort = LavaPyType(PyRefPort.VEC_DENSE, np.int32, precision=24)
    r: PyRefPort = LavaPyType(PyRefPort.VEC_DENSE, np.int32, precision=24)


@implements(proc=Probe, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyProbeFloat(ProbeModel):
    """Floating point."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    v: PyRefPort = LavaPyType(PyRefPort.VEC_DENSE, float)
    r: PyRefPort = LavaPyType(PyRefPort.VEC_DENSE, float)
