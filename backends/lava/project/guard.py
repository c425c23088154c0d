"""Runs a Lava network so that it can neither hang nor leave anything behind.

Lava waits forever when a process of its own fails, dies or is not stopped. Here a watch looks at
the children several times a second, in all phases: a failed child's traceback becomes an error, a
dead child and a passed deadline too. On every way out the children are ended and the shared
memory is freed; should this process itself be killed, Linux ends the children with it and
Python's resource tracker frees the memory. Uses some private attributes of lava-nc 0.10.0.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from typing import Any

from lava.magma.core.process.message_interface_enum import ActorType
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.magma.runtime.mgmt_token_enums import MGMT_RESPONSE, enum_equal
from lava.magma.runtime.runtime import Runtime

TICK = 0.1
"""Seconds between two looks at the children."""
GRACE = 2.0
"""Seconds that a killed child may take to go."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)
SLOTS = 2
"""Messages that a channel can hold; in lock step there is never more than one."""


class LavaError(RuntimeError):
    """A child failed or died, or the deadline passed.

    Attributes:
        cause: The child's own exception, if there is one.
    """

    def __init__(self, message: str, cause: BaseException | None = None) -> None:
        super().__init__(message)
        self.cause = cause


class _Watch:
    """Looks at the children of a runtime and raises in the main thread."""

    def __init__(self, runtime: Runtime, timeout: float) -> None:
        self.runtime = runtime
        self.timeout = timeout
        self.deadline = time.monotonic() + timeout
        self.stopped = 0
        self.looking = False

    def stop(self, number: int, _: object) -> None:
        """Handle Ctrl-C and SIGTERM. Python may swallow one exception, so `look` raises more."""
        self.stopped = number
        self.look()

    def look(self, *_: object) -> None:
        """Raise if something is wrong; also the handler of the timer's signal.

        A look that interrupts another would read the rest of a message that the other has begun.
        """
        if self.stopped == signal.SIGINT:
            raise KeyboardInterrupt
        if self.stopped:
            sys.exit(128 + self.stopped)
        if self.looking:
            return
        self.looking = True
        try:
            self._look()
        finally:
            self.looking = False

    def _look(self) -> None:
        actors = _actors(self.runtime)
        dead = [actor.name for actor in actors if not actor.is_alive()]
        for actor in actors:
            if failure := _exception(actor):
                raise LavaError(failure[1].strip(), failure[0])
        if dead:
            raise LavaError(f"child processes died: {', '.join(dead)}")
        if time.monotonic() > self.deadline:
            raise LavaError(f"no end after {self.timeout:g} s")


def run(process: Any, steps: int, tag: str = "fixed_pt", timeout: float = 600.0) -> None:
    """Run the network that `process` belongs to.

    Args:
        process: Any process of the network.
        steps: Time steps.
        tag: Which process models: fixed_pt or floating_pt.
        timeout: Seconds until it is given up.

    Raises:
        LavaError: when a child fails or dies, or the time is over.
    """
    _prepare_children()
    executable = process.compile(Loihi2SimCfg(select_tag=tag), {"pypy_channel_size": SLOTS})
    runtime = Runtime(executable, ActorType.MultiProcessing)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        with _watched(runtime, timeout) as watch:
            runtime.initialize()
            runtime.start(RunSteps(num_steps=steps, blocking=False))
            _wait(runtime, watch)
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        _end(runtime)
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # those that came meanwhile act now


@contextlib.contextmanager
def _watched(runtime: Runtime, timeout: float) -> Iterator[_Watch]:
    """A watch that looks at every tick of the timer."""
    watch = _Watch(runtime, timeout)
    signal.signal(signal.SIGALRM, watch.look)
    for number in SIGNALS:
        signal.signal(number, watch.stop)
    signal.setitimer(signal.ITIMER_REAL, TICK, TICK)
    try:
        yield watch
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)


def _wait(runtime: Runtime, watch: _Watch) -> None:
    """Wait for the runtime service's answer."""
    port = runtime.service_to_runtime[0]
    while not port.probe():
        time.sleep(0.001)
    if enum_equal(port.recv(), MGMT_RESPONSE.DONE):
        return
    for _ in range(50):  # the failed child may not have sent its traceback yet
        watch.look()
        time.sleep(TICK)
    raise LavaError("a child failed without a traceback")


def _actors(runtime: Runtime) -> list[Any]:
    infrastructure = runtime._messaging_infrastructure
    return [] if infrastructure is None else list(infrastructure.actors)


def _exception(actor: Any) -> Any:
    try:
        return actor.exception
    except (ValueError, OSError, EOFError):
        return None


def _end(runtime: Runtime) -> None:
    """End the children and free the shared memory."""
    runtime._is_started = runtime._is_running = False  # else Lava waits for its children
    for actor in _actors(runtime):
        actor.kill()
    for actor in _actors(runtime):
        BaseProcess.join(actor, GRACE)  # Lava's own join waits for a message, too
    infrastructure = runtime._messaging_infrastructure
    memory = None if infrastructure is None else infrastructure.smm
    if memory is not None:
        # Its server may have been killed, or interrupted before it ran.
        with contextlib.suppress(OSError, EOFError, AttributeError):
            memory.shutdown()
    # A signal between the start of a child and its entry in Lava's list leaves one that nothing
    # else ends: Python would wait for it at exit, and it for a message.
    for child in multiprocessing.active_children():
        child.kill()
        child.join(GRACE)


@functools.cache
def _prepare_children() -> None:
    os.register_at_fork(after_in_child=_become_child(os.getpid()))


def _become_child(parent: int) -> Any:
    """What a forked child does first: die with its parent, ignore Ctrl-C."""

    def after_fork() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        end_with_parent(signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return after_fork


def end_with_parent(number: int) -> None:
    """Ask Linux to signal this process when its parent dies; elsewhere do nothing."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, number)
