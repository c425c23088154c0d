"""What an operation is: its attributes, its shape and type rule, and its NumPy meaning."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    ClassVar,
    Literal,
    TypeAlias,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import numpy as np

from spikec.ir.errors import InvalidGraph
from spikec.ir.exact import magnitude, unbounded, wide
from spikec.ir.types import SPIKE, Array, DType, TensorType, spread

if TYPE_CHECKING:
    from typing_extensions import Self

Value = Array
Interval: TypeAlias = tuple[Value, Value]
"""Smallest and largest value of each element, both (*shape)."""
AttrValue: TypeAlias = "bool | int | float | str | tuple[int, ...]"
Attrs = Mapping[str, AttrValue]
Params = Mapping[str, Value]
Gradients: TypeAlias = tuple["list[Value]", "dict[str, Value]"]
"""Of each input, and of params by role."""

Core: TypeAlias = Annotated["int | None", "first neurocore that holds the layer"]

STAGES = ("ann", "snn", "int")
MOST = (1 << 63) - 1
"""The largest integer that an engine holds."""


ParamKind: TypeAlias = Literal["weight", "current", "potential", "number", "unit", "real"]
"""What a param is, and with it what becomes of it in integers: a weight; a current or a potential
of a membrane, in its unit; a plain integer that has no unit; the real value of a unit, which
integer arithmetic never touches; or a real number of stage ann."""


@dataclass(frozen=True, slots=True)
class ParamSpec:
    """One param of an op.

    Attributes:
        doc: What it means.
        kind: What it is.
        required: Whether each node must have it.
        share: Of a neuron's potential besides theta and v0: the share of theta that passes start
            with.
    """

    doc: str
    kind: ParamKind
    required: bool = True
    share: float | None = None

    @property
    def is_unit(self) -> bool:
        """Whether it only says what integers stand for."""
        return self.kind == "unit"


EXPONENT = ParamSpec(
    "sums are shifted left by so many bits, per output channel", "number", required=False
)
"""Of synapses: the weights are mantissas, as those of Loihi's synapses with `weight_exp`."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of an op, as its annotation states it.

    Attributes:
        name: Of the field.
        doc: What it means: the annotation is `Annotated[type, doc]`.
        kind: `int`, `float`, `bool`, `str`, or `tuple` for integers.
        choices: The values that a `Literal` lists.
        optional: Whether it may be None, which the text leaves out.
        required: Whether the text and the builders must set it: the field has no default.
    """

    name: str
    doc: str
    kind: type
    choices: tuple[str, ...]
    optional: bool
    required: bool

    def check(self, value: object) -> None:
        """Raise InvalidGraph unless `value` is of the attribute's kind."""
        if value is None and self.optional:
            return
        accepted = (float, int) if self.kind is float else self.kind
        if not isinstance(value, accepted) or isinstance(value, bool) != (self.kind is bool):
            kind = self.kind.__name__
            raise InvalidGraph(f"attribute '{self.name}' must be {kind}, not {value!r}")
        if isinstance(value, tuple) and not all(type(item) is int for item in value):
            raise InvalidGraph(f"attribute '{self.name}' must hold integers, not {value!r}")
        numbers = value if isinstance(value, tuple) else (value,)
        if any(type(item) is int and abs(item) > MOST for item in numbers):
            raise InvalidGraph(f"attribute '{self.name}' must fit 64-bit integers, not {value!r}")
        if self.choices and value not in self.choices:
            known = " or ".join(f"'{choice}'" for choice in self.choices)
            raise InvalidGraph(f"unknown {self.name} '{value}'", hint=known)


