"""Outputs: what is replaced, what is kept, and what is refused before any work."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

import spikec
from spikec.ir import InvalidArtifact, UsageError
from spikec.runtime import files
from spikec.runtime.manifests import ARTIFACT, DUMP, HEX, KINDS, TRACES

EXTENSION = {"manifest_version": 3, "name": "my extension", "version": "1.0"}


@pytest.fixture
def artifact(tiny_artifact, tmp_path) -> Path:
    tiny_artifact.save(tmp_path / "net")
    return tmp_path / "net"


def names(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_a_folder_is_ours_by_what_its_manifest_says(tiny_artifact, tmp_path):
    """A browser extension with the names of an artifact."""
    place = tmp_path / "extension"
    place.mkdir()
    (place / "manifest.json").write_text(json.dumps(EXTENSION))
    (place / "graph.spk").write_text("my own")
    with pytest.raises(InvalidArtifact, match="exists and is not an artifact; nothing was written"):
        tiny_artifact.save(place)
    assert names(place) == {"manifest.json", "graph.spk"}
    assert (place / "graph.spk").read_text() == "my own"


@pytest.mark.parametrize("version", [0, 3, "2", None, [2]])
def test_a_manifest_of_another_version_is_not_ours(artifact, version):
    manifest = json.loads((artifact / "manifest.json").read_text())
    assert ARTIFACT.written(artifact) is not None
    (artifact / "manifest.json").write_text(json.dumps({**manifest, "format": version}))
    assert ARTIFACT.written(artifact) is None


def test_a_folder_is_of_one_kind(artifact, tmp_path):
    assert [kind for kind in KINDS if kind.written(artifact) is not None] == [ARTIFACT]
    for kind in (TRACES, HEX, DUMP):
        with pytest.raises(InvalidArtifact, match=f"exists and is not {kind.what}"):
            files.check_folder(artifact, kind)


def test_files_of_others_are_kept(tiny_artifact, artifact):
    (artifact / "notes").mkdir()
    (artifact / "notes" / "why.txt").write_text("a user's own")
    (artifact / "link").symlink_to("notes/why.txt")
    (artifact / "folder").symlink_to("notes")
    before = (artifact / "notes" / "why.txt").stat().st_ino
    tiny_artifact.save(artifact)
    spikec.load(artifact)
    assert (artifact / "notes" / "why.txt").read_text() == "a user's own"
    assert (artifact / "notes" / "why.txt").stat().st_ino == before
    assert os.readlink(artifact / "link") == "notes/why.txt"
    assert os.readlink(artifact / "folder") == "notes"


def test_a_file_of_others_is_not_replaced(tiny_artifact, tmp_path):
    """Format 1 wrote no recipe.json; a user may have put one there."""
    tiny_artifact.save(tmp_path / "net")
    manifest = json.loads((tmp_path / "net" / "manifest.json").read_text())
    del manifest["files"]["recipe.json"]
    (tmp_path / "net" / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "net" / "recipe.json").write_text("my cake")
    with pytest.raises(InvalidArtifact, match=r"recipe\.json was not written by spikec"):
        tiny_artifact.save(tmp_path / "net")
    assert (tmp_path / "net" / "recipe.json").read_text() == "my cake"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net"]


def test_a_link_means_what_it_points_to(tiny_artifact, artifact, tmp_path):
    link = tmp_path / "current"
    link.symlink_to("net")
    before = artifact.stat().st_ino
    tiny_artifact.save(link)
    assert os.readlink(link) == "net"
    assert artifact.stat().st_ino != before
    file, named = tmp_path / "x.txt", tmp_path / "named"
    file.write_text("old")
    named.symlink_to(file)
    files.write_file(named, b"new")
    assert os.readlink(named) == str(file)
    assert file.read_text() == "new"
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    with pytest.raises((UsageError, InvalidArtifact)):
        tiny_artifact.save(loop)


def test_the_working_directory_is_not_replaced(artifact, monkeypatch):
    (artifact / "below").mkdir()
    for here in (artifact, artifact / "below"):
        monkeypatch.chdir(here)
        with pytest.raises(UsageError, match="working directory"):
            files.check_folder(artifact, ARTIFACT)
    monkeypatch.chdir(artifact)
    with pytest.raises(UsageError, match="working directory"):
        files.check_folder(Path("."), ARTIFACT)


def test_a_mount_is_not_replaced(artifact, monkeypatch):
    monkeypatch.setattr(os.path, "ismount", lambda path: True)
    with pytest.raises(UsageError, match="mounted"):
        files.check_folder(artifact, ARTIFACT)


def test_inputs_are_not_replaced(artifact, tmp_path):
    data = tmp_path / "x.npz"
    np.savez(data, x=np.zeros(3))
    (tmp_path / "same.npz").hardlink_to(data)
    for name in ("x.npz", "same.npz", "../" + tmp_path.name + "/x.npz"):
        with pytest.raises(UsageError, match="would replace the input"):
            files.check_file(tmp_path / name, [data])
    with pytest.raises(UsageError, match="would replace the input"):
        files.check_folder(artifact, ARTIFACT, [artifact / "weights.npz"])
    (artifact / "x.npz").write_bytes(data.read_bytes())
    files.check_folder(artifact, ARTIFACT, [None, artifact / "x.npz"])  # it is kept


def test_a_part_of_an_artifact_is_not_replaced(artifact):
    for name in ("graph.spk", "report.json", "manifest.json"):
        with pytest.raises(UsageError, match="would replace a part of"):
            files.write_file(artifact / name, b"x")
    files.write_file(artifact / "report.html", b"x")
    spikec.load(artifact)


@pytest.mark.parametrize("place", ["", "folder", "pipe"])
def test_what_is_no_file_is_not_replaced(tmp_path, place):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError):
        files.write_file(tmp_path / place, b"x")


def test_modes_are_kept(tiny_artifact, artifact, tmp_path):
    artifact.chmod(0o700)
    (tmp_path / "x").write_text("old")
    (tmp_path / "x").chmod(0o640)
    tiny_artifact.save(artifact)
    files.write_file(tmp_path / "x", b"new")
    assert artifact.stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640


def test_folders_are_exchanged_in_one_step(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not files.exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("not on this system")
    assert names(tmp_path) == {"a/b", "b/a"}
    with pytest.raises(OSError, match="No such file"):
        files.exchange(tmp_path / "a", tmp_path / "none")


def test_stages_are_known_by_what_they_hold(tmp_path):
    """A user's folder that is called like a stage is left alone."""
    mine = tmp_path / ".net.0123abcd.spikec"
    mine.mkdir()
    (mine / "precious.txt").touch()
    files.settle(tmp_path / "net")
    assert names(tmp_path) == {".net.0123abcd.spikec/precious.txt"}
    (mine / "precious.txt").rename(mine / "lock")
    files.settle(tmp_path / "net")
    assert list(tmp_path.iterdir()) == []


def test_traces_are_replaced_whole(tiny_artifact, tmp_path):
    """Without --arrays over traces with them, no stale arrays stay."""
    from spikec.driver import differences
    from spikec.runtime.data import Dataset

    data = Dataset({"x": np.zeros((2, 2, 6, 6), np.float32)})
    differences.write_traces(tiny_artifact, data, "fast", tmp_path / "t", arrays=True)
    assert "arrays.npz" in names(tmp_path / "t")
    differences.write_traces(tiny_artifact, data, "fast", tmp_path / "t")
    assert "arrays.npz" not in names(tmp_path / "t")
    with pytest.raises(InvalidArtifact, match="not a folder of hex traces"):
        differences.write_traces(tiny_artifact, data, "fast", tmp_path / "t", form="hex")
