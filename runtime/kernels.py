"""Compiled neuron kernels, equal step for step to the ops in `spikec.ir.ops`."""

from __future__ import annotations

import numpy as np
from numba import njit

from spikec.ir.types import Array
from spikec.runtime.threads import over_ranges

UNSIGNED, SIGNED, FREE = 0, 1, 2
"""What negative spikes need: there are none; a positive net count before; nothing."""


@njit(cache=True, nogil=True)
def _scan(
    current: Array,
    theta: Array,
    v0: Array,
    bias: Array,
    theta_neg: Array,
    kind: int,
    spikes: Array,
    potentials: Array,
    first: int,
    last: int,
) -> None:
    """Run the neurons of samples `first` to before `last` over time."""
    steps, _, neurons = spikes.shape
    keep, end = len(potentials) > 0, len(current) - 1
    for n in range(first, last):
        v = v0.copy()
        count = np.zeros(neurons, np.int32)
        for t in range(steps):
            row = current[min(t, end), n]
            for i in range(neurons):
                x = v[i] + row[i] + bias[i]
                fire = np.int32(x >= theta[i])
                if kind == 1:
                    fire -= np.int32((x < theta_neg[i]) & (count[i] > 0))
                elif kind == 2:
                    fire -= np.int32(x < theta_neg[i])
                count[i] += fire
                v[i] = x - theta[i] * fire
                spikes[t, n, i] = fire
            if keep:
                for i in range(neurons):
                    potentials[t, n, i] = v[i]


def scan(
    current: Array,
    theta: Array,
    v0: Array,
    bias: Array,
    theta_neg: Array,
    kind: int,
    spikes: Array,
    potentials: Array,
    parallel: bool = True,
) -> None:
    """Run neurons over time.

    Args:
        current: (steps or 1, batch, neurons).
        theta: Thresholds (neurons,), of the current's type like v0, bias and theta_neg.
        v0: Initial potentials (neurons,).
        bias: Currents added in every step (neurons,).
        theta_neg: Negative spikes fire below it (neurons,); unused when unsigned.
        kind: UNSIGNED, SIGNED or FREE.
        spikes: Result (steps, batch, neurons), int8.
        potentials: Result after reset (steps, batch, neurons), or of length 0 to skip.
        parallel: Whether to use all cores.
    """
    parts = current, theta, v0, bias, theta_neg, kind, spikes, potentials
    over_ranges(spikes.shape[1], lambda a, b: _scan(*parts, a, b), parallel=parallel)


@njit(cache=True, nogil=True)
def _search_errors(
    current: Array,
    target: Array,
    theta: Array,
    v0: Array,
    bias: Array,
    kind: int,
    steps: int,
    errors: Array,
    first: int,
    stop: int,
) -> None:
    """The errors of channels `first` to before `stop`."""
    samples = target.shape[1]
    last = len(current) - 1
    for c in range(first, stop):
        v = np.empty(samples, np.float32)
        count = np.empty(samples, np.float32)
        for k in range(theta.shape[1]):
            th = np.float32(theta[c, k])
            for r in range(v0.shape[1]):
                v[:] = np.float32(th * v0[c, r])
                count[:] = 0
                for t in range(steps):
                    row = current[min(t, last), c]
                    for i in range(samples):
                        x = v[i] + row[i] + bias[c, i]
                        fire = np.float32(x >= th)
                        if kind == 1:
                            fire -= np.float32((x < 0) & (count[i] > 0))
                        elif kind == 2:
                            fire -= np.float32(x < 0)
                        count[i] += fire
                        v[i] = x - th * fire
                gain = th / steps
                total = 0.0
                for i in range(samples):
                    total += (gain * count[i] - target[c, i]) ** 2
                errors[c, k, r] = total / samples


def search_errors(
    current: Array,
    target: Array,
    theta: Array,
    v0: Array,
    bias: Array,
    kind: int,
    steps: int,
) -> Array:
    """Mean squared error of the rate for each candidate pair of threshold and initial potential.

    Args:
        current: (steps or 1, channels, samples) float32.
        target: ANN activations (channels, samples).
        theta: Candidate thresholds (channels, candidates).
        v0: Candidate initial potentials as fractions of theta (channels, fractions).
        bias: (channels, samples).
        kind: UNSIGNED, SIGNED or FREE; negative spikes fire below 0.
        steps: Time steps T.

    Returns:
        (channels, candidates, fractions) of `mean((theta * count / T - target)^2)`.
    """
    errors = np.empty((len(target), theta.shape[1], v0.shape[1]), np.float64)
    parts = current, target, theta, v0, bias, kind, steps, errors
    over_ranges(len(target), lambda a, b: _search_errors(*parts, a, b))
    return errors


