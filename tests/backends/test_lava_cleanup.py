"""Whatever ends a Lava run, it leaves no process, no shared memory and no file behind."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from lava_nets import runs_lava, session_of, small

from spikec.backends import lava
from spikec.backends.lava import child
from spikec.backends.lava.simulate import simulate
from spikec.ir import BackendError, Graph

pytestmark = pytest.mark.lava


def wait_for(condition: Any) -> Any:
    until = time.monotonic() + 90  # busy machines take long
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.02)
    return found


def actors(session: int) -> list[int]:
    """Lava's own processes, oldest first, once the network runs."""
    found = sorted(session_of(session) - {session})
    return found[2:] if len(found) >= 8 else []


REENTRY = """
import lava_compat
from types import SimpleNamespace
from guard import LavaError, _Watch

class Actor:
    name, begun = "layer", False
    def is_alive(self):
        return False
    @property
    def exception(self):
        if self.begun:
            raise OSError("the rest of a message is none")
        self.begun = True
        watch.look()  # the timer ticks while the message is being read
        return "cause", "its traceback"

watch = _Watch(SimpleNamespace(_messaging_infrastructure=SimpleNamespace(actors=[Actor()])), 60)
try:
    watch.look()
except LavaError as error:
    print(error)
"""


@runs_lava
def test_a_look_does_not_interrupt_another() -> None:
    command = [sys.executable, "-B", "-c", REENTRY]
    project = Path(lava.__file__).parent / "project"
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "its traceback", done.stderr


UNLISTED = """
import lava_compat
import multiprocessing, time
from types import SimpleNamespace
from guard import _end

multiprocessing.Process(target=time.sleep, args=(600,)).start()
_end(SimpleNamespace(_messaging_infrastructure=SimpleNamespace(actors=[], smm=None)))
print(multiprocessing.active_children())
"""


@runs_lava
def test_a_child_that_lava_did_not_list_yet_ends_too() -> None:
    command = [sys.executable, "-B", "-c", UNLISTED]
    project = Path(lava.__file__).parent / "project"
    done = subprocess.run(
        command, cwd=project, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.strip() == "[]", done.stderr


@runs_lava
@pytest.mark.parametrize("victim", ["layer", "runner"])
def test_killed_child_is_reported(
    victim: str, started: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("spikec.backends.lava.simulate"), "ATTEMPTS", 1)
    net = small()

    def kill() -> None:
        session = wait_for(lambda: started and started[0])
        layer = wait_for(lambda: actors(session))[1]
        os.kill(layer if victim == "layer" else session, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(BackendError, match="Lava failed"):
        simulate(net.graph(), net.feeds(1), steps=30000)
    thread.join()


@runs_lava
def test_interrupt_leaves_nothing(started: list[int]) -> None:
    net = small()

    def interrupt() -> None:
        session = wait_for(lambda: started and started[0])
        wait_for(lambda: actors(session))
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        simulate(net.graph(), net.feeds(1), steps=30000)
    thread.join()


@runs_lava
def test_failing_model_shows_its_traceback(
    monkeypatch: pytest.MonkeyPatch, started: list[int]
) -> None:
    module = importlib.import_module("spikec.backends.lava.simulate")

    def broken(graph: Graph, plan: Any, folder: Path) -> None:
        original(graph, plan, folder)
        path = folder / "neurons" / "integrate.py"
        path.write_text(path.read_text().replace("self.v >= self.theta", "1 / 0"))

    original = module.write
    monkeypatch.setattr(module, "write", broken)
    net = small()
    with pytest.raises(BackendError, match="ZeroDivisionError"):
        simulate(net.graph(), net.feeds())


LONG_RUN = """
import sys
sys.path.insert(0, sys.argv[1])
from lava_nets import simulate, small
net = small()
simulate(net.graph(), net.feeds(1), steps=30000)
"""


def begin_long_run() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", LONG_RUN, str(Path(__file__).parent)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def long_run() -> tuple[subprocess.Popen[bytes], int]:
    """A process of its own with a network that runs, and the session of its Lava processes."""
    process = begin_long_run()
    runner = wait_for(lambda: children_of(process.pid))[0]
    wait_for(lambda: actors(runner))
    return process, runner


def children_of(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(entry.name))
    return found


@runs_lava
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_spikec_leaves_nothing(number: int, started: list[int]) -> None:
    process, runner = long_run()
    started.append(runner)
    process.send_signal(number)
    assert process.wait(10) in (128 + number, -number)


@runs_lava
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_while_lava_is_still_imported_leaves_nothing(
    number: int, started: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runner has not yet asked Linux to end it with its parent."""
    process = begin_long_run()
    runner = wait_for(lambda: children_of(process.pid))[0]
    started.append(runner)
    process.send_signal(number)
    process.wait(10)
    wait_for(lambda: not session_of(runner))
    monkeypatch.setattr(child, "YOUNG", -1.0)
    with child.scratch_folder():  # the next run removes the files of one that was killed
        pass


@runs_lava
def test_what_a_killed_spikec_leaves_is_removed_by_the_next(
    started: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    process, runner = long_run()
    started.append(runner)
    process.kill()
    process.wait(10)
    root = Path(tempfile.gettempdir())
    (left,) = root.glob("spikec-*")
    with child.scratch_folder():
        assert left.exists()  # too young: it might be about to be locked
    wait_for(lambda: not session_of(runner))
    monkeypatch.setattr(child, "YOUNG", -1.0)
    with child.scratch_folder() as mine, child.scratch_folder() as other:
        assert sorted(root.glob("spikec-*")) == sorted([mine, other])


@runs_lava
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_a_project_leaves_nothing(
    number: int, started: list[int], tmp_path: Path
) -> None:
    import numpy as np

    from spikec.backends.lava.emit import emit

    net = small()
    emit(net.graph(), tmp_path / "project")
    np.save(tmp_path / "x.npy", net.feeds(1)["x"])
    command = [sys.executable, "run.py", "--input", "../x.npy", "--steps", "30000"]
    process = subprocess.Popen(command, cwd=tmp_path / "project", stderr=subprocess.DEVNULL,
                               start_new_session=True)  # fmt: skip
    wait_for(lambda: actors(process.pid))
    process.send_signal(number)
    assert process.wait(10) == 128 + number


def test_a_run_that_hangs_is_repeated_once(monkeypatch, tiny_artifact, tiny_data):
    module = importlib.import_module("spikec.backends.lava.simulate")
    from spikec.runtime.coding import encode
    from spikec.runtime.interpreter import simulate as reference

    graph, calls, run = tiny_artifact.graph, [], module.run_child

    def hangs_first(command, folder, timeout):
        calls.append(command)
        if len(calls) == 1:
            (folder / "fault.json").write_text('{"message": "no end after 1 s"}')
            return 1, ""
        return run(command, folder, timeout)

    monkeypatch.setattr(module, "run_child", hangs_first)
    feeds = encode(graph, {graph.inputs[0].name: tiny_data[:1]}).feeds
    found, wanted = module.simulate(graph, feeds), reference(graph, feeds)
    assert len(calls) == 2
    for name in graph.outputs:
        assert (found.readout[name] == wanted.readout[name]).all()
