# mypy: allow-subclassing-any, disable-error-code="import-not-found,no-any-return"
"""Graded input that is constant during each sample."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from numpy.typing import NDArray


class Source(AbstractProcess):
    """Sends sample i in the steps offset + i * steps + 1 to offset + (i + 1) * steps, else zeros.

    Args:
        data: Integers (samples, *shape).
        steps: Time steps per sample.
        offset: Steps before the first sample.
        name: The input's name.
    """

    def __init__(
        self, *, data: NDArray[Any], steps: int, offset: int = 0, name: str | None = None
    ) -> None:
        super().__init__(data=data, steps=steps, offset=offset, name=name)
        self.s_out = OutPort(shape=data.shape[1:])


class SourceModel(PyLoihiProcessModel):
    """Sends, for both arithmetics."""

    kind: Any = np.int32

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.data = proc_params["data"]
        self.steps = proc_params["steps"]
        self.offset = proc_params["offset"]

    def run_spk(self) -> None:
        """One time step."""
        sample = (self.time_step - 1 - self.offset) // self.steps
        if 0 <= sample < len(self.data):
            self.s_out.send(self.data[sample].astype(self.kind))
        else:
            self.s_out.send(np.zeros(self.data.shape[1:], self.kind))


@implements(proc=Source, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PySourceFixed(SourceModel):
    """Integers of up to 24 bits."""

    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)


@implements(proc=Source, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PySourceFloat(SourceModel):
    """Floating point."""

    kind = np.float64
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
