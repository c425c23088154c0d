"""The neurons that have compiled code; all others run by their own rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from spikec.ir import spread
from spikec.ir.exact import magnitude
from spikec.ir.neuron import Neuron, Sign, step_weights
from spikec.ir.op import Params, Value
from spikec.ir.ops.neurons.integrate import Integrate
from spikec.ir.ops.neurons.integrate_graded import IntegrateGraded
from spikec.ir.ops.neurons.integrate_integer import IntegrateInteger
from spikec.ir.ops.neurons.integrate_radix import IntegrateRadix
from spikec.ir.ops.neurons.integrate_signed import IntegrateSigned
from spikec.ir.ops.neurons.integrate_window import IntegrateWindow
from spikec.ir.ops.neurons.integrate_window_graded import IntegrateWindowGraded
from spikec.ir.ops.neurons.integrate_window_integer import IntegrateWindowInteger
from spikec.runtime import kernels
from spikec.runtime.fast.neurons import POWERS, WHOLE, Rule, unit_rule

_KINDS = {Sign.UNSIGNED: kernels.UNSIGNED, Sign.TAKES_BACK: kernels.SIGNED, Sign.FREE: kernels.FREE}


@dataclass(frozen=True, slots=True)
class Drawn:
    """Some neurons of each channel on calibration data, and what their rates should be.

    Attributes:
        current: Without bias (steps or 1, channels, samples), float32.
        target: Of the rates, in the unit of theta (channels, samples).
        bias: (channels, samples).
        steps: T.
    """

    current: Value
    target: Value
    bias: Value
    steps: int


Scan = Callable[[Neuron, Value, Params, int, bool, bool], tuple[Value, Value | None]]
"""As `scan`."""
Errors = Callable[[Neuron, Drawn, Value, Value, Params], Value]
"""As `rate_errors`."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """Compiled code for a neuron.

    Attributes:
        scan: For a layer of them; None: by their own rule.
        errors: For the search of thresholds.
        rule: How a layer fires that is compiled together with its synapses, from integer params
            and T; None where such layers do not hold these neurons, or not with these params.
    """

    scan: Scan | None
    errors: Errors
    rule: Callable[[Neuron, Params, int], Rule | None]


def scan(
    op: Neuron,
    current: Value,
    params: Params,
    steps: int,
    keep: bool,
    parallel: bool = True,
) -> tuple[Value, Value | None]:
    """Run a layer of neurons for all steps.

    Args:
        op: The neuron.
        current: (steps or 1, batch, *shape), float32, int32 or int64.
        params: By role; each spreads over shape.
        steps: Time steps.
        keep: Whether to return potentials.
        parallel: Whether to use all cores.

    Returns:
        Payloads (steps, batch, *shape) in their storage type, and potentials after the reset.
    """
    kernel = KERNELS.get(type(op))
    if kernel is not None and kernel.scan is not None:
        return kernel.scan(op, current, params, steps, keep, parallel)
    wide = current if current.dtype.kind == "f" else current.astype(np.int64)
    payloads, potentials = op.scan([wide], params, steps)
    return payloads.astype(op.payload.storage), potentials if keep else None


def rate_errors(op: Neuron, drawn: Drawn, theta: Value, v0: Value, params: Params) -> Value:
    """Mean squared error of the rate for each candidate pair of threshold and initial potential.

    Args:
        op: The neuron.
        drawn: Neurons of a layer.
        theta: Candidate thresholds (channels, candidates), float32.
        v0: Candidate initial potentials as fractions of theta (channels, fractions), float32.
        params: The other params, () or (channels,); potentials as shares of theta.

    Returns:
        (channels, candidates, fractions) of `mean((theta * net / T - target)^2)`.
    """
    kernel = KERNELS.get(type(op))
    return (kernel.errors if kernel else errors_of_rule)(op, drawn, theta, v0, params)


def errors_of_rule(op: Neuron, drawn: Drawn, theta: Value, v0: Value, params: Params) -> Value:
    """`rate_errors` by the neuron's own rule, one candidate after the other."""
    current = (drawn.current + drawn.bias).swapaxes(1, 2)
    errors = np.empty((*theta.shape, v0.shape[1]))
    for k, threshold in enumerate(theta.T):
        scaled = {
            role: array * threshold if op.params[role].kind == "potential" else array
            for role, array in params.items()
        }
        for r, fraction in enumerate(v0.T):
            own = {**scaled, "theta": threshold, "v0": fraction * threshold}
            payloads = op.scan([current], own, drawn.steps)[0]
            weights = step_weights(drawn.steps, radix=op.radix)
            net = np.tensordot(weights, payloads, axes=1).T
            rate = net * (threshold / np.float32(weights.sum()))[:, None]
            errors[:, k, r] = ((rate - drawn.target) ** 2).mean(axis=1)
    return errors


