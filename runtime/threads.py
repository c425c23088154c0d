"""Work that is spread over the cores of this process."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from spikec.ir import UsageError


def thread_count(threads: int | None = None) -> int:
    """How many threads to use: as given, by SPIKEC_THREADS, or all cores of this process."""
    text = os.environ.get("SPIKEC_THREADS")
    if threads is None and text:
        if not text.isdigit():
            raise UsageError(f"SPIKEC_THREADS must be a number, not '{text}'")
        threads = int(text)
    if threads is None:
        cores = getattr(os, "sched_getaffinity", None)
        threads = len(cores(0)) if cores is not None else os.cpu_count() or 1
    return max(1, threads)


def over_ranges(count: int, run: Callable[[int, int], None], *, parallel: bool = True) -> None:
    """Call `run(first, last)` for ranges that cover `count`, each in a thread of its own."""
    workers = min(thread_count(), count) if parallel else 1
    if workers <= 1:
        run(0, count)
        return
    edges = [count * k // workers for k in range(workers + 1)]
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(run, edges[:-1], edges[1:]))
