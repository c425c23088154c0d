"""What a neuron is: all that passes, engines, proofs and reports need to know of one.

A file in `ir/ops/neurons` states a neuron as a subclass of `Neuron`: its rule (`charge`, `fire`,
`amount`), which spikes it sends (`sign`, `payload`, `gathers`), what is known of its potential
(`after_reset`, `reach`), what each of its params is (`ParamSpec.kind`), and whether calibration may
choose it (`offer`). Nothing outside that folder and the engines' tables knows a neuron by name.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from spikec.ir.op import Interval, Params, ParamSpec, Stateful, Value, expect_spread
from spikec.ir.types import SPIKE, DType, TensorType, spread

if TYPE_CHECKING:
    from typing_extensions import Self

FAR = 1 << 62
"""Beyond all potentials."""


class Sign(Enum):
    """Which spikes a neuron sends."""

    UNSIGNED = "positive ones"
    TAKES_BACK = "negative ones too, but its net sum never falls below 0"
    FREE = "positive and negative ones in any order"


@dataclass(frozen=True, slots=True)
class State:
    """What a layer of neurons hands from one step to the next; arrays are (batch, *shape).

    Attributes:
        v: Potentials.
        net: Net sums of the payloads sent so far, int64.
        memory: A number per neuron that a rule may keep for itself, 0 at first, int64.
        step: The step that comes, from 0; of a neuron that gathers, in its firing window.
        steps: T.
    """

    v: Value
    net: Value
    memory: Value
    step: int
    steps: int


@dataclass(frozen=True, slots=True)
class Membrane(Stateful):
    """Base of what has a membrane potential: neurons, and readouts that never fire.

    Params are per tensor, per channel or per neuron.
    """

    params = {
        "bias": ParamSpec("current added in every step", "current", required=False),
        "scale": ParamSpec("real value of one integer unit, per channel", "unit", required=False),
    }
    gathers: ClassVar[bool] = False
    """Whether it integrates a window of T steps and acts in the next T."""

    def infer(
        self, inputs: Sequence[TensorType], params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        """Same shape as the current; every param must fit it."""
        expect_spread(params, inputs[0].shape)
        return inputs[0].shape

    def charge(self, v: Value, current: Value, params: Params) -> Value:
        """The potential after the current of one step.

        It must not fall where v or the current rises: bounds are carried through it.
        """
        return v + (current + params["bias"])

    @abstractmethod
    def reach(self, mean: Interval, params: Params, steps: int) -> Value | None:
        """Largest absolute potential in `steps` steps, before or after the reset (*shape).

        Args:
            mean: Bounds of the mean current over the first t steps, for every t (*shape).
            params: Spread over the shape, `bias` included; real numbers or integers.
            steps: T.

        Returns:
            None where no such bound is known; `quantise` then refuses the layer.
        """

    def spread_params(
        self, params: Params, shape: tuple[int, ...], like: Value
    ) -> dict[str, Value]:
        """The params without units, spread over `shape` in the type of `like`; bias included."""
        used = {role: array for role, array in params.items() if not self.params[role].is_unit}
        wide = {role: spread(array, shape).astype(like.dtype) for role, array in used.items()}
        return {"bias": np.zeros((), like.dtype), **wide}


@dataclass(frozen=True, slots=True)
class Needs:
    """What a pass asks of the neuron that it puts into a network."""

    sign: Sign
    gathers: bool = False
    levels: int = 1
    """Number of payloads 1, 2, 4, ...; 1 for unit events."""
    bits: int = 0
    """Width of integer payloads; 0 for other spikes."""
    radix: bool = False
    """Whether spikes are binary digits, the most significant one first."""


@dataclass(frozen=True, slots=True)
class Neuron(Membrane):
    """Base of the neuron ops."""

    params = {
        "theta": ParamSpec("firing threshold, above 0", "potential"),
        "v0": ParamSpec("initial membrane potential", "potential"),
        **Membrane.params,
    }
    result = "spike"
    neuron = True

    @property
    @abstractmethod
    def sign(self) -> Sign:
        """Which spikes it sends."""

    @property
    def payload(self) -> DType:
        """The type of its spikes."""
        return SPIKE

    def payload_type(self, inputs: Sequence[TensorType]) -> DType:
        return self.payload

    @abstractmethod
    def fire(self, state: State, params: Params) -> Value:
        """The payloads that charged potentials send, in the type of the potentials."""

    def net_bounds(self, steps: int) -> tuple[int, int]:
        """The smallest and the largest sum of its payloads over T steps, each by its weight."""
        low, high = self.payload.bounds
        weight = total_weight(steps, radix=self.radix)
        return weight * low if self.sign is Sign.FREE else 0, weight * high

    def remember(self, state: State, payload: Value) -> Value:
        """The rule's own memory after a step."""
        return state.memory

    def amount(self, payload: Value, params: Params, step: int, steps: int) -> Value:
        """What the reset takes from the potential: `v -= amount`."""
        return params["theta"] * payload

    def gathered(self, v: Value, current: Value, params: Params, steps: int) -> Value:
        """The potential of a neuron that gathers, when its window of input is over."""
        for t in range(steps):
            v = self.charge(v, current[min(t, len(current) - 1)], params)
        return v

    def start(self, current: Value, params: Params, steps: int) -> State:
        """The state before the first step in which it may fire.

        Args:
            current: (steps or 1, batch, *shape).
            params: From `spread_params`.
            steps: T.
        """
        v = np.empty(current.shape[1:], current.dtype)
        v[...] = params["v0"]
        nothing = np.zeros(v.shape, np.int64)
        v = self.gathered(v, current, params, steps) if self.gathers else v
        return State(v, nothing, nothing, 0, steps)

    def step(self, state: State, current: Value, params: Params) -> tuple[Value, State]:
        """What it sends in one step, and the state after it. One that gathers has no current."""
        v = state.v if self.gathers else self.charge(state.v, current, params)
        charged = replace(state, v=v)
        payload = self.fire(charged, params)
        return payload, State(
            v=v - self.amount(payload, params, state.step, state.steps),
            net=state.net + payload.astype(np.int64),
            memory=self.remember(charged, payload),
            step=state.step + 1,
            steps=state.steps,
        )

    def scan(self, inputs: Sequence[Value], params: Params, steps: int) -> tuple[Value, Value]:
        current = inputs[0]
        p = self.spread_params(params, current.shape[2:], current)
        state = self.start(current, p, steps)
        payloads = np.empty((steps, *state.v.shape), current.dtype)
        potentials = np.empty_like(payloads)
        for t in range(steps):
            payloads[t], state = self.step(state, current[min(t, len(current) - 1)], p)
            potentials[t] = state.v
        return payloads, potentials

    def before_reset(self, potentials: Value, payloads: Value, params: Params) -> Value:
        """Charged potentials of all steps from those after the reset, (steps, batch, *shape)."""
        steps = len(potentials)
        parts = [self.amount(payloads[t], params, t, steps) for t in range(steps)]
        return potentials + np.stack(parts)

    @abstractmethod
    def after_reset(self, low: Value, high: Value, params: Params) -> Interval:
        """Bounds of the potential after a step, from those of the charged one; integers."""

    def potential_bounds(
        self, single: Interval, mean: Interval, params: Params, steps: int
    ) -> Interval | None:
        return self.followed(single, params, steps, self.reach(mean, params, steps))

    def followed(
        self, single: Interval, params: Params, steps: int, reach: Value | None = None
    ) -> Interval:
        """Bounds of the potential carried through the rule step by step, never beyond `reach`."""
        shape = single[0].shape
        limit = np.full(shape, FAR) if reach is None else np.ceil(reach).astype(np.int64)
        low = high = np.broadcast_to(params["v0"], shape)
        lowest, highest = low, high
        for _ in range(steps):
            low = np.maximum(self.charge(low, single[0], params), -limit)
            high = np.minimum(self.charge(high, single[1], params), limit)
            lowest, highest = np.minimum(lowest, low), np.maximum(highest, high)
            low, high = self.after_reset(low, high, params)
            low, high = np.maximum(low, -limit), np.minimum(high, limit)
            lowest, highest = np.minimum(lowest, low), np.maximum(highest, high)
        return lowest, highest

    def admissible(self, params: Params) -> dict[str, Value]:
        """Rounded params, moved to where the rule still holds: theta is at least 1."""
        return {**params, "theta": np.maximum(params["theta"], 1)}

    @classmethod
    def shares(cls) -> dict[str, float]:
        """Potentials besides theta and v0, as the shares of theta that passes start with."""
        shares = {role: spec.share for role, spec in cls.params.items()}
        return {role: share for role, share in shares.items() if share is not None}

    @classmethod
    def offer(cls, needs: Needs) -> Self | None:
        """The neuron of this class that calibration may choose for some needs, or None."""
        return None


