"""Golden files: tests/passes/NAME.txt; UPDATE_GOLDEN=1 writes the expected texts anew.

A file is a header `// RUN: spikec opt --pass-pipeline "..." [--timesteps N]`, an input graph,
`// ----` and the expected output.
"""

import os
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spikec.cli import app
from spikec.ir import parse

FILES = sorted((Path(__file__).parents[1] / "passes").glob("*.txt"))
LINE = "// ----\n"


def run(header: str, source: str, folder: Path) -> str:
    assert header.startswith("// RUN: spikec opt "), header
    arguments = shlex.split(header.removeprefix("// RUN: spikec opt "))
    (folder / "in.spk").write_text(source)
    result = CliRunner().invoke(app, ["opt", str(folder / "in.spk"), *arguments])
    assert result.exception is None, result.exception
    return result.stdout


def test_there_are_golden_files():
    assert {"fold", "relay", "qcfs", "quantise"} <= {path.stem.split("-")[0] for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden(path, tmp_path):
    header, rest = path.read_text().split("\n", 1)
    source, _, expected = rest.partition(LINE)
    found = run(header, source, tmp_path)
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(f"{header}\n{source}{LINE}{found}")
    else:
        assert found == expected, f"set UPDATE_GOLDEN=1 to rewrite {path.name}"
    assert parse(found).to_text(values=True) == found