@njit(cache=True, nogil=True)
def _scan_graded(
    current: Array,
    theta: Array,
    v0: Array,
    bias: Array,
    fire: Array,
    levels: int,
    free: bool,
    spikes: Array,
    potentials: Array,
    first: int,
    last: int,
) -> None:
    """Run the neurons of samples `first` to before `last` over time."""
    steps, _, neurons = spikes.shape
    keep, end = len(potentials) > 0, len(current) - 1
    for n in range(first, last):
        v = v0.copy()
        net = np.zeros(neurons, np.int32)
        for t in range(steps):
            row = current[min(t, end), n]
            for i in range(neurons):
                v[i] = v[i] + row[i] + bias[i]
                payload = np.int32(0)
                for k in range(levels):
                    unit = np.int32(1 << k)
                    if v[i] >= fire[i] * unit:
                        payload = unit
                    if v[i] < -fire[i] * unit and (free or net[i] >= unit):
                        payload = -unit
                net[i] += payload
                v[i] = v[i] - theta[i] * payload
                spikes[t, n, i] = payload
            if keep:
                for i in range(neurons):
                    potentials[t, n, i] = v[i]


def scan_graded(
    current: Array,
    theta: Array,
    v0: Array,
    bias: Array,
    fire: Array,
    levels: int,
    free: bool,
    spikes: Array,
    potentials: Array,
    parallel: bool = True,
) -> None:
    """Run graded neurons over time; arguments as those of `scan`.

    `fire` is where payload 1 fires (neurons,); there are `levels` payloads, and `free`
    ones may be negative at any net sum.
    """
    parts = current, theta, v0, bias, fire, levels, free, spikes, potentials
    over_ranges(spikes.shape[1], lambda a, b: _scan_graded(*parts, a, b), parallel=parallel)


