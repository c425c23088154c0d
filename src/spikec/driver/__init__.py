"""Glues a frontend, passes and a backend: what the command line and the Python API share."""

from spikec.driver.artifact import Artifact, is_artifact, load
from spikec.driver.blocks import BLOCK, encoded_blocks, logits
from spikec.driver.checking import check, describe_difference, engines, random_inputs
from spikec.driver.compiling import compile, read_calibration
from spikec.driver.evaluating import accuracy, check_model, evaluate, predict
from spikec.driver.files import write_file, write_npz
from spikec.driver.looking import (
    draw_chip,
    first_line,
    inspect,
    list_onnx_operators,
    list_passes,
    opt,
    placement,
    resources,
)
from spikec.driver.options import Options

__all__ = [
    "BLOCK",
    "Artifact",
    "Options",
    "accuracy",
    "check",
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
    "read_calibration",
    "resources",
    "write_file",
    "write_npz",
]
