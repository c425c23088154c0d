"""A torch.nn.Module as an ONNX model: exported in memory, without a dependency on torch."""

from __future__ import annotations

import importlib
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from spikec.ir import InvalidModel, UsageError
from spikec.ir.types import Array
from spikec.runtime.data import Dataset, Source, read_x
from spikec.runtime.sources import example

if TYPE_CHECKING:
    from typing_extensions import TypeIs

OPSET = 17
"""Of the models that modules are exported to."""


class TorchModule(Protocol):
    """A `torch.nn.Module`, known by what it can do."""

    training: bool

    def state_dict(self) -> Any: ...
    def train(self, mode: bool) -> Any: ...
    def __call__(self, *inputs: Any) -> Any: ...


def is_module(model: object) -> TypeIs[TorchModule]:
    """Whether a model is a `torch.nn.Module`."""
    return all(hasattr(model, name) for name in ("state_dict", "train", "training", "forward"))


def first_sample(
    model: object, calib: Source | Dataset
) -> tuple[Sequence[Array] | None, Source | Dataset]:
    """What a module is exported with, where the model is one, and the data, still whole."""
    if not is_module(model) or isinstance(calib, Dataset):
        return None, calib
    if isinstance(calib, str | Path):
        if Path(calib).is_dir():
            raise UsageError(
                "a torch module and a folder of images: export the module to ONNX first"
            )
        return [read_x(Path(calib))[:1]], calib
    return example(calib)


def export(module: TorchModule, sample: Sequence[Array] | None) -> bytes:
    """A module as the bytes of an ONNX model with a free batch axis.

    Raises:
        UsageError: without a sample.
        InvalidModel: with what torch says, when it cannot be exported.
    """
    if sample is None:
        raise UsageError("a torch module is exported with the first calibration sample: give calib")
    torch: Any = importlib.import_module("torch")
    inputs = tuple(torch.from_numpy(np.array(x)) for x in sample)
    names = [f"input{i}" if len(inputs) > 1 else "input" for i in range(len(inputs))]
    was_training, content = module.training, io.BytesIO()
    module.train(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter about itself
            torch.onnx.export(
                module,
                inputs,
                content,
                dynamo=False,
                opset_version=OPSET,
                input_names=names,
                output_names=["output"],
                dynamic_axes={name: {0: "N"} for name in names},
            )
    except Exception as error:  # the exporter raises many unrelated kinds
        text = (str(error).strip() or type(error).__name__).splitlines()[0]
        shapes = " and ".join(str(list(x.shape)) for x in sample)
        raise InvalidModel(
            f"the torch module cannot be exported: {text}",
            hint=f"it was called with the first calibration sample, of shape {shapes}",
        ) from error
    finally:
        module.train(was_training)
    return content.getvalue()