@njit(cache=True, nogil=True)
def _scan_whole(
    current: Array,
    theta: Array,
    v0: Array,
    bias: Array,
    low: int,
    high: int,
    free: bool,
    radix: bool,
    payloads: Array,
    potentials: Array,
    first: int,
    last: int,
) -> None:
    """Run the neurons of samples `first` to before `last` over time."""
    steps, _, neurons = payloads.shape
    keep, end = len(potentials) > 0, len(current) - 1
    for n in range(first, last):
        v = v0.copy()
        net = np.zeros(neurons, np.int32)
        for t in range(steps):
            row = current[min(t, end), n]
            unit = 1 << (steps - 1 - t) if radix else 1
            for i in range(neurons):
                x = v[i] + row[i] + bias[i]
                size = theta[i] * unit
                if radix:
                    payload = np.int32(x >= size)
                    if free:
                        payload -= np.int32(x <= -size)
                else:
                    payload = np.int32(0)
                    if size > 0:
                        least = low if free else max(low, -net[i])
                        payload = np.int32(min(max(x // size, least), high))
                net[i] += payload
                v[i] = x - theta[i] * (payload * unit)
                payloads[t, n, i] = payload
            if keep:
                for i in range(neurons):
                    potentials[t, n, i] = v[i]


def scan_whole(
    current: Array,
    theta: Array,
    v0: Array,
    bias: Array,
    low: int,
    high: int,
    free: bool,
    radix: bool,
    payloads: Array,
    potentials: Array,
    parallel: bool = True,
) -> None:
    """Run neurons with integer payloads over time; arguments as those of `scan`.

    Payloads lie between `low` and `high`, and are no less than the negative of the net sum unless
    `free`. With `radix` they are the digits of v, the most significant first, instead.
    """
    parts = current, theta, v0, bias, low, high, free, radix, payloads, potentials
    over_ranges(payloads.shape[1], lambda a, b: _scan_whole(*parts, a, b), parallel=parallel)


@njit(cache=True, nogil=True, inline="always")
def _payloads(x: Array, fire: np.float32, levels: int, free: bool, net: Array, out: Array) -> None:
    """Payload of each potential; each further threshold adds to that of the last one."""
    for i in range(len(x)):
        up = np.float32(x[i] >= fire)
        down = np.float32((x[i] < -fire) & (free | (net[i] >= 1)))
        out[i] = up - down
    unit = np.float32(2)
    for _ in range(1, levels):
        level, more = fire * unit, unit * np.float32(0.5)
        for i in range(len(x)):
            up = np.float32(x[i] >= level)
            down = np.float32((x[i] < -level) & (free | (net[i] >= unit)))
            out[i] += more * (up - down)
        unit *= np.float32(2)


@njit(cache=True, nogil=True)
def _search_graded_errors(
    current: Array,
    target: Array,
    theta: Array,
    v0: Array,
    fire: Array,
    bias: Array,
    levels: int,
    free: bool,
    steps: int,
    errors: Array,
    first: int,
    stop: int,
) -> None:
    """The errors of channels `first` to before `stop`."""
    samples = target.shape[1]
    last = len(current) - 1
    for c in range(first, stop):
        v = np.empty(samples, np.float32)
        net = np.empty(samples, np.float32)
        payload = np.empty(samples, np.float32)
        for k in range(theta.shape[1]):
            th = np.float32(theta[c, k])
            for r in range(v0.shape[1]):
                v[:] = np.float32(th * v0[c, r])
                net[:] = 0
                for t in range(steps):
                    row = current[min(t, last), c]
                    for i in range(samples):
                        v[i] += row[i] + bias[c, i]
                    _payloads(v, np.float32(th * fire[c]), levels, free, net, payload)
                    for i in range(samples):
                        net[i] += payload[i]
                        v[i] -= th * payload[i]
                gain = th / steps
                total = 0.0
                for i in range(samples):
                    total += (gain * net[i] - target[c, i]) ** 2
                errors[c, k, r] = total / samples


def search_graded_errors(
    current: Array,
    target: Array,
    theta: Array,
    v0: Array,
    fire: Array,
    bias: Array,
    levels: int,
    free: bool,
    steps: int,
) -> Array:
    """As `search_errors`, for graded neurons.

    Args:
        current: (steps or 1, channels, samples) float32.
        target: ANN activations (channels, samples).
        theta: Candidate thresholds (channels, candidates).
        v0: Candidate initial potentials as fractions of theta (channels, fractions).
        fire: Where payload 1 fires, as a fraction of theta (channels,).
        bias: (channels, samples).
        levels: Number of payloads.
        free: Whether the net sum may go below 0.
        steps: Time steps T.

    Returns:
        (channels, candidates, fractions) of `mean((theta * net / T - target)^2)`.
    """
    errors = np.empty((len(target), theta.shape[1], v0.shape[1]), np.float64)
    parts = current, target, theta, v0, fire, bias, levels, free, steps, errors
    over_ranges(len(target), lambda a, b: _search_graded_errors(*parts, a, b))
    return errors


@njit(cache=True, nogil=True)
def _search_window_errors(
    total: Array,
    target: Array,
    theta: Array,
    v0: Array,
    weight: float,
    low: float,
    high: float,
    magnitudes: bool,
    errors: Array,
    first: int,
    stop: int,
) -> None:
    """The errors of channels `first` to before `stop`."""
    samples = target.shape[1]
    for c in range(first, stop):
        for k in range(theta.shape[1]):
            per_unit = np.float32(1) / np.float32(theta[c, k])
            gain = np.float32(theta[c, k] / weight)
            for r in range(v0.shape[1]):
                start = np.float32(v0[c, r])
                off = 0.0
                for i in range(samples):
                    units = total[c, i] * per_unit
                    side = np.float32(-1 if magnitudes and units < 0 else 1)
                    count = np.floor(units * side + start)
                    count = min(max(count, np.float32(low)), np.float32(high))
                    rest = gain * count * side - target[c, i]
                    off += rest * rest
                errors[c, k, r] = off / samples


def search_window_errors(
    total: Array,
    target: Array,
    theta: Array,
    v0: Array,
    weight: float,
    low: float,
    high: float,
    magnitudes: bool,
) -> Array:
    """As `search_errors` of neurons that gather all input before they fire.

    Args:
        total: What they gather, without v0 (channels, samples) float32.
        target: ANN activations (channels, samples).
        theta: Candidate thresholds (channels, candidates).
        v0: Candidate initial potentials as fractions of theta (channels, fractions).
        weight: What the weights of all steps add up to.
        low: The smallest sum of payloads.
        high: The largest.
        magnitudes: Whether magnitudes are rounded, v0 on their side of 0.
    """
    errors = np.empty((len(target), theta.shape[1], v0.shape[1]), np.float64)
    parts = total, target, theta, v0, weight, low, high, magnitudes, errors
    over_ranges(len(target), lambda a, b: _search_window_errors(*parts, a, b))
    return errors
