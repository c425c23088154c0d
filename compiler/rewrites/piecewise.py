"""Continuous piecewise-linear fits: functions as sums of rectifiers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from spikec.ir import PassError
from spikec.ir.ops.activations.pointwise import evaluate
from spikec.ir.types import Array

_SAMPLES = 801
_ROUNDS = 24
_GAP = 1 / 200


@dataclass(frozen=True, slots=True)
class Fit:
    """`y = offset + sum_i change_i relu(x - knot_i)`, the first knot at the range's lower end.

    Attributes:
        knots: Ascending.
        slopes: Slope from each knot to the next; the changes are their differences.
        offset: Value at and below the first knot.
        max_error: Largest deviation on the range.
        mean_error: Mean deviation on the range.
    """

    knots: tuple[float, ...]
    slopes: tuple[float, ...]
    offset: float
    max_error: float
    mean_error: float

    @property
    def changes(self) -> tuple[float, ...]:
        """Factors of the rectifiers."""
        return tuple(float(change) for change in np.diff(self.slopes, prepend=0.0))

    def __call__(self, x: Array) -> Array:
        total = np.full(x.shape, self.offset)
        for knot, change in zip(self.knots, self.changes, strict=True):
            total = total + change * np.maximum(x - knot, 0)
        return total


def fit_pointwise(fn: str, lo: float, hi: float, pieces: int = 8, alpha: float = 1.0) -> Fit:
    """Least-squares fit of a function of `pointwise` on a range.

    Knots start where the curvature asks for them and are then moved one at a time as long as
    the error falls.

    Args:
        fn: Name of the function.
        lo: Lower end of the range.
        hi: Upper end, above lo.
        pieces: Number of linear pieces.
        alpha: The function's parameter.

    Raises:
        PassError: when the function is not finite on the range.
    """
    if not lo < hi or pieces < 1:
        raise PassError(f"{pieces} pieces cannot be fitted on the range {lo} to {hi}")
    x = np.linspace(lo, hi, _SAMPLES)
    y = evaluate(fn, alpha, x)
    if not np.isfinite(y).all():
        raise PassError(f"{fn} is not finite on its observed range {lo:g} to {hi:g}")
    knots = _refined(x, y, _by_curvature(x, y, pieces))
    solution, _ = _solve(x, y, knots)
    slopes = tuple(map(float, np.cumsum(solution[1:])))
    fit = Fit(tuple(map(float, knots)), slopes, float(solution[0]), 0.0, 0.0)
    fine = np.linspace(lo, hi, 10 * _SAMPLES)
    deviation = np.abs(fit(fine) - evaluate(fn, alpha, fine))
    return replace(fit, max_error=float(deviation.max()), mean_error=float(deviation.mean()))


def _by_curvature(x: Array, y: Array, pieces: int) -> Array:
    """Knots as dense as the curvature to the power 2/5, which is best for many pieces."""
    bend = np.abs(np.gradient(np.gradient(y, x), x)) ** 0.4
    mass = np.cumsum(bend + 1e-3 * bend.max() + 1e-12)
    places = np.interp(np.arange(1, pieces) / pieces, mass / mass[-1], x)
    gap = (x[-1] - x[0]) * _GAP
    knots = np.concatenate([x[:1], places])
    for index in range(1, pieces):
        knots[index] = max(knots[index], knots[index - 1] + gap)
    return knots


def _solve(x: Array, y: Array, knots: Array) -> tuple[Array, Array]:
    """Offset and slope changes of the best fit with these knots, and its deviations."""
    basis = np.maximum(x[:, None] - knots, 0)
    basis = np.concatenate([np.ones((len(x), 1)), basis], axis=1)
    solution = np.linalg.lstsq(basis, y, rcond=None)[0]
    return solution, basis @ solution - y


def _refined(x: Array, y: Array, knots: Array) -> Array:
    step = (x[-1] - x[0]) / (2 * len(knots))
    gap = (x[-1] - x[0]) * _GAP
    best = _loss(x, y, knots)
    for _ in range(_ROUNDS):
        improved = False
        for index in range(1, len(knots)):
            for direction in (-step, step):
                moved = knots.copy()
                moved[index] += direction
                ends = np.append(moved, x[-1])
                if (np.diff(ends) < gap).any():
                    continue
                loss = _loss(x, y, moved)
                if loss < best:
                    knots, best, improved = moved, loss, True
        step = step if improved else step / 2
    return knots


def _loss(x: Array, y: Array, knots: Array) -> float:
    return float(np.square(_solve(x, y, knots)[1]).sum())
