"""Reading ONNX files, whatever is in them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import onnx
from onnx import ModelProto

from spikec.ir import InvalidModel

OLDEST_OPSET = 7


def load_model(model: str | Path | bytes | ModelProto) -> tuple[ModelProto, str | None]:
    """Read and check a model, external data included.

    Args:
        model: A path, the bytes of a file, or a loaded model.

    Returns:
        The model and its file name (None when it did not come from a file).

    Raises:
        InvalidModel: when it cannot be read or breaks ONNX's rules.
    """
    name = Path(model).name if isinstance(model, (str, Path)) else None
    try:
        proto = _read(model)
        if not proto.graph.node:
            raise InvalidModel("the model holds no nodes: it is empty or truncated", loc=name)
        onnx.checker.check_model(proto)
    except InvalidModel:
        raise
    except FileNotFoundError as error:
        raise InvalidModel(f"no such file: {error.filename or name}", loc=name) from None
    except Exception as error:  # onnx and protobuf raise many unrelated kinds
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InvalidModel(f"not a valid ONNX model: {first}", loc=name) from None
    opset = opset_of(proto)
    if opset < OLDEST_OPSET:
        raise InvalidModel(
            f"opset {opset} is older than {OLDEST_OPSET}",
            loc=name,
            hint="export with a newer opset, or convert with onnx.version_converter",
        )
    return proto, name


def _read(model: str | Path | bytes | ModelProto) -> ModelProto:
    if isinstance(model, ModelProto):
        return model
    if isinstance(model, bytes):
        return onnx.load_model_from_string(model)
    if Path(model).is_dir():
        raise InvalidModel("is a directory, not an ONNX file", loc=str(model))
    return onnx.load(str(model))


def opset_of(proto: ModelProto) -> int:
    """Version of the default operator set that the model uses."""
    versions = [entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")]
    return max(versions, default=OLDEST_OPSET)


def model_hash(proto: ModelProto) -> str:
    """SHA-256 of the model with its weights."""
    return hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest()
