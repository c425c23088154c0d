"""Reading ONNX files, whatever is in them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import onnx
import onnx.inliner
import onnx.shape_inference
import onnx.version_converter
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from spikec.ir import InvalidModel, SpikecError
from spikec.ir.reading import check_file

OLDEST_OPSET = 7
_EXTERNAL = TensorProto.EXTERNAL


def load_model(
    model: str | Path | bytes | ModelProto, shapes: Mapping[str, Sequence[int]] | None = None
) -> tuple[ModelProto, str | None]:
    """Read and check a model: external data loaded, functions inlined.

    Args:
        model: A path, the bytes of a file, or a loaded model.
        shapes: Shapes of inputs whose sizes the model leaves open, by name, the batch first.

    Returns:
        The model and its file name (None when it did not come from a file).

    Raises:
        InvalidModel: when it cannot be read or breaks ONNX's rules.
    """
    name = Path(model).name if isinstance(model, str | Path) else None
    try:
        proto = _read(model)
        if not proto.graph.node:
            raise InvalidModel("the model holds no nodes: it is empty or truncated")
        _check_text(proto.graph)
        proto = _with_domains(proto)
        onnx.checker.check_model(proto)
        proto = _modern(proto)
        if proto.functions:
            proto = onnx.inliner.inline_local_functions(proto)
        proto = with_shapes(proto, shapes or {})
    except SpikecError as error:
        error.loc = error.loc or name
        raise
    except FileNotFoundError as error:
        raise InvalidModel(f"no such file: {error.filename or name}", loc=name) from None
    except Exception as error:  # onnx and protobuf raise many unrelated kinds
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InvalidModel(f"not a valid ONNX model: {first}", loc=name) from None
    return proto, name


def _read(model: str | Path | bytes | ModelProto) -> ModelProto:
    if isinstance(model, str | Path):
        if Path(model).is_dir():
            raise InvalidModel("is a directory, not an ONNX file", loc=str(model))
        check_file(Path(model), error=InvalidModel)
        proto, folder = onnx.load(str(model), load_external_data=False), Path(model).parent
    elif isinstance(model, bytes):
        proto, folder = onnx.load_model_from_string(model), None
    else:
        proto, folder = model, None
    outside = [t for t in _tensors(proto.graph) if t.data_location == _EXTERNAL]
    if outside and not isinstance(model, str | Path):
        raise InvalidModel(
            f"the values of '{outside[0].name}' are in another file", hint="give the model's path"
        )
    for tensor in outside:
        assert folder is not None
        _load_external(tensor, folder)
    return proto


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def _load_external(tensor: TensorProto, folder: Path) -> None:
    """Read a tensor's values from its file, which must lie in the model's folder."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    path = os.path.realpath(folder / entries.get("location", ""))
    inside = os.path.realpath(folder)
    if os.path.commonpath([path, inside]) != inside or not os.path.isfile(path):
        raise InvalidModel(
            f"the values of '{tensor.name}' are in '{entries.get('location')}', "
            "which is not a file in the model's folder"
        )
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        offset = int(entries.get("offset", 0))
        length = int(entries.get("length", size - offset))
        if offset < 0 or length < 0 or offset + length > size:
            raise InvalidModel(f"'{entries['location']}' is too short for '{tensor.name}'")
        file.seek(offset)
        tensor.raw_data = file.read(length)
    tensor.ClearField("data_location")
    tensor.ClearField("external_data")


def _check_text(graph: GraphProto) -> None:
    """Damaged names are bytes where text should be."""
    names = [graph.name, *(info.name for info in (*graph.input, *graph.output))]
    names += [tensor.name for tensor in graph.initializer]
    for node in graph.node:
        names += [node.name, node.op_type, node.domain, *node.input, *node.output]
        names += [attribute.name for attribute in node.attribute]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _check_text(inner)
    if not all(isinstance(name, str) for name in names):
        raise InvalidModel("a name in the model is not UTF-8 text")


