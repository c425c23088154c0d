"""All invariants of a graph, in one place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from spikec.ir.errors import InvalidGraph
from spikec.ir.graph import Graph, Node, op_of
from spikec.ir.neuron import Membrane, Neuron
from spikec.ir.op import MOST, STAGES, Op, Stateful
from spikec.ir.ops.accumulate import Accumulate
from spikec.ir.ops.frames import Frames
from spikec.ir.types import Array, TensorType
from spikec.ir.windows import WIDEST

MOST_STEPS, MOST_DIGITS = (1 << 22) - 1, 32
"""Time steps of a graph, whose net sums stay in 32 bits, and of one with binary digits."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")


def verify(graph: Graph) -> Graph:
    """Check every invariant and return the graph.

    Raises:
        InvalidGraph: naming the node (and the ONNX node) that breaks one.
    """
    if graph.stage not in STAGES:
        raise InvalidGraph(f"unknown stage '{graph.stage}'", hint=f"one of {', '.join(STAGES)}")
    if graph.stage != "ann" and graph.steps < 1:
        raise InvalidGraph("a spiking graph needs steps >= 1")
    if graph.steps > most_steps(graph.nodes):
        raise InvalidGraph(
            f"the graph has {graph.steps} steps, more than {most_steps(graph.nodes)}"
        )
    for name in (graph.name, *graph.params):
        _verify_name(name)
    for name, param in graph.params.items():
        array, type_ = param.array, param.type
        if array is not None and (array.shape, array.dtype) != (type_.shape, type_.dtype.storage):
            raise InvalidGraph(f"param @{name} holds {array.shape} {array.dtype}, not {type_}")
    seen: dict[str, Node] = {}
    for node in graph.nodes:
        try:
            _verify_node(graph, node, seen)
        except InvalidGraph as error:
            raise InvalidGraph(
                f"%{node.name} = {node.op}: {error.message}", loc=error.loc or node.loc
            ) from None
        seen[node.name] = node
    _verify_time(graph)
    if not graph.outputs:
        raise InvalidGraph("the graph returns nothing")
    for name in graph.outputs:
        if name not in seen:
            raise InvalidGraph(f"returned value %{name} is not defined")
        if graph.stage != "ann" and not isinstance(seen[name].operation, Accumulate):
            raise InvalidGraph(f"returned value %{name} must be a readout (accumulate)")
    return graph


def _verify_time(graph: Graph) -> None:
    """Refuse frames where steps do not mean time: before neurons that gather a whole window."""
    framed = [node for node in graph.inputs if isinstance(node.operation, Frames)]
    for node in graph.nodes if framed else ():
        if is_windowed(type(op_of(node))):
            raise InvalidGraph(
                f"%{framed[0].name} has a frame for each step, and %{node.name} = {node.op} adds "
                "up all steps before it fires",
                loc=framed[0].loc,
                hint="frames need --schedule synchronous and --code rate",
            )


def is_windowed(op: type[Op]) -> bool:
    """Whether an op adds up all steps, or weighs them, so that frames would lose their time."""
    gathers = issubclass(op, Membrane) and op.gathers
    return gathers or (issubclass(op, Stateful) and op.radix)


def most_steps(nodes: Iterable[Node]) -> int:
    """The most time steps that a graph may run."""
    digits = any(isinstance(op, Stateful) and op.radix for op in (op_of(node) for node in nodes))
    return MOST_DIGITS if digits else MOST_STEPS


def _verify_node(graph: Graph, node: Node, seen: Mapping[str, Node]) -> None:
    op = op_of(node)
    _verify_name(node.name)
    if node.name in seen:
        raise InvalidGraph("the name is used twice")
    if graph.stage not in op.stages:
        raise InvalidGraph(f"not allowed at stage {graph.stage}")
    if op.arity is not None and len(node.inputs) != op.arity:
        raise InvalidGraph(f"takes {op.arity} inputs, not {len(node.inputs)}")
    if op.arity is None and not node.inputs:
        raise InvalidGraph("takes one or more inputs, not 0")
    for name in node.inputs:
        if name not in seen:
            raise InvalidGraph(f"input %{name} is not defined before it")
    op.check_attributes()
    params = _verify_params(graph, node, op)
    inputs = [seen[name].type for name in node.inputs]
    if inputs:
        shape = op.infer(inputs, params)
        if shape != node.type.shape:
            raise InvalidGraph(f"declared {list(node.type.shape)}, inferred {list(shape)}")
    if graph.stage == "int":
        _verify_held(node.type)
    problem = op.dtype_problem(graph.stage, inputs, node.type.dtype)
    if problem is not None:
        raise InvalidGraph(problem)


def _verify_held(type_: TensorType) -> None:
    """Refuse integers and sizes that no engine holds."""
    if type_.dtype.is_integer and type_.dtype.bounds[1] > MOST:
        raise InvalidGraph(f"{type_.dtype} exceeds 64-bit integers with a sign; u63 and i64 fit")
    if min(type_.shape, default=1) < 1 or type_.size >= WIDEST:
        raise InvalidGraph(f"{list(type_.shape)} holds {type_.size} elements, not 1 to 2^31 - 1")


def _verify_threshold(theta: Array) -> None:
    if theta.min() < 1:
        raise InvalidGraph(f"param 'theta' must be at least 1, not {theta.min()}")


def _verify_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidGraph(f"{name!r} is not a name: letters, digits, '_' and '.'")


def _verify_params(graph: Graph, node: Node, op: Op) -> dict[str, TensorType]:
    types = {}
    for role, name in node.params.items():
        if role not in op.params:
            raise InvalidGraph(f"unknown param role '{role}'")
        if name not in graph.params:
            raise InvalidGraph(f"param @{name} is not declared")
        param = graph.params[name]
        types[role] = param.type
        if op.params[role].is_unit:
            continue
        if graph.stage == "int" and not param.type.dtype.is_integer:
            raise InvalidGraph(f"param '{role}' is {param.type.dtype} at stage int")
        if graph.stage == "int":
            _verify_held(param.type)
            if isinstance(op, Neuron) and role == "theta" and param.array is not None:
                _verify_threshold(param.array)
        if param.array is not None and param.type.dtype.kind in "iu" and param.array.size:
            low, high = param.type.dtype.bounds
            if int(param.array.min()) < low or int(param.array.max()) > high:
                raise InvalidGraph(f"param '{role}' leaves its {param.type.dtype} range")
    for role, spec in op.params.items():
        if spec.required and role not in node.params:
            raise InvalidGraph(f"param '{role}' is missing")
    return types
