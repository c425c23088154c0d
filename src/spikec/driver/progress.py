"""Progress of long work, where somebody looks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from spikec.compiler.pipeline import Progress
from spikec.driver.blocks import quiet
from spikec.ui import Ui

Shown = bool | Progress
"""True for a bar in a terminal or a notebook, False for none, or who is told."""


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
