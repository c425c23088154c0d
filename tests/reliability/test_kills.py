"""Whatever kills a command: its output is the old or the new, and the next run leaves nothing."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import pytest
from kills import Tree, faults, leftovers, part, run, snapshot

from spikec.runtime import files as outputs
from spikec.runtime.manifests import ARTIFACT

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")
PASSES = "--samples 8 --pass-pipeline fold,relay,observe,qcfs,quantise"
COMPILE = f"compile tiny.onnx --calib x.npz {PASSES}"
KEPT = COMPILE.replace("qcfs", "qcfs,bias,dni")
"""With a sweep over the three layers, which leaves a checkpoint."""
QUICK = 5
"""Of so many calls the quick tests kill at one."""


@dataclass(frozen=True)
class Written:
    """A command and the outputs that it writes."""

    command: str
    outputs: tuple[str, ...]


COMMANDS = {
    "compile-fresh": Written(f"{COMPILE} -o fresh --timesteps 3", ("fresh",)),
    "compile-over": Written(f"{COMPILE} -o out --timesteps 3", ("out",)),
    "compile-over-onnx": Written(f"{COMPILE} -o out --timesteps 3 --target onnx", ("out",)),
    "compile-over-c": Written(f"{COMPILE} -o out --timesteps 3 --target c", ("out",)),
    "compile-kept": Written(f"{KEPT} -o out --timesteps 3", ("out", "out.checkpoint")),
    "dump-over": Written(f"{COMPILE} -o out --timesteps 2 --dump-ir ir", ("ir", "out")),
    "trace-over": Written("trace out --data x.npz -o traces --limit 3", ("traces",)),
    "trace-hex-over": Written("trace out --data x.npz -o hex --limit 3 --format hex", ("hex",)),
    "run-over": Written("run out --data x.npz -o run.npz --limit 3", ("run.npz",)),
    "report-in": Written("report out", ("out",)),
    "report-over": Written("report out -o page.html", ("page.html",)),
    "chip-over": Written("inspect out --chip chip.svg", ("chip.svg",)),
    "eval": Written("eval out --data x.npz --limit 3", ("out",)),
    "check": Written("check out --data x.npz --limit 3", ("out",)),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory, tiny_onnx) -> Path:
    """An artifact of a target, with a user's file in it, and older outputs of all commands."""
    folder = tmp_path_factory.mktemp("template")
    onnx.save(tiny_onnx(), folder / "tiny.onnx")
    np.savez(folder / "x.npz", x=np.random.default_rng(1).random((8, 2, 6, 6), np.float32))
    for command in (
        f"{COMPILE} -o out --timesteps 2 --target onnx --dump-ir ir",
        "trace out --data x.npz -o traces --limit 2 --arrays",
        "trace out --data x.npz -o hex --limit 2 --format hex",
    ):
        assert run(folder, command.split()) is not None
    (folder / "ir" / "dump.json").write_text('{"format": 1, "dump": ["09-old.spk"]}')
    (folder / "ir" / "09-old.spk").write_text("old")
    (folder / "out" / "onnx" / "notes.txt").write_text("a user's own")
    for name in ("run.npz", "page.html", "chip.svg"):
        (folder / name).write_text("old")
    return folder


def grown(found: Tree, old: Tree, new: Tree) -> bool:
    """Whether a dump holds the graphs after the passes so far, and nothing of an old one."""
    manifest = found.get("ir/dump.json", b"")
    graphs = {name: text for name, text in found.items() if name != "ir/dump.json"}
    return b"09-old" not in manifest and graphs.items() <= new.items()


def listed(found: Tree, old: Tree, new: Tree) -> bool:
    """Whether a checkpoint holds what its manifest lists, but for steps that were to come next."""
    kept = {name: content for name, content in found.items() if not name.endswith(".json")}
    names = [Path(name).stem for name in kept]
    manifest = found["out.checkpoint/checkpoint.json"].decode()
    whole = all(sha256(content).hexdigest() in name for name, content in kept.items())
    return whole and all(name in manifest for name in names)


def killed(world: Path, tmp_path: Path, name: str, every: int) -> None:
    written = COMMANDS[name]
    told, times = faults(world, tmp_path, written.command.split(), written.outputs,
                         every=every, partly={"ir": grown, "out.checkpoint": listed})  # fmt: skip
    assert told == []
    assert times >= 2 if every > 1 else times >= 6


@pytest.mark.parametrize(
    ("name", "every"),
    [("compile-over", QUICK), ("compile-kept", 3 * QUICK), ("trace-over", QUICK),
     ("run-over", QUICK)],
)  # fmt: skip
def test_killed_commands(world, tmp_path, name, every):
    killed(world, tmp_path, name, every)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_commands_killed_at_every_call(world, tmp_path, name):
    killed(world, tmp_path, name, 1)


def test_what_is_half_written_is_found(world, tmp_path):
    """The test can fail: an output that is removed before the new one is written."""
    old, new = snapshot(world), dict(snapshot(world))
    gone = {name: content for name, content in old.items() if not name.startswith("out/")}
    assert part(old, "out")
    assert part(gone, "out") not in (part(old, "out"), part(new, "out"))
    (tmp_path / ".out.0123abcd.spikec" / "new").mkdir(parents=True)
    assert leftovers(tmp_path) == [".out.0123abcd.spikec"]


@pytest.mark.parametrize("put", [True, False], ids=["old-away", "new-in-place"])
def test_a_folder_on_its_way_out_is_put_back_by_the_next_run(world, tmp_path, put):
    """Where folders cannot be exchanged, a kill may come between two renames."""
    shutil.copytree(world, tmp_path / "world")
    out, stage = tmp_path / "world" / "out", tmp_path / "world" / ".out.0123abcd.spikec"
    before = snapshot(tmp_path / "world")
    stage.mkdir()
    shutil.copytree(out, stage / "new")
    (stage / "lock").touch()
    if put:
        out.rename(stage / "old")
    else:
        shutil.copytree(out, stage / "old")
    outputs.settle(out)
    assert snapshot(tmp_path / "world") == before
    assert leftovers(tmp_path / "world") == []


def test_the_stage_of_a_living_process_is_left_alone(tmp_path):
    def fill() -> None:
        with outputs.new_folder(tmp_path / "out", ARTIFACT) as made:
            outputs.settle(tmp_path / "out")
            assert made.is_dir()
            raise KeyError

    with pytest.raises(KeyError):
        fill()
    assert list(tmp_path.iterdir()) == []
