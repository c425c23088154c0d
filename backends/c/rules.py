"""What prints the rule of a neuron: one function for each."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any

from spikec.backends.c.functions import print_watch
from spikec.backends.c.layout import CType
from spikec.backends.c.network import Lanes, Network, element
from spikec.backends.c.writer import Code, mul
from spikec.backends.lowering.records import (
    Integers,
    Integrate,
    IntegrateGraded,
    IntegrateInteger,
    IntegrateRadix,
    IntegrateSigned,
    IntegrateWindow,
    Layer,
    Rule,
    Spikes,
    doubles,
)


@dataclass(slots=True)
class Firing:
    """A layer's neurons in one step: `v` holds the potentials before reset.

    Attributes:
        code: Where to print.
        network: What is printed.
        lanes: The neurons.
        layer: Their layer.
        type: Of potentials.
    """

    code: Code
    network: Network
    lanes: Lanes
    layer: Layer
    type: CType

    @property
    def steps(self) -> int:
        """T."""
        return self.network.plan.steps

    def constant(self, role: str, values: Integers) -> str:
        """A neuron's threshold or the like."""
        name = self.layer.result.name
        return element(self.network, self.lanes, f"{name}.{role}", values, f"{role} of {name}")

    def fired(self, plane: int) -> str:
        """Whether a neuron sends an event of a plane."""
        return f"fired{plane}[o]"

    def send(self, plane: int, condition: str) -> None:
        """Set whether a neuron sends an event of a plane."""
        self.code.line(f"{self.fired(plane)} = (uint8_t)({condition});")

    def fires(self, plane: int, condition: str) -> str:
        """Set whether a neuron sends an event of a plane; the variable that says so, 0 or 1.

        It has the type of potentials, as compilers compute best with numbers of one width.
        """
        variable = f"fires{plane}"
        self.code.line(f"const {self.type} {variable} = {condition};")
        self.code.line(f"{self.fired(plane)} = (uint8_t){variable};")
        return variable

    def reset(self, amount: str) -> None:
        """Take from the potential."""
        self.code.line(f"v[o] = ({self.type})(u - {amount});")


def over_lanes(code: Code, lanes: Lanes) -> AbstractContextManager[None]:
    """A loop over the lanes."""
    return code.loop("o", lanes.count)


def over_pixels(code: Code, lanes: Lanes) -> ExitStack:
    """Loops over pixels and their neurons."""
    stack = ExitStack()
    if lanes.pixels > 1:
        stack.enter_context(code.loop("p", lanes.pixels))
    stack.enter_context(code.loop("o", lanes.block))
    return stack


def _potential(firing: Firing) -> None:
    firing.code.line(f"const {firing.type} u = v[o];")


def _integrate(firing: Firing, rule: Integrate) -> None:
    theta = firing.constant("theta", rule.theta)
    _potential(firing)
    up = firing.fires(0, f"u >= {theta}")
    firing.reset(f"({up} ? {theta} : 0)")


def _signed(firing: Firing, rule: IntegrateSigned) -> None:
    theta, neg = firing.constant("theta", rule.theta), firing.constant("theta_neg", rule.theta_neg)
    code = firing.code
    _potential(firing)
    up = firing.fires(0, f"u >= {theta}")
    down = firing.fires(1, f"u < {neg}" if rule.free else f"(u < {neg}) & (net[o] > 0)")
    firing.reset(f"({up} ? {theta} : 0) + ({down} ? {theta} : 0)")
    if not rule.free:
        code.line(f"net[o] = ({firing.type})(net[o] + {up} - {down});")


def _window(firing: Firing, rule: IntegrateWindow) -> None:
    theta = firing.constant("theta", rule.theta)
    _potential(firing)
    amount = f"({firing.fires(0, f'u >= {theta}')} ? {theta} : 0)"
    if rule.free:
        amount += f" + ({firing.fires(1, 'u < 0')} ? {theta} : 0)"
    firing.reset(amount)