def _with_domains(proto: ModelProto) -> ModelProto:
    """The model with every domain that its nodes name among its imports, as some tools forget."""
    known = {entry.domain for entry in proto.opset_import}
    used = {node.domain for node in _nodes(proto.graph)} - {"ai.onnx"}
    missing = sorted(used - known - {""})
    if not missing:
        return proto
    changed = ModelProto()
    changed.CopyFrom(proto)
    changed.opset_import.extend(onnx.helper.make_opsetid(domain, 1) for domain in missing)
    return changed


def with_shapes(proto: ModelProto, shapes: Mapping[str, Sequence[int]]) -> ModelProto:
    """The model with the shapes of some inputs fixed; raises InvalidModel where they do not fit."""
    if not shapes:
        return proto
    changed = ModelProto()
    changed.CopyFrom(proto)
    inputs = {info.name: info for info in changed.graph.input}
    for name, shape in shapes.items():
        if name not in inputs:
            known = ", ".join(f"'{known}'" for known in inputs)
            raise InvalidModel(f"there is no input '{name}'", hint=f"the inputs are {known}")
        _fix_shape(inputs[name], shape)
    del changed.graph.value_info[:]  # what other shapes gave
    for info in changed.graph.output:
        info.type.tensor_type.ClearField("shape")
    return onnx.shape_inference.infer_shapes(changed)


def _fix_shape(info: ValueInfoProto, shape: Sequence[int]) -> None:
    kind = info.type.tensor_type
    declared = [dim.dim_value for dim in kind.shape.dim] if kind.HasField("shape") else None
    fits = declared is None or (
        len(declared) == len(shape)
        and all(have in (0, want) for have, want in zip(declared, shape, strict=True))
    )
    if not fits or min(shape, default=1) < 1:
        open_sizes = [size or "?" for size in declared or ()]
        raise InvalidModel(
            f"shape {list(shape)} does not fit input '{info.name}'",
            hint=f"the model declares [{', '.join(map(str, open_sizes))}]",
        )
    kind.shape.ClearField("dim")
    for size in shape:
        kind.shape.dim.add(dim_value=size)


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _modern(proto: ModelProto) -> ModelProto:
    """The model at an opset that the lowerings know."""
    opset = opset_of(proto)
    if opset >= OLDEST_OPSET:
        return proto
    try:
        return onnx.version_converter.convert_version(proto, OLDEST_OPSET)
    except Exception as error:  # the converter raises many unrelated kinds
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InvalidModel(
            f"opset {opset} is older than {OLDEST_OPSET} and cannot be converted: {first}",
            hint="export with a newer opset",
        ) from None


def opset_of(proto: ModelProto) -> int:
    """Version of the default operator set that the model uses."""
    versions = [entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")]
    return max(versions, default=OLDEST_OPSET)


def model_hash(proto: ModelProto) -> str:
    """SHA-256 of the model with its weights."""
    return hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest()


def expose(proto: ModelProto, values: Sequence[str]) -> ModelProto:
    """A model that returns the given values, such as `Imported.logits`, and nothing else."""
    known = {info.name: info for info in (*proto.graph.output, *proto.graph.value_info)}
    changed = ModelProto()
    changed.CopyFrom(proto)
    del changed.graph.output[:]
    changed.graph.output.extend(known.get(v, onnx.ValueInfoProto(name=v)) for v in values)
    kept: list[NodeProto] = []
    wanted = set(values)
    for node in reversed(proto.graph.node):
        if wanted & set(node.output):
            kept.append(node)
            wanted.update(names_read(node))
    del changed.graph.node[:]
    changed.graph.node.extend(reversed(kept))
    return changed


def names_read(node: NodeProto) -> set[str]:
    """Names of all values that a node reads, those in its subgraphs included."""
    names = {name for name in node.input if name}
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            names |= {info.name for info in graph.output}
            names = names.union(*(names_read(inner) for inner in graph.node))
    return names
