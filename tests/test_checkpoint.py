"""A compile that was stopped goes on where it was, and gives the same bytes.

`reliability/test_kills.py` kills one at each call that changes a file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import spikec
from spikec.compiler import checkpoint as checkpoints
from spikec.runtime.manifests import ARTIFACT, CHECKPOINT

Tree = dict[str, bytes]
WAYS: dict[str, dict[str, Any]] = {
    "drawn": {"set": ("dni.samples=100", "snm.samples=100", "reconstruct.rows=200")},
    "snm": {"snm": "on", "threshold": "per-neuron"},
    "graded": {"spikes": "graded"},
    "integer": {"spikes": "graded", "payload": "integer", "payload_bits": 4},
    "budget": {"spikes": "graded", "payload_budget": 3.0},
    "radix": {"code": "radix"},
    "round": {"weight_bits": 4},
    "blocks": {"reconstruct": "blocks", "set": ("blocks.iterations=20", "blocks.layers=1")},
}


class StopError(Exception):
    """Stands for a kill."""


def contents(folder: Path) -> Tree:
    return {p.relative_to(folder).as_posix(): p.read_bytes()
            for p in sorted(folder.rglob("*")) if p.is_file()}  # fmt: skip


def stopping_after(count: int, what: str) -> Callable[[str, int, int], None]:
    """Progress that stops a compile when so many layers or blocks are done."""

    def report(now: str, done: int, total: int) -> None:
        if now == what and done == count:
            raise StopError

    return report


@pytest.fixture(autouse=True)
def _every_step(monkeypatch):
    """Write each step, however short it took."""
    monkeypatch.setattr(checkpoints, "SECONDS", 0.0)


@pytest.fixture
def build(tiny_onnx, tiny_data, tmp_path):
    """Compiles the tiny model; gives the artifact's files, `None` if it was stopped."""

    def call(stop: tuple[int, str] | None = None, kept: bool = True, **options: Any) -> Tree | None:
        options = {"timesteps": 3, "samples": 24, **options}
        folder = tmp_path / "checkpoint" if kept else None
        progress = False if stop is None else stopping_after(*stop)
        try:
            art = spikec.compile(
                tiny_onnx(), tiny_data, progress=progress, checkpoint=folder, **options
            )
        except StopError:
            return None
        art.save(tmp_path / "out")
        return contents(tmp_path / "out")

    return call


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "checkpoint"


@pytest.mark.parametrize("way", WAYS)
def test_a_continued_compile_gives_the_same_bytes(build, folder, capsys, way):
    whole = build(kept=False, **WAYS[way])
    stops = [(k, "calibrate") for k in (1, 2, 3)]
    stops += [(k, "tune blocks") for k in (1, 2)] if way == "blocks" else []
    for count, what in stops:
        assert build((count, what), **WAYS[way]) is None
        assert CHECKPOINT.written(folder)
    assert build(**WAYS[way]) == whole
    assert not folder.exists()
    told = capsys.readouterr().err
    assert told.count("continues") == len(stops)
    assert "continues from layer 2 of 3" in told
    assert ("continues from block 2 of" in told) == (way == "blocks")
    assert "replaced" not in told


@pytest.mark.parametrize("count", [1, 2, 3])
def test_each_layer_is_a_place_to_continue_from(build, capsys, count):
    whole = build(kept=False)
    assert build((count, "calibrate")) is None
    assert build() == whole
    place = f"from layer {count + 1} of 3" if count < 3 else "after the last layer of 3"
    assert capsys.readouterr().err.count(f"continues {place}") == 1


def test_layers_that_are_done_are_not_calibrated_again(build, monkeypatch):
    from spikec.compiler.calibration import reconstruct

    fitted = []
    fit = reconstruct.Reconstruct.fit

    def counted(self, layer, record):
        fitted.append(layer.node.name)
        return fit(self, layer, record)

    monkeypatch.setattr(reconstruct.Reconstruct, "fit", counted)
    assert build((2, "calibrate")) is None
    first = list(fitted)
    fitted.clear()
    build()
    assert len(first) == 2
    assert len(fitted) == 1
    assert fitted[0] not in first


def test_notes_of_layers_that_are_done_are_told_again(build, monkeypatch):
    from spikec.compiler.calibration import reconstruct

    monkeypatch.setattr(reconstruct, "MOST_TAPS", 1)
    whole = build(kept=False)
    assert whole["report.json"].count(b"has too many inputs") == 3
    assert build((2, "calibrate")) is None
    assert build() == whole


def test_a_choice_of_steps_continues_in_the_middle(build, capsys):
    given = {"max_loss": 0.5, "max_timesteps": 2, "timesteps": None}
    whole = build(kept=False, **given)
    assert build((2, "calibrate"), **given) is None
    assert build(**given) == whole
    assert "continues from layer 3 of 3" in capsys.readouterr().err