def _graded(firing: Firing, rule: IntegrateGraded) -> None:
    theta, fire = firing.constant("theta", rule.theta), firing.constant("fire", rule.fire)
    code, type_ = firing.code, firing.type
    wide = "int64_t" if type_.bits > 32 or _reach(rule) >= 1 << 31 else "int"
    _potential(firing)
    code.line("int payload = 0;")
    for power in (1 << k for k in range(rule.levels)):
        level = mul(fire, power) if fire.isdigit() else f"({wide}){fire} * {power}"
        below = f"u < -({level})"
        below = below if rule.free else f"(({below}) & (net[o] >= {power}))"
        code.line(f"payload = u >= {level} ? {power} : payload;")
        code.line(f"payload = {below} ? -{power} : payload;")
    for plane in range(rule.levels):
        firing.send(plane, f"payload == {1 << plane}")
        firing.send(plane + rule.levels, f"payload == -{1 << plane}")
    firing.reset(f"({wide}){theta} * payload")
    if not rule.free:
        code.line(f"net[o] = ({type_})(net[o] + payload);")


def _reach(rule: IntegrateGraded) -> int:
    """The largest product of a threshold and a payload."""
    return int(max(rule.theta.max(), rule.fire.max())) << rule.levels


def _integer(firing: Firing, rule: IntegrateInteger) -> None:
    theta, code, type_ = firing.constant("theta", rule.theta), firing.code, firing.type
    spikes = firing.layer.result.coding
    assert isinstance(spikes, Spikes)
    _potential(firing)
    code.line(f"{type_} payload = ({type_})(u / {theta} - (u % {theta} < 0));")
    least = f"(-net[o] > {rule.low} ? -net[o] : {rule.low})" if remembers(rule) else str(rule.low)
    code.line(f"payload = ({type_})(payload < {least} ? {least} : payload);")
    code.line(f"payload = ({type_})(payload > {rule.high} ? {rule.high} : payload);")
    for plane in range(len(spikes.payloads)):
        firing.send(plane, f"(unsigned)payload >> {plane} & 1u")
    wide = "int64_t" if int(rule.theta.max()) * (rule.high + 1) >= 1 << 31 else type_
    firing.reset(f"({wide}){theta} * payload")
    if remembers(rule):
        code.line(f"net[o] = ({type_})(net[o] + payload);")


def _radix(firing: Firing, rule: IntegrateRadix) -> None:
    theta, code, steps = firing.constant("theta", rule.theta), firing.code, firing.steps
    wide = "int64_t" if int(rule.theta.max()) << (steps - 1) >= 1 << 31 else "int32_t"
    _potential(firing)
    place = f"(({wide})1 << ({steps - 1} - t))" if steps > 1 else "1"
    code.line(f"const {wide} unit = ({wide})({theta} * {place});")
    amount = f"({firing.fires(0, 'u >= unit')} ? unit : 0)"
    if rule.free:
        amount += f" + ({firing.fires(1, 'u <= -unit')} ? unit : 0)"
    firing.reset(amount)


RULES: dict[type, Callable[[Firing, Any], None]] = {
    Integrate: _integrate,
    IntegrateGraded: _graded,
    IntegrateInteger: _integer,
    IntegrateRadix: _radix,
    IntegrateSigned: _signed,
    IntegrateWindow: _window,
}
"""What prints the firing of a rule, from the potential before reset."""


def begins(firing: Firing) -> str:
    """The potential before the first step."""
    rule = firing.layer.rule
    v0 = None if isinstance(rule, IntegrateRadix) else getattr(rule, "v0", None)
    return "0" if v0 is None else firing.constant("v0", v0)


def charged(rule: Rule) -> str:
    """What is left of the potential when the sum of a step arrives."""
    return "2 * v[o]" if doubles(rule) else "v[o]"


def joined(firing: Firing) -> None:
    """Add what joins the potential after all input, before the first spike."""
    rule = firing.layer.rule
    if isinstance(rule, IntegrateRadix):
        v0 = firing.constant("v0", rule.v0)
        with over_lanes(firing.code, firing.lanes):
            joins = f"(v[o] < 0 ? -({v0}) : {v0})" if rule.free else v0
            firing.code.line(f"v[o] = ({firing.type})(v[o] + {joins});")


def remembers(rule: Rule) -> bool:
    """Whether neurons hold the net sum of what they sent."""
    if isinstance(rule, IntegrateInteger):
        return not rule.free and not rule.gathers
    return isinstance(rule, IntegrateSigned | IntegrateGraded) and not rule.free


def watch(firing: Firing) -> None:
    """Note a potential before reset that leaves its declared width."""
    limits = firing.layer.limits
    if limits is not None:
        print_watch(firing.code, "v[o]", firing.type, limits)
