"""What an operation is: its schema, its shape and type rule, and its NumPy meaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spikec.ir.errors import InvalidGraph
from spikec.ir.types import DType, TensorType, spikes, spread

Value = NDArray[Any]
AttrValue: TypeAlias = "bool | int | float | str | tuple[int, ...] | tuple[float, ...]"
Attrs = Mapping[str, AttrValue]
Params = Mapping[str, Value]

STAGES = ("ann", "snn", "int")


@dataclass(frozen=True, slots=True)
class Attr:
    """One attribute of an op's schema; required when `default` is None and not `optional`."""

    kind: type
    doc: str
    default: AttrValue | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True)
class ParamSpec:
    """One param of an op's schema."""

    doc: str
    required: bool = True
    units_only: bool = False
    """True for real-valued units that integer arithmetic never touches."""


UNITS = ParamSpec("real value of one integer unit, per channel", required=False, units_only=True)
EXPONENT = ParamSpec("sums are shifted left by so many bits, per output channel", required=False)
"""Of synapses: the weights are mantissas, as those of Loihi's synapses with `weight_exp`."""
PLACEMENT = {"core": Attr(int, "first neurocore that holds the layer", optional=True)}


class Op:
    """An operation of the graph. Subclass it in one file of `ir/ops`; the file's name is its name.

    A stateless op implements `run` on arrays with one leading batch axis. A stateful op (neurons,
    readout, spiking max pooling) implements `scan` on arrays with leading time and batch axes.
    """

    name: ClassVar[str] = ""
    stages: ClassVar[tuple[str, ...]] = STAGES
    arity: ClassVar[int | None] = 1
    """Number of inputs; None means one or more."""
    attrs: ClassVar[Mapping[str, Attr]] = {}
    params: ClassVar[Mapping[str, ParamSpec]] = {}
    result: ClassVar[str] = "current"
    """`current` (a float, at stage int an integer), `spike`, or `same` (the first input's type)."""
    linear: ClassVar[bool] = False
    """Affine in its inputs, so that currents and spikes may pass through it."""
    weighted: ClassVar[bool] = False
    """A synapse: multiplies its input with the param `w`."""
    activation: ClassVar[bool] = False
    """A nonlinearity of the ann stage that becomes a neuron."""
    neuron: ClassVar[bool] = False
    stateful: ClassVar[bool] = False

    def infer(
        self, inputs: Sequence[TensorType], attrs: Attrs, params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        """The result's shape; raises InvalidGraph when inputs, attrs and params do not fit."""
        return inputs[0].shape

    def run(self, inputs: Sequence[Value], attrs: Attrs, params: Params) -> Value:
        """The result for inputs of shape (batch, *shape); float or exact integer arithmetic."""
        raise NotImplementedError(self.name)

    def scan(
        self, inputs: Sequence[Value], attrs: Attrs, params: Params, steps: int
    ) -> tuple[Value, Value]:
        """Output and membrane potential of every step, both (steps, batch, *shape).

        Inputs are (steps, batch, *shape), or (1, batch, *shape) where constant over time.
        """
        raise NotImplementedError(self.name)

    def scale_inputs(self, w: Value, factor: Value, attrs: Attrs) -> Value:
        """The weights of a synapse with `factor` (input channels,) multiplied into them."""
        raise NotImplementedError(self.name)

    def scale_outputs(self, w: Value, factor: Value, attrs: Attrs) -> Value:
        """The weights of a synapse with `factor` (output channels,) multiplied into them."""
        raise NotImplementedError(self.name)

    def output_magnitudes(self, w: Value, attrs: Attrs) -> Value:
        """The largest absolute weight of each output channel (output channels,)."""
        raise NotImplementedError(self.name)

    def fan_out(self, shape: tuple[int, ...], attrs: Attrs, w: Value) -> Value:
        """How many non-zero weights of a synapse each input element meets, of `shape`."""
        raise NotImplementedError(self.name)

    def payload_levels(self, inputs: Sequence[TensorType], attrs: Attrs) -> int:
        """The `levels` of the result's spike type, where it is one."""
        return 1

    def synaptic_operations(
        self, inputs: Sequence[TensorType], attrs: Attrs, params: Mapping[str, TensorType]
    ) -> int:
        """Multiply-accumulates per sample and step if every input were non-zero."""
        return 0


def expect(condition: bool, message: str) -> None:
    """Raise InvalidGraph with `message` unless `condition` holds."""
    if not condition:
        raise InvalidGraph(message)


def expect_spread(params: Mapping[str, TensorType], shape: tuple[int, ...]) -> None:
    """Check that every param is per tensor, per channel (axis 0) or broadcasts to `shape`."""
    for role, type_ in params.items():
        fits = type_.shape in ((), shape[:1]) or (
            len(type_.shape) == len(shape)
            and all(have in (1, want) for have, want in zip(type_.shape, shape, strict=True))
        )
        expect(fits, f"param '{role}' of shape {list(type_.shape)} does not fit {list(shape)}")


def steps_of(current: Value, steps: int) -> Value:
    """View `current` with `steps` entries on the time axis, repeating a constant one."""
    if current.shape[0] == steps:
        return current
    return np.broadcast_to(current, (steps, *current.shape[1:]))


def expect_exponent(params: Mapping[str, TensorType], channels: tuple[int, ...]) -> None:
    """Check that a synapse's weight exponents, if it has any, are one per output channel."""
    if "exponent" in params:
        type_ = params["exponent"]
        fits = type_.shape == channels and type_.dtype.kind == "u" and type_.dtype.bits <= 5
        expect(fits, f"exponent must be {list(channels)} of at most u5, not {type_}")


def finished(total: Value, params: Params) -> Value:
    """What a synapse gives for its sum: `total * 2^exponent + b`."""
    shape = total.shape[1:]
    if "exponent" in params:
        exponent = spread(params["exponent"], shape)
        whole = total.dtype.kind != "f"
        total = total << exponent.astype(np.int64) if whole else total * np.exp2(exponent)
    return total + spread(params["b"], shape) if "b" in params else total


def check_dtype(
    op: Op, stage: str, inputs: Sequence[TensorType], attrs: Attrs, dtype: DType
) -> str | None:
    """Why `dtype` cannot be the result type of `op` at `stage`, or None if it can."""
    if op.result == "spike":
        spiking = spikes(op.payload_levels(inputs, attrs))
        return None if dtype == spiking else f"result must be {spiking}, not {dtype}"
    if op.result == "same":
        want = inputs[0].dtype
        return None if dtype == want else f"result must be {want} as its input, not {dtype}"
    if stage == "int":
        return None if dtype.is_integer and dtype.kind != "spike" else f"{dtype} at stage int"
    return None if dtype.kind == "f" else f"result must be a float at stage {stage}, not {dtype}"
