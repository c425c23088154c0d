"""What a process that is forked need not do again: imports, parsers, compiled kernels.

Imported by the server that processes are forked from.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from pkgutil import walk_packages

os.environ["NUMBA_THREADING_LAYER"] = "workqueue"  # which may be forked

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOMS = ("ir", "runtime", "compiler", "driver", "report", "cli", "backends.c", "backends.onnx")


def modules() -> Iterator[str]:
    """All modules of spikec, but those of emitted projects."""
    for room in ROOMS:
        package = importlib.import_module(f"spikec.{room}")
        for module in walk_packages(package.__path__, f"{package.__name__}."):
            if ".project" not in module.name:
                yield module.name


def work(folder: Path) -> None:
    """Compile a small network, and use it."""
    from spikec.cli import main

    info, weights = helper.make_tensor_value_info, np.eye(4, dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["r"]),
         helper.make_node("MatMul", ["r", "w"], ["y"])],
        "net", [info("x", TensorProto.FLOAT, ["N", 4])], [info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(weights, "w")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "net.onnx")
    np.savez(folder / "x.npz", x=np.eye(4, dtype=np.float32))
    out, data = str(folder / "out"), str(folder / "x.npz")
    for command in (
        ["compile", str(folder / "net.onnx"), "--calib", data, "-o", out, "--samples", "4"],
        ["check", out, "--data", data],
        ["report", out],
    ):
        with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
            main(command)


for name in modules():
    importlib.import_module(name)
kept = os.dup(2)
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
with tempfile.TemporaryDirectory() as made:
    work(Path(made))
os.dup2(kept, 2)
os.close(kept)
