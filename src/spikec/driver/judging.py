"""How much a spiking network loses against its ANN, on samples that it was not calibrated on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spikec.backends import engine
from spikec.compiler.pipeline import Progress
from spikec.driver.blocks import block_size, encoded_blocks, logits, quiet
from spikec.driver.measures import Output, accuracy, agreement, classifier, losses
from spikec.driver.model import Model
from spikec.ir import Graph
from spikec.ir.types import Array
from spikec.options import Metric
from spikec.runtime.data import Dataset

JUDGED = 1000
"""Validation samples that are used at most."""


@dataclass(frozen=True, slots=True)
class Judge:
    """Validation samples and what the ANN says of them.

    Attributes:
        data: The samples, with labels if there are any.
        ann: The ANN's outputs (samples, values).
        outputs: Which they are, and how each is judged.
    """

    data: Dataset
    ann: Array
    outputs: Sequence[Output]

    @staticmethod
    def of(
        model: Model,
        data: Dataset,
        seed: int,
        metrics: Mapping[str, Metric] | None = None,
        progress: Progress = quiet,
    ) -> Judge:
        """A judge on at most `JUDGED` samples of `data`, drawn by the seed."""
        drawn, outputs = data.draw(JUDGED, seed), model.outputs(metrics or {})
        return Judge(drawn, model.logits(drawn.feeds, progress), outputs)

    def __call__(self, graph: Graph) -> dict[str, Any]:
        """The figures of a spiking graph of stage snn or int; see `judge`."""
        simulate = engine("fast")
        parts = [
            logits(graph, simulate(graph, feeds, None, ()).readout, graph.steps)
            for _, feeds in encoded_blocks(graph, self.data, block_size("fast", graph))
        ]
        return self.judge(np.concatenate(parts))

    def judge(self, outputs: Array) -> dict[str, Any]:
        """Accuracy, agreement with the ANN, and the loss with its standard error.

        The loss is the ANN's accuracy minus the network's. Without labels, or where they name no
        output's classes, it is the share of classes that differ from the ANN's, which is never
        less, and the error over the deviation of outputs that are numbers.
        """
        own, labels = classifier(self.outputs), self.data.labels
        if labels is None or own is None:
            lost = losses(self.outputs, outputs, self.ann)
        else:
            right = (own.classes(y) == labels for y in (self.ann, outputs))
            wanted, given = (answers.astype(float) for answers in right)
            lost = wanted - given
        return {
            "samples": len(lost),
            "accuracy": accuracy(self.outputs, outputs, labels),
            "agreement": agreement(self.outputs, outputs, self.ann),
            "loss": float(lost.mean()),
            "standard_error": float(lost.std() / np.sqrt(len(lost))),
            "bound": float(lost.mean()) + smoothed_error(lost),
        }


def smoothed_error(lost: Array) -> float:
    """Standard error of a mean of losses from -1 to 1, one that is lost and one that is not added.

    Where none is lost, n samples still cannot tell 0 from 1 / n.
    """
    samples = len(lost) + 2
    mean, square = (lost.sum() + 1) / samples, ((lost**2).sum() + 1) / samples
    return float(np.sqrt(max(square - mean**2, 0.0) / samples))


def hold_out(calib: Dataset, samples: int, seed: int) -> tuple[Dataset, Dataset]:
    """Calibration data in two: to calibrate on, and to judge on.

    What is left of a large file judges; of a small file a quarter of the samples does.
    """
    total = len(calib)
    kept = min(samples, total - total // 4)
    picked = np.zeros(total, bool)
    picked[np.random.default_rng(seed).choice(total, kept, replace=False)] = True
    return calib.pick(picked), calib.pick(~picked)
