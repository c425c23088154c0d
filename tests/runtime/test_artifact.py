import dataclasses
import io
import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

import spikec
from spikec.ir import InvalidArtifact, same_values
from spikec.runtime import artifact as store
from spikec.runtime import files


@pytest.fixture
def folder(tiny_artifact, tmp_path) -> Path:
    tiny_artifact.save(tmp_path / "net")
    return tmp_path / "net"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def rewrite(folder: Path, name: str, change) -> None:
    """Change a file and vouch for it in the manifest."""
    path = folder / name
    path.write_bytes(change(path.read_bytes()))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = store.file_digest(path)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def refused(folder: Path) -> str:
    with pytest.raises(InvalidArtifact) as caught:
        spikec.load(folder)
    assert str(caught.value).startswith((f"{folder}: ", f"{folder}/"))
    told = str(caught.value).split("\n  hint: ")[0]
    return told.removeprefix(str(folder)).removeprefix(": ")


FILES = [
    "float.npz", "float.spk", "graph.spk", "manifest.json", "recipe.json", "report.json",
    "weights.npz",
]  # fmt: skip


def test_what_is_saved_is_loaded(tiny_artifact, folder, tiny_data):
    assert sorted(contents(folder)) == FILES
    loaded = spikec.load(folder)
    assert same_values(loaded.graph, tiny_artifact.graph)
    assert same_values(loaded.stored.float_graph, tiny_artifact.stored.float_graph)
    assert store.to_json(loaded.report.to_json()) == store.to_json(tiny_artifact.report.to_json())
    assert (loaded.run(tiny_data) == tiny_artifact.run(tiny_data)).all()


