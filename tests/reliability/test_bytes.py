"""The same input, options and numerics: the same bytes. Other numerics: the manifest says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest


@pytest.fixture(scope="module")
def world(tmp_path_factory, tiny_onnx) -> Path:
    folder = tmp_path_factory.mktemp("bytes")
    onnx.save(tiny_onnx(), folder / "tiny.onnx")
    np.savez(folder / "x.npz", x=np.random.default_rng(1).random((32, 2, 6, 6), np.float32))
    return folder


def compiled(world: Path, name: str, **environment: str) -> dict[str, bytes]:
    """An artifact that a process of its own compiles."""
    command = [sys.executable, "-m", "spikec", "compile", "tiny.onnx", "--calib", "x.npz", "-o",
               name, "--timesteps", "4", "--quiet"]  # fmt: skip
    subprocess.run(command, cwd=world, check=True, env={**os.environ, **environment})
    return {p.name: p.read_bytes() for p in (world / name).iterdir() if p.is_file()}


def numerics(artifact: dict[str, bytes]) -> dict[str, str]:
    return json.loads(artifact["manifest.json"])["numerics"]


def test_two_processes_write_the_same_bytes(world):
    one = compiled(world, "one", OPENBLAS_NUM_THREADS="1", PYTHONHASHSEED="1")
    assert one == compiled(world, "two", OPENBLAS_NUM_THREADS="1", PYTHONHASHSEED="2")


def test_the_manifest_tells_other_numerics(world):
    one = compiled(world, "threads1", OPENBLAS_NUM_THREADS="1")
    two = compiled(world, "threads2", OPENBLAS_NUM_THREADS="2")
    if "openblas" not in numerics(one)["blas"]:
        pytest.skip("another BLAS")
    assert numerics(one)["blas"].endswith("1 threads")
    assert numerics(two)["blas"].endswith("2 threads")
    other = compiled(world, "kernel", OPENBLAS_NUM_THREADS="1", OPENBLAS_CORETYPE="Nehalem")
    assert "Nehalem" in numerics(other)["blas"]
