"""The smallest number of time steps that loses little enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from spikec.compiler.pipeline import Progress
from spikec.driver.artifact import Artifact
from spikec.driver.judging import Judge, hold_out, smoothed_error
from spikec.driver.model import Model
from spikec.ir import PassError, UsageError
from spikec.options import Options
from spikec.report.schema import Judged
from spikec.runtime.data import Dataset

Build = Callable[[Dataset, Options], Artifact]
"""Compiles for one number of time steps."""


def choose_steps(
    model: Model,
    calib: Dataset | None,
    validation: Dataset | None,
    options: Options,
    progress: Progress,
    build: Build,
) -> Artifact:
    """Compile for the smallest T that is shown to lose at most `options.max_loss`; see `is_enough`.

    T doubles until the loss is small enough, then the gap to the T before is halved; that finds
    the smallest T if loss falls with T. The report lists all T that were tried.

    Raises:
        UsageError: when no T up to `options.max_timesteps` is good enough; it names the best.
    """
    limit = options.max_loss
    assert limit is not None
    if calib is None:
        raise PassError("--max-loss needs calibration data", hint="give --calib CALIB.npz")
    data, held = calib, validation
    if held is None:
        if len(data) < 2:
            raise UsageError(
                "--max-loss needs samples to judge on", hint="give --validation or more samples"
            )
        data, held = hold_out(data, options.samples, options.seed)
    judge = Judge.of(model, held, options.seed, options.metrics(), progress)
    tried: dict[int, tuple[Artifact, Judged]] = {}

    def holds(steps: int) -> bool:
        progress(f"try T = {steps}", 0, 1)
        art = build(data, replace(options, timesteps=steps, max_loss=None))
        tried[steps] = art, Judged(**judge(art.graph))
        progress(f"try T = {steps}", 1, 1)
        return is_enough(tried[steps][1], limit)

    chosen = _smallest(holds, options.max_timesteps)
    rows = [replace(tried[t][1], timesteps=t) for t in sorted(tried)]
    if chosen is None:
        best = min(rows, key=lambda row: row.bound)
        raise UsageError(
            f"no T up to {options.max_timesteps} loses at most {options.max_loss:.2%}; "
            f"T = {best.timesteps} loses least, {best.loss:.2%} "
            f"± {best.standard_error:.2%} on {best.samples} samples, at most {best.bound:.2%}",
            hint="raise --max-loss or --max-timesteps, or try --spikes graded",
        )
    art = tried[chosen][0]
    art.report.steps_tried = rows
    if limit > 0 and not can_show(len(judge.data), limit):
        art.report.warnings.append(
            f"{len(judge.data)} samples cannot show a loss of at most {limit:.2%}: T = {chosen} "
            "was taken because they do not show more; give more of them (--validation)"
        )
    return art


def is_enough(judged: Judged, limit: float) -> bool:
    """Whether a network loses little enough; for a limit of 0, whether nothing was lost.

    Its loss and one standard error must lie within the limit. So few samples that not even a loss
    of none would do decide the other way round: unless they show more loss than the limit.
    """
    if limit == 0:
        return judged.loss <= 0
    if can_show(judged.samples, limit):
        return judged.bound <= limit
    return judged.loss - (judged.bound - judged.loss) <= limit


def can_show(samples: int, limit: float) -> bool:
    """Whether so many samples without any loss bound it by a limit."""
    return smoothed_error(np.zeros(samples)) <= limit


def _smallest(holds: Callable[[int], bool], limit: int) -> int | None:
    """The smallest number up to `limit` for which `holds`, if it holds for all larger ones."""
    if limit < 1:
        raise UsageError(f"max_timesteps must be at least 1, not {limit}")
    failed, good = 0, 1
    while not holds(good):
        failed = good
        if good == limit:
            return None
        good = min(2 * good, limit)
    while good - failed > 1:
        middle = (failed + good) // 2
        if holds(middle):
            good = middle
        else:
            failed = middle
    return good
