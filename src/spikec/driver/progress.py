"""Progress of long work: shown where somebody looks, and kept for a run that is killed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spikec.compiler.checkpoint import Checkpoint
from spikec.compiler.pipeline import Progress
from spikec.driver.blocks import quiet
from spikec.ui import Ui

Shown = bool | Progress
"""True for a bar in a terminal or a notebook, False for none, or who is told."""

Kept = Checkpoint | Path | str | None
"""A checkpoint, or the folder of one that is removed when the compile has ended; None for none."""


@contextmanager
def shown(progress: Shown) -> Iterator[Progress]:
    """Who is told of progress."""
    if callable(progress):
        yield progress
    elif progress and (sys.stderr.isatty() or "ipykernel" in sys.modules):
        with Ui().progress() as report:
            yield report
    else:
        yield quiet


@contextmanager
def kept(checkpoint: Kept) -> Iterator[Checkpoint | None]:
    """The checkpoint of a compile; whoever made one removes it."""
    if checkpoint is None or isinstance(checkpoint, Checkpoint):
        yield checkpoint
    else:
        with Checkpoint(Path(checkpoint), Ui().note) as made:
            yield made
