"""Glues a frontend, passes and a backend: what the command line and the Python API share.

Names are imported when they are first used: loading an artifact needs no ONNX.
"""

from typing import TYPE_CHECKING

from spikec.lazy import importer

if TYPE_CHECKING:
    from spikec.compiler.checkpoint import Checkpoint
    from spikec.driver.artifact import Artifact, is_artifact, load
    from spikec.driver.blocks import BLOCK, encoded_blocks, logits
    from spikec.driver.checking import check, describe_difference, engines, random_inputs
    from spikec.driver.compiling import compile
    from spikec.driver.contents import (
        draw_chip,
        first_line,
        list_onnx_operators,
        list_passes,
        opt,
        placement,
        resources,
    )
    from spikec.driver.evaluating import check_model, evaluate, predict
    from spikec.driver.inspecting import inspect
    from spikec.driver.model import Model
    from spikec.options import Options
    from spikec.runtime.files import check_file, check_folder, write_file

__all__ = [
    "BLOCK",
    "Artifact",
    "Checkpoint",
    "Model",
    "Options",
    "check",
    "check_file",
    "check_folder",
    "check_model",
    "compile",
    "describe_difference",
    "draw_chip",
    "encoded_blocks",
    "engines",
    "evaluate",
    "first_line",
    "inspect",
    "is_artifact",
    "list_onnx_operators",
    "list_passes",
    "load",
    "logits",
    "opt",
    "placement",
    "predict",
    "random_inputs",
    "resources",
    "write_file",
]

__getattr__ = importer(
    __name__,
    {
        "Artifact": "spikec.driver.artifact",
        "BLOCK": "spikec.driver.blocks",
        "Checkpoint": "spikec.compiler.checkpoint",
        "Model": "spikec.driver.model",
        "Options": "spikec.options",
        "check": "spikec.driver.checking",
        "check_file": "spikec.runtime.files",
        "check_folder": "spikec.runtime.files",
        "check_model": "spikec.driver.evaluating",
        "compile": "spikec.driver.compiling",
        "describe_difference": "spikec.driver.checking",
        "draw_chip": "spikec.driver.contents",
        "encoded_blocks": "spikec.driver.blocks",
        "engines": "spikec.driver.checking",
        "evaluate": "spikec.driver.evaluating",
        "first_line": "spikec.driver.contents",
        "inspect": "spikec.driver.inspecting",
        "is_artifact": "spikec.driver.artifact",
        "list_onnx_operators": "spikec.driver.contents",
        "list_passes": "spikec.driver.contents",
        "load": "spikec.driver.artifact",
        "logits": "spikec.driver.blocks",
        "opt": "spikec.driver.contents",
        "placement": "spikec.driver.contents",
        "predict": "spikec.driver.evaluating",
        "random_inputs": "spikec.driver.checking",
        "resources": "spikec.driver.contents",
        "write_file": "spikec.runtime.files",
    },
)