def _flat(params: Params, role: str, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Value:
    array = spread(np.asarray(params.get(role, 0)), shape)
    return np.ascontiguousarray(np.broadcast_to(array, shape), dtype=dtype).reshape(-1)


def _results(
    op: Neuron, current: Value, steps: int, keep: bool
) -> tuple[Value, Value, Value, tuple[int, ...]]:
    """Rows of current, arrays for payloads and potentials, and the shape of both."""
    rows = np.ascontiguousarray(current).reshape(*current.shape[:2], -1)
    payloads = np.empty((steps, *rows.shape[1:]), op.payload.storage)
    potentials = np.empty(payloads.shape if keep else (0, 0, 0), current.dtype)
    return rows, payloads, potentials, (steps, *current.shape[1:])


def _unit_scan(
    op: Neuron, current: Value, params: Params, steps: int, keep: bool, parallel: bool
) -> tuple[Value, Value | None]:
    rows, payloads, potentials, full = _results(op, current, steps, keep)
    roles = ("theta", "v0", "bias", "theta_neg")
    parts = [_flat(params, role, full[2:], current.dtype) for role in roles]
    theta, v0, bias, below = parts
    kernels.scan(rows, theta, v0, bias, below, _KINDS[op.sign], payloads, potentials, parallel)
    return payloads.reshape(full), potentials.reshape(full) if keep else None


def _graded_scan(
    op: Neuron, current: Value, params: Params, steps: int, keep: bool, parallel: bool
) -> tuple[Value, Value | None]:
    rows, payloads, potentials, full = _results(op, current, steps, keep)
    roles = ("theta", "v0", "bias", "fire")
    parts = [_flat(params, role, full[2:], current.dtype) for role in roles]
    theta, v0, bias, fire = parts
    levels, free = op.payload.levels, op.sign is Sign.FREE
    kernels.scan_graded(rows, theta, v0, bias, fire, levels, free, payloads, potentials, parallel)
    return payloads.reshape(full), potentials.reshape(full) if keep else None


def _whole_scan(
    op: Neuron, current: Value, params: Params, steps: int, keep: bool, parallel: bool
) -> tuple[Value, Value | None]:
    if current.dtype.kind != "f":
        current = current.astype(np.int64)
    rows, payloads, potentials, full = _results(op, current, steps, keep)
    roles = ("theta", "v0", "bias")
    theta, v0, bias = (_flat(params, role, full[2:], current.dtype) for role in roles)
    low, high = op.limits if isinstance(op, IntegrateInteger) else op.payload.bounds
    free = op.sign is Sign.FREE
    kernels.scan_whole(
        rows, theta, v0, bias, low, high, free, op.radix, payloads, potentials, parallel
    )
    return payloads.reshape(full), potentials.reshape(full) if keep else None


def _after_window(scan: Scan) -> Scan:
    """Neurons that gather do as those that do not, on what they gathered and nothing after it."""

    def gathered(
        op: Neuron, current: Value, params: Params, steps: int, keep: bool, parallel: bool
    ) -> tuple[Value, Value | None]:
        if current.dtype.kind != "f":
            current = current.astype(np.int64)
        v = op.start(current, op.spread_params(params, current.shape[2:], current), steps).v
        own = {role: p for role, p in params.items() if role not in ("v0", "bias")}
        pulse = np.stack([v, np.zeros_like(v)])
        return scan(op, pulse, own, steps, keep, parallel)

    return gathered


def _unit_errors(op: Neuron, drawn: Drawn, theta: Value, v0: Value, params: Params) -> Value:
    parts = drawn.current, drawn.target, theta, v0, drawn.bias
    return kernels.search_errors(*parts, _KINDS[op.sign], drawn.steps)


def _graded_errors(op: Neuron, drawn: Drawn, theta: Value, v0: Value, params: Params) -> Value:
    fire = np.broadcast_to(params["fire"], theta.shape[:1]).astype(np.float32)
    parts = drawn.current, drawn.target, theta, v0, fire, drawn.bias
    free = op.sign is Sign.FREE
    return kernels.search_graded_errors(*parts, op.payload.levels, free, drawn.steps)


def _graded_window_errors(
    op: Neuron, drawn: Drawn, theta: Value, v0: Value, params: Params
) -> Value:
    """Neurons that gather do as those that do not, on all their current at once."""
    gain = drawn.steps if len(drawn.current) == 1 else 1
    total = drawn.current.sum(axis=0) * gain + drawn.bias * drawn.steps
    pulse = np.stack([total, np.zeros_like(total)]).astype(np.float32)
    return _graded_errors(op, replace(drawn, current=pulse, bias=drawn.bias * 0), theta, v0, params)


def _window_errors(op: Neuron, drawn: Drawn, theta: Value, v0: Value, params: Params) -> Value:
    """Neurons that integrate all steps before they fire: the count has a closed form."""
    weights = step_weights(drawn.steps, radix=op.radix).astype(np.float32)
    weight = weights.sum()
    constant = len(drawn.current) == 1
    total = drawn.current[0] * weight if constant else np.tensordot(weights, drawn.current, 1)
    total = (total + drawn.bias * weight).astype(np.float32)
    magnitudes = op.radix and op.sign is Sign.FREE
    lowest, highest = op.net_bounds(drawn.steps)
    return kernels.search_window_errors(
        total, drawn.target, theta, v0, weight, lowest, highest, magnitudes
    )


def _integer_errors(op: Neuron, drawn: Drawn, theta: Value, v0: Value, params: Params) -> Value:
    """In one step there is nothing to take back: a closed form."""
    closed = drawn.steps == 1
    return (_window_errors if closed else errors_of_rule)(op, drawn, theta, v0, params)


def _unit_rule(op: Neuron, params: Params, steps: int) -> Rule | None:
    return unit_rule(params["theta"])


def _signed_rule(op: Neuron, params: Params, steps: int) -> Rule | None:
    below = params["theta_neg"]
    return unit_rule(params["theta"], below - 1) if (below <= 0).all() else None


def _window_rule(op: Neuron, params: Params, steps: int) -> Rule | None:
    theta = params["theta"]
    return unit_rule(theta, np.full_like(theta, -1) if op.sign is Sign.FREE else None)


def _radix_rule(op: Neuron, params: Params, steps: int) -> Rule | None:
    if magnitude(params["theta"]) << (steps - 1) >= 1 << 31:
        return None
    theta = params["theta"] << (steps - 1)
    return unit_rule(theta, -theta if op.sign is Sign.FREE else None)


def _graded_rule(op: Neuron, params: Params, steps: int) -> Rule | None:
    """Where firing never raises a potential."""
    theta, fire = params["theta"], params["fire"]
    most = op.payload.bounds[1]
    return Rule(POWERS, theta, fire, fire * 0, -most, most) if (2 * fire >= theta).all() else None


def _integer_rule(op: Neuron, params: Params, steps: int) -> Rule | None:
    assert isinstance(op, IntegrateInteger)
    theta = params["theta"]
    return Rule(WHOLE, theta, theta, theta * 0, *op.limits)


KERNELS: dict[type[Neuron], Kernel] = {
    Integrate: Kernel(_unit_scan, _unit_errors, _unit_rule),
    IntegrateSigned: Kernel(_unit_scan, _unit_errors, _signed_rule),
    IntegrateGraded: Kernel(_graded_scan, _graded_errors, _graded_rule),
    IntegrateWindow: Kernel(_after_window(_unit_scan), _window_errors, _window_rule),
    IntegrateRadix: Kernel(_after_window(_whole_scan), _window_errors, _radix_rule),
    IntegrateInteger: Kernel(_whole_scan, _integer_errors, _integer_rule),
    IntegrateWindowGraded: Kernel(_after_window(_graded_scan), _graded_window_errors, _graded_rule),
    IntegrateWindowInteger: Kernel(_after_window(_whole_scan), _window_errors, _integer_rule),
}
"""The engine's table of neurons."""
