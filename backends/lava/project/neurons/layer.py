# mypy: allow-subclassing-any, disable-error-code="import-not-found,no-any-return"
"""What the layers share: their window of time steps, their range checks and their traces.

A synapse process delivers its current one step after the spikes, so a layer with k synapses
before it works `offset = k` steps late. Samples follow each other: a layer handles sample i in
the steps offset + i * steps + 1 to offset + (i + 1) * steps, starts each from its initial state
and is silent at all other times. A layer that gathers a whole window before it fires sends its
spikes `lag` steps later than that.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from numpy.typing import NDArray

STATE = (-(1 << 23), (1 << 23) - 1)
"""Range of a 24-bit current or potential, as on Loihi 2."""


class Layer(AbstractProcess):
    """Base of the layers.

    Args:
        shape: Shape of the layer, channels first.
        steps: Time steps per sample.
        samples: Number of samples, one after the other.
        offset: Synapses on the longest path from the input.
        name: Name in traces and faults.
        limits: Smallest and largest current and potential; beyond them the run fails.
        given: What else the model needs.
    """

    def __init__(
        self,
        *,
        shape: tuple[int, ...],
        steps: int,
        samples: int = 1,
        offset: int = 0,
        name: str | None = None,
        limits: tuple[int, int] = STATE,
        in_shape: tuple[int, ...] | None = None,
        **given: Any,
    ) -> None:
        super().__init__(
            shape=shape,
            steps=steps,
            samples=samples,
            offset=offset,
            name=name,
            limits=limits,
            **given,
        )
        self.a_in = InPort(shape=in_shape or shape)
        self.s_out = OutPort(shape=shape)

    def trace(self, *, spikes: str | None = None, potentials: str | None = None) -> None:
        """Write traces to .npy files of shape (samples * steps, *shape). Call before the run."""
        self.proc_params.overwrite("spikes", spikes)
        self.proc_params.overwrite("potentials", potentials)


class LayerModel(PyLoihiProcessModel):
    """Base of the models; a subclass says what `begin` and `advance` do."""

    kind: Any = np.int32
    spike_kind: Any = np.int8
    lag: int = 0
    v: NDArray[Any]

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.layer = proc_params["name"]
        self.shape = proc_params["shape"]
        self.steps = proc_params["steps"]
        self.offset = proc_params["offset"]
        self.limits = proc_params["limits"]
        self.total = self.steps * proc_params["samples"]
        self.spikes = self.trace(proc_params.get("spikes"), self.spike_kind)
        self.potentials = self.trace(proc_params.get("potentials"), self.kind)

    def trace(self, path: str | None, kind: Any) -> NDArray[Any] | None:
        """An array on disk for one entry per step, or None when not asked for."""
        if path is None:
            return None
        return np.lib.format.open_memmap(
            path, mode="w+", dtype=kind, shape=(self.total, *self.shape)
        )

    def begin(self) -> None:
        """Take the initial state; called at the start of each sample."""
        raise NotImplementedError

    def advance(self, current: NDArray[Any]) -> NDArray[Any]:
        """Integrate one step's current and return the spikes."""
        raise NotImplementedError

    def gather(self, current: NDArray[Any]) -> None:
        """Take the current of a step; for layers that fire `lag` steps later."""

    def run_spk(self) -> None:
        """One time step."""
        current = self.a_in.recv()
        arrival = self.time_step - 1 - self.offset
        self.now = arrival - self.lag
        spikes = np.zeros(self.shape, self.kind)
        if 0 <= self.now < self.total:
            if self.now % self.steps == 0:
                self.begin()
            spikes = self.advance(current).astype(self.kind)
            self.record(spikes)
        self.now = arrival
        if 0 <= self.now < self.total:
            self.gather(current)
        self.s_out.send(spikes)

    def record(self, spikes: NDArray[Any]) -> None:
        """Write what was asked for."""
        if self.spikes is not None:
            self.spikes[self.now] = spikes
        if self.potentials is not None:
            self.potentials[self.now] = self.v

    def check(self, what: str, value: NDArray[Any]) -> None:
        """Fail when a value leaves its range: nothing wraps or saturates silently.

        Raises:
            OverflowError: whose argument is a dict that names layer, neuron, sample and step.
        """
        low, high = self.limits
        if value.min() >= low and value.max() <= high:
            return
        neuron = tuple(map(int, np.argwhere((value < low) | (value > high))[0]))
        raise OverflowError(
            {
                "layer": self.layer,
                "what": what,
                "neuron": neuron,
                "sample": self.now // self.steps,
                "step": self.now % self.steps + 1,
                "value": int(value[neuron]),
                "limits": self.limits,
            }
        )

    def integrate(self, current: NDArray[Any], bias: NDArray[Any]) -> None:
        """`v += current + bias`, checked. Three 24-bit values fit into 32 bits."""
        self.check("current", current)
        self.v += current + bias
        self.check("potential", self.v)


class FixedPoint:
    """Ports and state of a fixed point layer: 24-bit integers."""

    kind = np.int32
    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    v: NDArray[Any] = LavaPyType(np.ndarray, np.int32, precision=24)


class FloatingPoint:
    """Ports and state of a floating point layer."""

    kind = np.float64
    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    v: NDArray[Any] = LavaPyType(np.ndarray, float)


FIXED = LavaPyType(np.ndarray, np.int32, precision=24)
FLOAT = LavaPyType(np.ndarray, float)
