"""Commands refuse an output before any work where it would take something away."""

import shutil
import zipfile
from pathlib import Path


def names(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_commands_refuse_before_any_work(files, fails, tmp_path):
    world, out = files, tmp_path / "out"
    shutil.copytree(world.out, out)
    shutil.copy(world.test, tmp_path / "x.npz")
    before = {name: (out / name).read_bytes() for name in names(out)}
    for command, told in (
        (("trace", out, "--data", world.test, "-o", out), "not a folder of golden traces"),
        (("run", out, "--data", tmp_path / "x.npz", "-o", tmp_path / "x.npz"), "the input"),
        (("run", out, "--data", world.test, "-o", out / "weights.npz"), "a part of"),
        (("report", out, "-o", out / "report.json"), "a part of"),
        (("inspect", out, "--chip", out / "graph.spk"), "a part of"),
        (("eval", out, "--data", world.test, "--plot", out), "ends in"),
        (("compile", world.model, "--calib", world.calib, "-o", tmp_path / "new", "--dump-ir",
          tmp_path / "new" / "ir"), "lies in -o"),
        (("compile", world.model, "--calib", world.calib, "-o", tmp_path), "not an artifact"),
    ):  # fmt: skip
        assert told in fails(*command)
    assert {name: (out / name).read_bytes() for name in names(out)} == before
    with zipfile.ZipFile(tmp_path / "x.npz") as archive:
        assert archive.testzip() is None
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "x.npz"]