def test_the_manifest_says_how_it_was_made(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["format"] == store.FORMAT
    assert manifest["spikec"] == spikec.__version__
    assert manifest["target"] == {"name": "numpy", "options": {}}
    assert manifest["steps"] == 4
    assert "fold" in manifest["passes"]
    assert any(text.startswith("quantise") for text in manifest["passes"])
    assert set(manifest["numerics"]) == {"numpy", "numba", "onnxruntime", "blas", "machine"}
    assert manifest["numerics"]["numpy"] == np.__version__
    assert "threads" in manifest["numerics"]["blas"]
    assert len(manifest["calibration"]["sha256"]) == len(manifest["model"]["sha256"]) == 64
    assert sorted(manifest["files"]) == [
        n for n in FILES if n not in ("manifest.json", "report.json")
    ]


def test_the_same_network_gives_the_same_bytes(tiny_artifact, folder, tmp_path):
    tiny_artifact.save(tmp_path / "again")
    assert contents(folder) == contents(tmp_path / "again")
    spikec.load(folder).save(tmp_path / "third")
    assert contents(folder) == contents(tmp_path / "third")


def test_nothing_is_pickled(folder):
    for name in ("weights.npz", "float.npz"):
        with np.load(folder / name, allow_pickle=False) as archive:
            assert all(archive[key].dtype.kind in "iuf" for key in archive.files)


def test_nothing_but_the_artifact_is_left_behind(folder):
    assert [p.name for p in folder.parent.iterdir()] == ["net"]
    assert folder.stat().st_mode & 0o777 == 0o755


def test_an_artifact_is_replaced_as_a_whole(tiny_artifact, folder):
    def emit(made):
        (made / "code.py").write_text("x = 1")

    store.save(tiny_artifact.stored, folder, emit)
    assert "numpy/code.py" in contents(folder)
    (folder / "report.html").write_text("<title>spikec: net</title>")
    (folder / "numpy" / "notes.txt").write_text("a user's own")
    tiny_artifact.save(folder)
    assert sorted(contents(folder)) == sorted([*FILES, "numpy/notes.txt"])
    assert [p.name for p in folder.parent.iterdir()] == ["net"]


@pytest.mark.parametrize("kind", ["directory", "file", "link"])
def test_anything_else_is_not_overwritten(tiny_artifact, tmp_path, kind):
    place = tmp_path / "thesis"
    if kind == "file":
        place.write_text("precious")
    else:
        real = place if kind == "directory" else tmp_path / "real"
        real.mkdir()
        (real / "chapter1.tex").write_text("precious")
        if kind == "link":
            place.symlink_to(real)
    with pytest.raises(InvalidArtifact) as caught:
        tiny_artifact.save(place)
    assert str(caught.value) == (
        f"{place}: exists and is not an artifact; nothing was written\n"
        "  hint: choose another -o, or remove it"
    )
    file = place if kind == "file" else place / "chapter1.tex"
    assert file.read_text() == "precious"
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_an_empty_directory_is_taken(tiny_artifact, tmp_path):
    (tmp_path / "out").mkdir()
    tiny_artifact.save(tmp_path / "out")
    spikec.load(tmp_path / "out")


def test_parents_are_made(tiny_artifact, tmp_path):
    tiny_artifact.save(tmp_path / "a" / "b" / "c")
    spikec.load(tmp_path / "a" / "b" / "c")


def test_a_failing_backend_leaves_nothing(tiny_artifact, tmp_path):
    def emit(folder):
        (folder / "half.py").write_text("x = ")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.save(tiny_artifact.stored, tmp_path / "net", emit)
    assert list(tmp_path.iterdir()) == []


def test_a_failing_backend_keeps_the_old_artifact(tiny_artifact, folder):
    before = contents(folder)

    def emit(into):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.save(tiny_artifact.stored, folder, emit)
    assert contents(folder) == before
    assert [p.name for p in folder.parent.iterdir()] == ["net"]


@pytest.mark.parametrize("step", [1, 2])
def test_a_failed_move_puts_the_old_artifact_back(tiny_artifact, folder, monkeypatch, step):
    """Where folders cannot be exchanged in one step, and the first or the second rename fails."""
    before, rename, calls = contents(folder), os.rename, []

    def fail(source, target):
        calls.append(target)
        if len(calls) == step:
            raise OSError("disk full")
        rename(source, target)

    monkeypatch.setattr(files, "exchange", lambda left, right: False)
    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(OSError, match="disk full"):
        tiny_artifact.save(folder)
    assert contents(folder) == before
    assert [p.name for p in folder.parent.iterdir()] == ["net"]


def test_a_backends_files_are_hashed_too(tiny_artifact, tmp_path):
    store.save(
        tiny_artifact.stored, tmp_path / "net", lambda into: (into / "code.py").write_text("x = 1")
    )
    spikec.load(tmp_path / "net")
    (tmp_path / "net" / "numpy" / "code.py").write_text("x = 2")
    assert "numpy/code.py was changed after it was written" in refused(tmp_path / "net")


@pytest.mark.parametrize("name", [n for n in FILES if n not in ("manifest.json", "report.json")])
def test_a_changed_byte_is_found(folder, name):
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    assert refused(folder) == f"{name} was changed after it was written (its hash differs)"


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_found(folder, name):
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])
    assert name in refused(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_found(folder, name):
    (folder / name).unlink()
    assert f"{name} is missing" in refused(folder)


def test_files_that_are_vouched_for_but_damaged(folder):
    rewrite(folder, "weights.npz", lambda data: data[:50])
    assert "cannot be read" in refused(folder)


def test_weights_of_another_shape(folder):
    def change(data: bytes) -> bytes:
        with np.load(io.BytesIO(data)) as archive:
            arrays = dict(archive)
        name = next(n for n in arrays if n.endswith(".w"))
        arrays[name] = arrays[name][:1]
        return store.npz_bytes(arrays)

    rewrite(folder, "weights.npz", change)
    with pytest.raises(InvalidArtifact, match="does not have its declared type"):
        spikec.load(folder)


def test_weights_without_an_array(folder):
    rewrite(folder, "weights.npz", lambda data: store.npz_bytes({}))
    assert "/weights.npz: holds no array '" in refused(folder)


def test_pickled_weights_are_refused(folder):
    def change(data: bytes) -> bytes:
        with np.load(io.BytesIO(data)) as archive:
            arrays = dict(archive)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as out:
            for name in arrays:
                content = io.BytesIO()
                odd = np.array([{"a": 1}], dtype=object)
                np.lib.format.write_array(content, odd, allow_pickle=True)
                out.writestr(f"{name}.npy", content.getvalue())
        return buffer.getvalue()

    rewrite(folder, "weights.npz", change)
    assert "holds Python objects, not numbers" in refused(folder)


def test_another_format_version(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    assert refused(folder) == f"/manifest.json: format 99, this spikec reads {store.FORMAT}"


@pytest.mark.parametrize(
    ("text", "told"),
    [("", "input data was truncated"), ("{", "input data was truncated"),
     ("[]", "expected object, got array"), ("3", "expected object, got int"),
     ("null", "expected object, got null"),
     ('{"files": 5}', "object missing required field format"),
     ('{"format": 1}', "object missing required field target"),
     ('{"format": 2, "spikec": 5}', "spikec: expected str, got int")],
)  # fmt: skip
def test_a_damaged_manifest(folder, text, told):
    (folder / "manifest.json").write_text(text)
    assert refused(folder) == f"/manifest.json: {told}"


@pytest.mark.parametrize("key", ["target", "model", "steps", "passes"])
def test_a_manifest_without_what_is_needed_later(folder, key):
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest[key]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert refused(folder) == f"/manifest.json: object missing required field {key}"


def test_a_manifest_cannot_reach_outside(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    outside = folder.parent / "secret"
    outside.write_text("x")
    manifest["files"]["../secret"] = store.file_digest(outside)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert refused(folder) == "/manifest.json: a name in files: not of the expected form"


def test_a_needed_file_must_be_listed(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"]["weights.npz"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert refused(folder) == "weights.npz is not listed in manifest.json"


def test_no_such_directory(tmp_path):
    with pytest.raises(InvalidArtifact, match="no such artifact directory"):
        spikec.load(tmp_path / "nowhere")


def test_json_never_holds_nan():
    with pytest.raises(ValueError, match="Out of range"):
        store.to_json({"x": float("nan")})


def test_artifacts_can_move(folder, tmp_path):
    shutil.move(folder, tmp_path / "elsewhere")
    spikec.load(os.fspath(tmp_path / "elsewhere"))


def test_reports_do_not_hold_times(tiny_artifact):
    assert "seconds" not in store.to_json(tiny_artifact.report.to_json())
    assert dataclasses.is_dataclass(tiny_artifact.stored)
