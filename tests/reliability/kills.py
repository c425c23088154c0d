"""Commands that are killed just before, and so just after, each call that changes a file.

A world is a folder in which commands run. Python tells an audit hook of every call that opens a
file for writing, makes, renames, links or removes one; the hook ends the process with SIGKILL.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from typing import Any
from unittest import mock

from spikec.runtime.files import STAGE

CALLS = {"os.mkdir", "os.rmdir", "os.remove", "os.rename", "os.link", "os.symlink", "os.chmod",
         "os.truncate", "os.utime", "spikec.exchange"}  # fmt: skip
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
TIMED = ("seconds_per_sample", "seconds")

Tree = dict[str, bytes]
"""Contents by name below a world."""


@dataclass(frozen=True)
class Call:
    """A call that changes a file, and the file's name below the world."""

    name: str
    path: str


class Watch:
    """An audit hook that notes what changes below a world, and kills at one of the calls."""

    def __init__(self, world: Path, kill_at: int | None) -> None:
        self.world, self.kill_at, self.calls = os.fspath(world), kill_at, list[Call]()

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            if not isinstance(args[2], int) or not args[2] & WRITES:
                return
        elif event not in CALLS:
            return
        named = args[:1] if event == "open" else args[:2]
        paths = [os.path.abspath(os.fsdecode(a)) for a in named if isinstance(a, str | bytes)]
        inside = [path for path in paths if path.startswith(self.world + os.sep)]
        if not inside and not (event in ("os.rmdir", "os.remove") and STAGE in str(args[0])):
            return  # rmtree names files relative to an open folder
        if self.kill_at == len(self.calls):
            os.kill(os.getpid(), signal.SIGKILL)
        self.calls.append(Call(event, os.path.relpath((inside or paths)[-1], self.world)))


def spikec(world: Path, command: Sequence[str], kill_at: int | None, pipe: Any) -> None:
    """Run a command in a world; sends its exit code and its calls."""
    from spikec.cli import main
    from spikec.compiler import checkpoint

    checkpoint.SECONDS = 0.0  # so that short compiles write one
    os.chdir(world)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    watch = Watch(world, kill_at)
    sys.addaudithook(watch)
    try:
        main(list(command))
    except SystemExit as end:
        pipe.send((end.code, watch.calls))


@cache
def server() -> ForkServerContext:
    """What forks processes that have done what `warm` does."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["warm"])
    paths = [os.fspath(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    with mock.patch.dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, paths))):
        ensure_running()
    return context


def run(world: Path, command: Sequence[str], kill_at: int | None = None) -> list[Call] | None:
    """Run a command in a process of its own; its calls, or None where it was killed."""
    context = server()
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=spikec, args=(world, command, kill_at, there))
    process.start()
    there.close()
    try:
        code, calls = here.recv()
    except EOFError:
        process.join()
        assert process.exitcode == -signal.SIGKILL, process.exitcode
        return None
    process.join()
    assert code == 0, f"{' '.join(command)}: exit code {code}"
    return list(calls)


def snapshot(world: Path) -> Tree:
    """What lies in a world, but for stages; times are left out of reports."""
    found = {}
    for file in sorted(world.rglob("*")):
        name = file.relative_to(world).as_posix()
        if file.is_file() and STAGE not in name:
            content = file.read_bytes()
            found[name] = without_times(content) if file.name == "report.json" else content
    return found


def without_times(content: bytes) -> bytes:
    """A report without the time that measuring took."""

    def cut(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: cut(v) for k, v in value.items() if k not in TIMED}
        return [cut(v) for v in value] if isinstance(value, list) else value

    return json.dumps(cut(json.loads(content))).encode()


def leftovers(world: Path) -> list[str]:
    """Stages, and whatever else is hidden or temporary."""
    return [p.name for p in world.rglob("*")
            if p.name.startswith(".") or p.suffix in (STAGE, ".part", ".tmp")]  # fmt: skip


def part(tree: Tree, output: str) -> Tree:
    """An output of a world: a file, or a folder with what is in it."""
    return {n: c for n, c in tree.items() if n == output or n.startswith(f"{output}/")}


def beside(tree: Tree, outputs: Sequence[str]) -> Tree:
    """What is no output."""
    inside = {name for output in outputs for name in part(tree, output)}
    return {name: content for name, content in tree.items() if name not in inside}


def faults(
    template: Path,
    folder: Path,
    command: Sequence[str],
    outputs: Sequence[str],
    *,
    every: int = 1,
    partly: Mapping[str, Callable[[Tree, Tree, Tree], bool]] | None = None,
) -> tuple[list[str], int]:
    """Kill a command at every (or every so many-th) call, and run it again.

    Args:
        template: The world before.
        folder: Where worlds are made.
        command: Arguments of spikec, relative to the world.
        outputs: What it writes.
        every: Leave out calls between.
        partly: For an output, whether something between the old and the new is right, too.

    Returns:
        What is wrong, and how many times the command was killed.
    """
    world = folder / "world"

    def fresh() -> None:
        shutil.rmtree(world, ignore_errors=True)
        shutil.copytree(template, world, symlinks=True)

    fresh()
    old = snapshot(world)
    calls = run(world, command)
    assert calls, "the command changes nothing"
    new, told = snapshot(world), []
    told += [f"done, and {name} is left" for name in leftovers(world)]
    told += [f"{call.name} outside a stage: {call.path}" for call in calls
             if call.name == "open" and STAGE not in call.path]  # fmt: skip
    points = range(0, len(calls), every)
    for at in points:
        fresh()
        where = f"killed before {calls[at].name} of {calls[at].path}"
        if run(world, command, at) is not None:
            told.append(f"{where}: it made other calls than before")
            continue
        now = snapshot(world)
        for output in outputs:
            found, before, after = (part(tree, output) for tree in (now, old, new))
            between = (partly or {}).get(output)
            if found not in (before, after) and not (between and between(found, before, after)):
                told.append(f"{where}: {output} is neither the old nor the new")
        if beside(now, outputs) != beside(old, outputs):
            told.append(f"{where}: something else was changed")
        run(world, command)
        if snapshot(world) != new:
            told.append(f"{where}: the next run gives something else")
        told += [f"{where}: {name} is left after the next run" for name in leftovers(world)]
    return told, len(points)