@pytest.mark.parametrize(
    "other",
    [{"timesteps": 2}, {"seed": 1}, {"samples": 23}, {"snm": "on"}, {"weight_bits": 4},
     {"set": ("dni.samples=100",)}],
    ids=str,
)  # fmt: skip
def test_the_checkpoint_of_another_compile_is_replaced(build, folder, capsys, other):
    whole = build(kept=False, **other)
    assert build((2, "calibrate")) is None
    before = contents(folder)
    assert build((1, "calibrate"), **other) is None
    assert capsys.readouterr().err.count("is of another compile, and is replaced") == 1
    after = contents(folder)
    assert len(after) == 2
    assert set(before) & set(after) == {CHECKPOINT.file}
    assert build(**other) == whole


def test_another_model_and_another_version_are_another_compile(
    build, tiny_onnx, tiny_data, folder, capsys, monkeypatch
):
    from spikec.compiler.calibration import steps

    assert build((2, "calibrate")) is None
    other = {"timesteps": 3, "samples": 24, "progress": False}
    spikec.compile(tiny_onnx(1), tiny_data, checkpoint=folder, **other)
    assert "is of another compile" in capsys.readouterr().err
    assert build((2, "calibrate")) is None
    spikec.compile(tiny_onnx(), tiny_data + 0.01, checkpoint=folder, **other)
    assert "is of another compile" in capsys.readouterr().err
    assert build((2, "calibrate")) is None
    monkeypatch.setattr(steps, "version", lambda: "another")
    build()
    assert "is of another compile" in capsys.readouterr().err


def damage(content: bytes, how: str) -> bytes:
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    return {"cut": content[:middle], "empty": b"", "flipped": flipped, "text": b"no npz"}[how]


@pytest.mark.parametrize("how", ["cut", "empty", "flipped", "text"])
@pytest.mark.parametrize("which", [0, 1])
def test_a_damaged_step_is_calibrated_again(build, folder, capsys, how, which):
    whole = build(kept=False)
    assert build((2, "calibrate")) is None
    manifest = CHECKPOINT.read(folder)
    assert manifest is not None
    step = folder / list(manifest.names)[which]
    step.write_bytes(damage(step.read_bytes(), how))
    assert build() == whole
    told = capsys.readouterr().err
    assert told.count("is damaged, and is replaced") == 1
    assert ("continues from layer 2 of 3" in told) == (which == 1)
    assert not folder.exists()


def test_a_missing_step_ends_what_is_continued(build, folder, capsys):
    whole = build(kept=False)
    assert build((3, "calibrate")) is None
    manifest = CHECKPOINT.read(folder)
    assert manifest is not None
    (folder / list(manifest.names)[1]).unlink()
    assert build() == whole
    assert "continues from layer 2 of 3" in capsys.readouterr().err


@pytest.mark.parametrize("how", ["cut", "empty", "text"])
def test_a_damaged_manifest_is_replaced(build, folder, capsys, how):
    whole = build(kept=False)
    assert build((2, "calibrate")) is None
    manifest = folder / CHECKPOINT.file
    manifest.write_bytes(damage(manifest.read_bytes(), how))
    assert build() == whole
    assert capsys.readouterr().err.count("is damaged, and is replaced") == 1
    assert not folder.exists()


@pytest.mark.parametrize("name", ["notes.txt", CHECKPOINT.file, ARTIFACT.file])
def test_a_folder_of_others_is_left_alone(build, folder, capsys, name):
    whole = build(kept=False)
    folder.mkdir()
    (folder / name).write_text('{"format": 3}')
    (folder / "epoch-1.pt").write_text("a user's own")
    before = contents(folder)
    assert build() == whole
    assert contents(folder) == before
    assert capsys.readouterr().err.count("no checkpoint is kept") == 1


def test_what_others_put_into_a_checkpoint_stays(build, folder):
    assert build((2, "calibrate")) is None
    (folder / "notes.txt").write_text("a user's own")
    build()
    assert contents(folder) == {"notes.txt": b"a user's own"}


def test_what_cannot_be_written_is_told_once(build, capsys, monkeypatch):
    def full(place: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    whole = build(kept=False)
    monkeypatch.setattr(checkpoints, "replace_file", full)
    assert build() == whole
    assert capsys.readouterr().err.count("no checkpoint is kept: [Errno 28]") == 1


def test_a_short_compile_writes_nothing(build, folder, monkeypatch):
    monkeypatch.setattr(checkpoints, "SECONDS", 5.0)
    assert build((3, "calibrate")) is None
    assert not folder.exists()
