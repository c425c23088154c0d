"""Runs a command that must not outlive its caller, nor leave processes behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

GRACE = 5.0
"""Seconds that an interrupted run gets to end its own children."""
PREFIX = "spikec-lava-"
YOUNG = 60.0
"""Seconds in which a folder may not be locked yet."""


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder; first those whose process was killed are removed.

    A folder is locked as long as its process lives.
    """
    import fcntl

    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # gone, another user's, or locked
            if time.time() - folder.stat().st_mtime > YOUNG:
                with (folder / "lock").open("r+") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
    with (
        tempfile.TemporaryDirectory(prefix=PREFIX) as name,
        (Path(name) / "lock").open("w") as lock,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Path(name)


def run_child(command: Sequence[str], folder: Path, timeout: float) -> tuple[int | None, str]:
    """Run `command` in `folder`, in a session of its own.

    On every way out, Ctrl-C included, all its processes are ended.

    Returns:
        Its exit code (None after the timeout) and what it wrote.
    """
    log = folder / "log.txt"
    with log.open("wb") as output:
        # A signal between the start and the `try` would leave the child behind.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
        child = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            code: int | None = child.wait(timeout)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(child)
    return code, log.read_text(encoding="utf-8", errors="replace")


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM unwind the stack where it would end Python at once; for the main thread."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child and whatever is left of its process group."""
    if child.poll() is None:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(GRACE)
    if child.poll() is None:
        child.kill()
        child.wait()
    # Its children die with it; the last of them to go frees the shared memory.
    until = time.monotonic() + GRACE
    while _alive(child.pid) and time.monotonic() < until:
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


def _alive(group: int) -> bool:
    """Whether a process group has members that still run."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    if sys.platform != "linux":
        return True
    return any(_runs_in(entry, group) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _runs_in(entry: Path, group: int) -> bool:
    """Whether the process of a /proc entry is in a group and not merely waiting to be reaped."""
    try:
        state, _, own_group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
    except OSError:
        return False
    return int(own_group) == group and state != "Z"