@dataclass(frozen=True, slots=True)
class Op:
    """An operation of the graph with its attributes: the fields of a frozen dataclass.

    Subclass it in one file of `ir/ops` as `@dataclass(frozen=True, slots=True)`; the file's name is
    its name. A field is declared `Annotated[type, "what it means"]`, and its default is what the
    text and the builders fill in.

    A stateless op implements `run` on arrays with one leading batch axis.
    """

    name: ClassVar[str] = ""
    stages: ClassVar[tuple[str, ...]] = STAGES
    arity: ClassVar[int | None] = 1
    """Number of inputs; None means one or more."""
    params: ClassVar[Mapping[str, ParamSpec]] = {}
    result: ClassVar[Literal["current", "spike", "same"]] = "current"
    """`current` (a float, at stage int an integer), `spike`, or `same` (the first input's type)."""
    linear: ClassVar[bool] = False
    """Affine in its inputs, so that currents and spikes may pass through it."""
    weighted: ClassVar[bool] = False
    """A synapse: multiplies its input with the param `w`."""
    activation: ClassVar[bool] = False
    """A nonlinearity of the ann stage that becomes a neuron."""
    neuron: ClassVar[bool] = False
    stateful: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        if "name" not in vars(cls):
            cls.name = cls.__module__.rpartition(".")[2]

    @classmethod
    def schema(cls) -> Mapping[str, Attribute]:
        """The op's attributes by name, in the order of the text."""
        if cls not in _SCHEMAS:
            hints = get_type_hints(cls, include_extras=True)
            ordered = sorted(fields(cls), key=lambda field: field.name == "core")  # written last
            attributes = (_attribute(field, hints[field.name]) for field in ordered)
            _SCHEMAS[cls] = {attribute.name: attribute for attribute in attributes}
        return _SCHEMAS[cls]

    @classmethod
    def of(cls, attributes: Attrs) -> Self:
        """The op with these attributes and its defaults for the others.

        Raises:
            InvalidGraph: naming an attribute that is unknown, missing or of another kind.
        """
        schema = cls.schema()
        for name, value in attributes.items():
            if name not in schema:
                raise InvalidGraph(f"unknown attribute '{name}'")
            schema[name].check(value)
        for name, attribute in schema.items():
            if name not in attributes and attribute.required:
                raise InvalidGraph(f"attribute '{name}' is missing")
        return cls(**attributes)

    def attributes(self) -> dict[str, AttrValue]:
        """The attributes that are set, by name."""
        values = ((name, getattr(self, name)) for name in self.schema())
        return {name: value for name, value in values if value is not None}

    def check_attributes(self) -> None:
        """Raise InvalidGraph for an attribute that is not of its kind."""
        for name, attribute in self.schema().items():
            attribute.check(getattr(self, name))

    def infer(
        self, inputs: Sequence[TensorType], params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        """The result's shape; raises InvalidGraph when inputs, attributes and params do not fit."""
        return inputs[0].shape

    def run(self, inputs: Sequence[Value], params: Params) -> Value:
        """The result for inputs of shape (batch, *shape); float or exact integer arithmetic."""
        raise InvalidGraph(f"{self.name} has no value of a single step")

    def backward(self, gradient: Value, inputs: Sequence[Value], params: Params) -> Gradients:
        """The gradients of the inputs and of params, from that of the result; for real numbers.

        Args:
            gradient: (batch, *shape) of the result.
            inputs: As `run` took them.
            params: As `run` took them.
        """
        raise InvalidGraph(f"{self.name} has no gradient")

    @property
    def differentiable(self) -> bool:
        """Whether it has gradients."""
        return type(self).backward is not Op.backward

    def payload_type(self, inputs: Sequence[TensorType]) -> DType:
        """The result's type, where it is spikes."""
        return SPIKE

    def dtype_problem(self, stage: str, inputs: Sequence[TensorType], dtype: DType) -> str | None:
        """Why `dtype` cannot be the result type at `stage`, or None if it can."""
        if self.result == "spike":
            spiking = self.payload_type(inputs)
            return None if dtype == spiking else f"result must be {spiking}, not {dtype}"
        if self.result == "same":
            want = inputs[0].dtype
            return None if dtype == want else f"result must be {want} as its input, not {dtype}"
        if stage == "int":
            return None if dtype.is_integer and not dtype.is_spike else f"{dtype} at stage int"
        wanted = f"result must be a float at stage {stage}, not {dtype}"
        return None if dtype.kind == "f" else wanted


@dataclass(frozen=True, slots=True)
class Stateful(Op, ABC):
    """Base of the ops that hand something from one step to the next."""

    core: Core = field(default=None, kw_only=True)

    title: ClassVar[str] = ""
    """What reports call it."""
    stages = ("snn", "int")
    stateful = True
    radix: ClassVar[bool] = False
    """Whether the spikes of a window are binary digits, the most significant one first."""

    @abstractmethod
    def scan(self, inputs: Sequence[Value], params: Params, steps: int) -> tuple[Value, Value]:
        """Output and membrane potential of every step, both (steps, batch, *shape).

        Inputs are (steps, batch, *shape), or (1, batch, *shape) where constant over time.
        """

    @abstractmethod
    def potential_bounds(
        self,
        single: Interval,
        mean: Interval,
        params: Params,
        steps: int,
    ) -> Interval | None:
        """Smallest and largest potential in `steps` steps, before or after a reset; integers.

        Args:
            single: Bounds of the input in each step (*shape).
            mean: Bounds of its mean over the first t steps, for every t (*shape).
            params: Spread over the shape, `bias` included.
            steps: T.

        Returns:
            None where no bound is known.
        """


@dataclass(frozen=True, slots=True)
class Synapse(Op, ABC):
    """Base of the ops that multiply their input with the weights `w` and may add `b`.

    `y = 2^exponent (w x) + b`; without exponents `w x + b`.
    """

    one_to_one: ClassVar[bool] = False
    """Whether each element meets one weight alone, so that weights are amplitudes."""
    linear = True
    weighted = True

    @staticmethod
    def expect_exponent(params: Mapping[str, TensorType], channels: tuple[int, ...]) -> None:
        """Check that weight exponents, if there are any, are one per output channel."""
        if "exponent" in params:
            type_ = params["exponent"]
            fits = type_.shape == channels and type_.dtype.kind == "u" and type_.dtype.bits <= 5
            expect(fits, f"exponent must be {list(channels)} of at most u5, not {type_}")

    @staticmethod
    def finished(total: Value, params: Params) -> Value:
        """What the synapse gives for the sum `w x`."""
        shape = total.shape[1:]
        if "exponent" in params:
            exponent = spread(params["exponent"], shape)
            whole = total.dtype.kind != "f"
            total = total << exponent.astype(np.int64) if whole else total * np.exp2(exponent)
        return total + wide(spread(params["b"], shape)) if "b" in params else total

    def whole_weights(self, params: Params) -> Value:
        """The weights with their exponents multiplied in; exact, Python's integers beyond int64."""
        w = params["w"]
        if "exponent" not in params:
            return w
        factor = np.left_shift(1, params["exponent"].astype(np.int64))
        fits = magnitude(w) * magnitude(factor) <= MOST
        return self.scale_outputs(wide(w) if fits else unbounded(w), factor)

    @abstractmethod
    def scale_inputs(self, w: Value, factor: Value) -> Value:
        """The weights with `factor` (input channels,) multiplied into them."""

    @abstractmethod
    def scale_outputs(self, w: Value, factor: Value) -> Value:
        """The weights with `factor` (output channels,) multiplied into them."""

    @abstractmethod
    def by_output(self, w: Value) -> Value:
        """The weights that reach each output channel (output channels, weights)."""

    @abstractmethod
    def fan_out(self, shape: tuple[int, ...], w: Value) -> Value:
        """How many non-zero weights each input element meets, of `shape`."""

    @abstractmethod
    def synaptic_operations(
        self, inputs: Sequence[TensorType], params: Mapping[str, TensorType]
    ) -> int:
        """Multiply-accumulates per sample and step if every input were non-zero."""


_SCHEMAS: dict[type[Op], Mapping[str, Attribute]] = {}


def _attribute(declared: Field[object], hint: object) -> Attribute:
    kind, doc = get_args(hint) if get_origin(hint) is Annotated else (hint, "")
    optional = get_origin(kind) in (Union, UnionType)
    if optional:
        kind = next(part for part in get_args(kind) if part is not NoneType)
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    plain = str if choices else get_origin(kind) or kind
    if plain not in (int, float, bool, str, tuple):
        raise TypeError(f"attribute '{declared.name}' has no kind that the text can hold: {hint}")
    return Attribute(declared.name, doc, plain, choices, optional, declared.default is MISSING)


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


def summed_to(gradient: Value, shape: tuple[int, ...]) -> Value:
    """The gradient of a param of `shape` from that of what it was spread over (batch, *spread)."""
    total: Value = gradient.sum(axis=0)
    if shape == total.shape[:1]:
        return total.reshape(len(total), -1).sum(axis=1)
    if not shape:
        return total.sum()
    axes = tuple(
        i for i, (size, wide) in enumerate(zip(shape, total.shape, strict=True)) if size < wide
    )
    return total.sum(axis=axes, keepdims=True)


def steps_of(current: Value, steps: int) -> Value:
    """View `current` with `steps` entries on the time axis, repeating a constant one."""
    if current.shape[0] == steps:
        return current
    return np.broadcast_to(current, (steps, *current.shape[1:]))