def step_weights(steps: int, *, radix: bool) -> Value:
    """What a spike of each step counts, int64: 1 each, or of binary digits 2^(T-1-t)."""
    if radix:
        return np.left_shift(1, np.arange(steps - 1, -1, -1, dtype=np.int64))
    return np.ones(steps, np.int64)


def total_weight(steps: int, *, radix: bool) -> int:
    """The sum of `step_weights`: what a constant current adds up to."""
    return (1 << steps) - 1 if radix else steps


def soft_reach(mean: Interval, params: Params, steps: int) -> Value:
    """`|v| <= |v0| + theta + T max(-(low + bias), high + bias, (high - low + |bias|) / 2, 0)`.

    For a potential that grows by the current alone, where firing only brings it towards 0 and a
    negative spike lifts it to at most theta. The third term is for signed spikes: after the layer
    fired, in the first half of the steps, they may take back in the second half what they gave.
    """
    low, high = mean
    bias = params["bias"]
    drift = np.maximum(np.maximum(-(low + bias), high + bias), 0.0)
    drift = np.maximum(drift, (high - low + np.abs(bias)) / 2)
    start = np.abs(params.get("v0", 0.0)) + params.get("theta", 0.0)
    return np.asarray(start + steps * drift)


def hull(*parts: tuple[Value, Value, Value]) -> Interval:
    """Smallest range around those (condition, low, high) whose condition holds."""
    low, high = np.array(FAR), np.array(-FAR)
    for holds, least, most in parts:
        low = np.minimum(low, np.where(holds, least, FAR))
        high = np.maximum(high, np.where(holds, most, -FAR))
    return low, high
