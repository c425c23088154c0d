"""The inputs of a model: which are data, their shapes per sample, and whether there is a batch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import onnx

from spikec.compiler.onnx.builder import GraphBuilder
from spikec.compiler.onnx.scope import Scope
from spikec.compiler.onnx.values import Grid
from spikec.ir import F32, InvalidModel, Node, TensorType, UnsupportedOperator
from spikec.ir.ops.input import Input


def add_inputs(scope: Scope, builder: GraphBuilder) -> None:
    """Know the model's constants, and add a node for each of its data inputs.

    Raises:
        InvalidModel: for an input whose sizes are open or contradict another's.
        UnsupportedOperator: for one that holds no numbers.
    """
    graph = scope.model.graph
    if graph.sparse_initializer:
        raise InvalidModel("sparse initializers are not supported", hint="store them densely")
    scope.add_initializers(graph.initializer)
    given = [info for info in graph.input if info.name not in scope.values]
    if not scope.has_batch:
        scope.is_single = True
        for info in given:
            _add_input(scope, builder, info)
        return
    sizes = {dims[0].dim_value for info in given if (dims := info.type.tensor_type.shape.dim)}
    fixed = sorted(size for size in sizes if size > 0)
    if len(fixed) > 1:
        raise InvalidModel(f"the inputs have different batch sizes: {fixed}")
    scope.batch = fixed[0] if fixed else 1
    scope.is_single = fixed == [1]
    for info in given:
        _add_input(scope, builder, info)


def _add_input(scope: Scope, builder: GraphBuilder, info: onnx.ValueInfoProto) -> None:
    kind, dims = info.type.tensor_type, info.type.tensor_type.shape.dim
    if not info.type.HasField("tensor_type") or not kind.HasField("shape"):
        raise InvalidModel(
            f"input '{info.name}' has no shape",
            hint=f"export with fixed shapes, or give one: `--shape {info.name}=1,3,224,224`",
        )
    if not dims and scope.has_batch:
        raise InvalidModel(f"input '{info.name}' has no batch axis")
    sample = dims[1:] if scope.has_batch else dims
    for axis, dim in enumerate(sample, len(dims) - len(sample)):
        if dim.dim_value <= 0:
            raise InvalidModel(
                f"axis {axis} of input '{info.name}' has no fixed size",
                hint="only the first (batch) axis may be dynamic; export with fixed shapes, or "
                f"give them: `--shape {info.name}={_open_shape(dims)}`",
            )
    shape = tuple(dim.dim_value for dim in sample)
    name = builder.unique_name(info.name)
    node = Node(name, Input(), (), TensorType(F32, shape), loc=info.name)
    grid = _input_grid(info.name, kind.elem_type)
    x = builder.append(node, shape)
    if not shape:
        x = replace(builder.emit(info.name, "reshape", [x], {"shape": (1,)}, {}), shape=())
    scope.values[info.name] = replace(x, grid=grid, batch=0 if scope.has_batch else None)


def _open_shape(dims: Iterable[onnx.TensorShapeProto.Dimension]) -> str:
    """A shape as `--shape` takes it, names where sizes are missing; one sample."""
    sizes = [str(dim.dim_value or dim.dim_param or "?") for dim in dims]
    return ",".join(["1", *sizes[1:]])


def _input_grid(name: str, elem_type: int) -> Grid | None:
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(elem_type)
    except (KeyError, ValueError, TypeError):
        raise InvalidModel(f"input '{name}' has the unknown element type {elem_type}") from None
    if dtype.kind in "iu":
        return Grid()
    if dtype.kind not in "fV":
        raise UnsupportedOperator(
            f"input '{name}' holds {dtype.name}, not numbers",
            hint="export with floats; truth values are 0 and 1",
        )
    return None
