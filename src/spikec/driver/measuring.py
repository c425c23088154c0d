"""Blocks of samples measured one by one, here or on a cluster."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from spikec.backends import engine
from spikec.compiler.pipeline import Progress
from spikec.driver.blocks import block_size, encoded_blocks, logits
from spikec.ir import Graph, SpikecError, UsageError
from spikec.ir.types import Array
from spikec.runtime.data import Dataset
from spikec.runtime.metrics import Activity, activity, fan_outs

AHEAD = 4
"""Blocks that wait at each worker, so that none is idle."""

SAME = ("python", "numpy", "spikec")
"""What workers need in the versions that are here, as what they compute is added up."""
ALIKE = "the workers need the same Python, spikec and NumPy as here"

PATIENCE = 10.0
"""Seconds after which it is asked whether there are any workers at all."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one block of samples gave.

    Attributes:
        outputs: Logits (samples, values) after some numbers of steps.
        done: Events and operations.
    """

    outputs: dict[int, Array]
    done: Activity


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where to measure: a scheduler's address, or so many processes of this machine."""

    address: str | None = None
    workers: int = 1


def measure(
    graph: Graph,
    fans: Mapping[str, Array],
    feeds: Mapping[str, Array],
    name: str,
    steps: Sequence[int],
    threads: int = 0,
) -> Part:
    """Run one block of coded inputs on engine `name` and read it after each of `steps`."""
    if threads:
        os.environ["SPIKEC_THREADS"] = str(threads)
    run = engine(name)(graph, feeds, max(steps), ())
    done = activity(graph, run.events, fans, run.units)
    return Part({t: logits(graph, run.readout, t) for t in steps}, done)


def measure_all(
    graph: Graph,
    data: Dataset,
    name: str,
    steps: Sequence[int],
    progress: Progress,
    cluster: Cluster | None = None,
) -> Iterator[Part]:
    """Measure all samples, block by block, in order."""
    if cluster is not None:
        yield from _on_cluster(graph, data, name, steps, progress, cluster)
        return
    size, fans = block_size(name, graph, max(steps)), fan_outs(graph)
    for start, feeds in encoded_blocks(graph, data, size):
        yield measure(graph, fans, feeds, name, steps)
        progress("simulate", min(start + size, len(data)), len(data))


def _on_cluster(
    graph: Graph,
    data: Dataset,
    name: str,
    steps: Sequence[int],
    progress: Progress,
    cluster: Cluster,
) -> Iterator[Part]:
    """Measure with dask.distributed; the share of a worker that is lost is measured again."""
    with _client(cluster) as (client, workers, threads):
        shared = client.submit(_same, graph, pure=False)  # made again where it is lost
        fans = client.submit(fan_outs, shared, pure=False)
        size = max(1, min(block_size(name, graph, max(steps)), -(-len(data) // workers)))
        waiting: list[tuple[int, Any]] = []

        def first() -> Part:
            done, future = waiting.pop(0)
            part = _result(client, future)
            progress("simulate", done, len(data))
            return part

        for start, feeds in encoded_blocks(graph, data, size):
            how = (feeds, name, tuple(steps), threads)
            future = client.submit(measure, shared, fans, *how, pure=False)
            waiting.append((min(start + size, len(data)), future))
            if len(waiting) >= AHEAD * workers:
                yield first()
        while waiting:
            yield first()


def _result(client: Any, future: Any) -> Part:
    """What a worker made.

    Raises:
        UsageError: when there have been no workers for long, the scheduler is gone, or the block
            ended each worker that tried it.
        SpikecError: what the worker raised.
    """
    alone = 0
    while True:
        try:
            part: Part = future.result(timeout=PATIENCE)
            return part
        except (TimeoutError, asyncio.TimeoutError):
            alone = 0 if _workers(client) else alone + 1
            if alone == 3:
                raise UsageError("all workers of the cluster are gone", hint=ALIKE) from None
        except (asyncio.CancelledError, CancelledError):
            raise _gone() from None
        except SpikecError:
            raise
        except Exception as error:
            if type(error).__name__ == "KilledWorker":
                text = "a block of samples ended each worker that tried it"
                raise UsageError(text, hint="give the workers more memory") from None
            raise UsageError(
                f"a worker of the cluster failed: {type(error).__name__}: {error}", hint=ALIKE
            ) from None


def _workers(client: Any) -> dict[str, Any]:
    """The workers by address; raises UsageError when the scheduler is gone."""
    try:
        workers: dict[str, Any] = client.scheduler_info(n_workers=-1)["workers"]
    except (OSError, RuntimeError, TimeoutError, asyncio.TimeoutError):
        raise _gone() from None
    if client.status != "running":
        raise _gone()
    return workers


def _gone() -> UsageError:
    return UsageError("the scheduler of the cluster is gone", hint="start it again, and `eval`")


def _require_alike(client: Any) -> None:
    """Raise UsageError when a worker has other versions than there are here."""
    versions = client.get_versions(check=False, packages=["spikec"])
    own = versions["client"]["packages"]
    for address, worker in versions["workers"].items():
        theirs = {} if worker is None else worker["packages"]
        for name in SAME:
            if theirs.get(name) != own[name]:
                raise UsageError(
                    f"worker {address} has {name} {theirs.get(name)}, here is {own[name]}",
                    hint=ALIKE,
                )


def _same(graph: Graph) -> Graph:
    return graph


@contextmanager
def _client(cluster: Cluster) -> Iterator[tuple[Any, int, int]]:
    """A client, its number of workers, and the threads that each may use (0: its own choice)."""
    if importlib.util.find_spec("distributed") is None:
        raise UsageError("--cluster and --workers need dask (pip install spikec[cluster])")
    distributed: Any = importlib.import_module("distributed")

    if cluster.address is not None:
        try:
            client = distributed.Client(cluster.address, timeout="10s")
        except (OSError, TimeoutError, asyncio.TimeoutError, ValueError) as error:
            raise UsageError(f"no scheduler answers at {cluster.address}: {error}") from None
        with client:
            workers = len(_workers(client))
            if workers == 0:
                raise UsageError(f"the scheduler at {cluster.address} has no workers")
            _require_alike(client)
            yield client, workers, 0
        return
    cores = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0)
    local = distributed.LocalCluster(
        n_workers=cluster.workers,
        threads_per_worker=1,
        dashboard_address="127.0.0.1:0",  # any free port: its own one may be another cluster's
        silence_logs=50,
    )
    with local, distributed.Client(local) as client:
        yield client, cluster.workers, max(1, len(cores) // cluster.workers)
