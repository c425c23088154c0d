"""An integer graph of T steps as one ONNX model."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from spikec.backends.onnx.bounds import bounds_of
from spikec.backends.onnx.layers import LAYERS
from spikec.backends.onnx.linear import LOWERINGS
from spikec.backends.onnx.net import BATCH, Net, Value, code_type, count
from spikec.backends.onnx.writer import DOUBLE, FLOAT, INT64, Writer
from spikec.ir import BackendError, Graph, Node, op_of, spread
from spikec.ir.neuron import total_weight
from spikec.ir.op import Stateful
from spikec.ir.ops.accumulate import Accumulate
from spikec.ir.ops.frames import Frames
from spikec.ir.ops.input import Input
from spikec.version import version

INPUTS = (Input, Frames)
OPSET, IR_VERSION = 17, 10
"""Of ai.onnx, and of the file format (the first with metadata of nodes)."""
_DOC = """Integer spiking network of {steps} time steps, compiled by spikec from {source}.

Inputs are the original model's real numbers. For each output there are its real value and, under
the readout's own name, its integer potential after the last step. 'clipped' counts the input
elements of each sample outside the coded range{overflows}. All sums are exact."""
_OVERFLOWS = "; 'overflows' counts the numbers outside\ntheir declared width: above 0, a result "
_OVERFLOWS += "differs from that of hardware"


@dataclass(frozen=True, slots=True)
class Network:
    """A model and where its values are.

    Attributes:
        model: The ONNX model.
        exposed: Values of nodes that are outputs, in every step.
        potentials: Potentials of traced layers, in every step.
        overflows: Name of the output that counts overflows, if there is one.
    """

    model: onnx.ModelProto
    exposed: dict[str, Value]
    potentials: dict[str, Value]
    overflows: str | None


def build(graph: Graph, outputs: Sequence[str] = ()) -> onnx.ModelProto:
    """The model on real inputs.

    Args:
        graph: At stage int.
        outputs: Names of the real outputs; by default those of the ONNX nodes they come from.

    Raises:
        BackendError: naming the node that ONNX operators cannot compute exactly.
    """
    net, inputs = _start(graph, graph.steps, frozenset()), []
    names = _interface(graph, net, outputs)
    clipped = []
    for node in graph.inputs:
        doc = "real numbers, as for the model"
        inputs.append(_input_info(net, names[node.name], FLOAT, node, doc))
        clipped.append(_encode(net, node, names[node.name]))
    net.samples = _samples(net, inputs[0].name)
    _lower(net)
    results = [_decode(net, graph[name], names[name]) for name in graph.outputs]
    results += [_integers(net, graph[name]) for name in graph.outputs]
    results += [_total(net, net.overflows, names["overflows"])] if net.overflows else []
    results += [_total(net, clipped, names["clipped"])]
    return _model(net, inputs, results)


def traced(graph: Graph, steps: int, wanted: Collection[str], layers: Collection[str]) -> Network:
    """The model on coded inputs, with inner values as outputs.

    Args:
        graph: At stage int.
        steps: Time steps.
        wanted: Nodes whose values to expose.
        layers: Layers whose potentials to expose.
    """
    net, inputs = _start(graph, steps, frozenset(layers)), []
    for node in graph.inputs:
        type_ = code_type(node.type.dtype)
        name = net.out.unique(node.name)
        inputs.append(_input_info(net, name, type_, node, "input code"))
        net.values[node.name] = _given(net, node, name, type_)
    net.samples = _samples(net, inputs[0].name)
    _lower(net)
    exposed = {name: net.values[name] for name in wanted}
    potentials = {name: net.potentials[name] for name in layers}
    exposed_values = {value.name: value for value in (*exposed.values(), *potentials.values())}
    outputs = [
        helper.make_tensor_value_info(
            name, value.type, [f"{steps}*{BATCH}" if value.timed else BATCH, *value.shape]
        )
        for name, value in exposed_values.items()
    ]
    overflows = None
    if net.overflows:
        outputs.append(_total(net, net.overflows, net.out.unique("overflows")))
        overflows = outputs[-1].name
    return Network(_model(net, inputs, outputs), exposed, potentials, overflows)


def _start(graph: Graph, steps: int, layers: frozenset[str]) -> Net:
    if graph.stage != "int":
        raise BackendError(f"a graph of stage {graph.stage}; only stage int can be emitted")
    for node in graph.nodes:
        if type(node.operation) not in (*INPUTS, *LAYERS, *LOWERINGS):
            raise BackendError(f"%{node.name} = {node.op} has no ONNX form yet", loc=node.loc)
    return Net(graph, bounds_of(graph, steps), Writer(), layers)


def _lower(net: Net) -> None:
    for node in net.graph.nodes:
        kind = type(node.operation)
        if kind in INPUTS:
            continue
        lowering = LAYERS.get(kind) or LOWERINGS[kind]
        net.values[node.name] = lowering(net, node)
        if not op_of(node).stateful and not net.bounds.fits(node):
            net.watch(node, net.values[node.name])


def _interface(graph: Graph, net: Net, outputs: Sequence[str]) -> dict[str, str]:
    """Names of the model's inputs and outputs, by node; they are taken before all others."""
    names = {node.name: net.out.unique(node.loc or node.name) for node in graph.inputs}
    for name in ("overflows", "clipped"):
        names[name] = net.out.unique(name)
    for name, wanted in zip(graph.outputs, outputs or _nodes(graph), strict=True):
        names[name] = net.out.unique(wanted)
    return names


def _nodes(graph: Graph) -> list[str]:
    """The ONNX nodes that outputs come from; their integers have the names of the readouts."""
    outputs = [(name, graph[name].loc) for name in graph.outputs]
    return [loc if loc and loc != name else f"{name}.real" for name, loc in outputs]


def _samples(net: Net, name: str) -> str:
    return net.out.add("Shape", [name], "samples", start=0, end=1)


def _info(name: str, type_: int, node: Node, doc: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, type_, [BATCH, *node.type.shape], doc)


def _input_info(net: Net, name: str, type_: int, node: Node, doc: str) -> onnx.ValueInfoProto:
    """An input of the model; one of frames is (N, T, *shape)."""
    if not op_of(node, Input).timed:
        return _info(name, type_, node, doc)
    shape: list[str | int] = [BATCH, net.steps, *node.type.shape]
    return helper.make_tensor_value_info(name, type_, shape, f"{doc}; a frame for each step")


def _given(net: Net, node: Node, name: str, type_: int) -> Value:
    """The value of an input of the model."""
    shape = node.type.shape
    if not op_of(node, Input).timed:
        return Value(name, type_, shape, False)
    order = [1, 0, *range(2, len(shape) + 2)]
    by_step = net.out.add("Transpose", [name], f"{node.name}/by_step", perm=order)
    return net.flat(by_step, type_, shape, f"{node.name}/timed")


def _encode(net: Net, node: Node, name: str) -> str:
    """Add the integer code of a real input; returns the count of clipped elements."""
    out, (low, high) = net.out, node.type.dtype.bounds
    code = f"{node.name}/encode"
    x = out.add("Cast", [name], f"{code}/double", to=DOUBLE)
    for op, role in (("Sub", "offset"), ("Div", "scale")):
        array = net.graph.array(node, role)
        if array.dtype != np.float64:
            raise BackendError(f"{role} of input %{node.name} is not f64", loc=node.loc)
        units = out.constant(f"{node.name}.{role}", spread(array, node.type.shape))
        x = out.add(op, [x, units], f"{code}/{op.lower()}")
    x = out.add("Round", [x], f"{code}/round", doc="ties go to the even integer")
    least, most = out.scalar(low, DOUBLE), out.scalar(high, DOUBLE)
    above = out.add("Greater", [x, most], f"{code}/above")
    reaches = out.add("GreaterOrEqual", [x, least], f"{code}/reaches")
    within = out.add("LessOrEqual", [x, most], f"{code}/within")
    inside = out.add("And", [reaches, within], f"{code}/inside")
    limit = out.add("Where", [above, most, least], f"{code}/limit")
    x = out.add("Where", [inside, x, limit], f"{code}/clip")
    type_ = code_type(node.type.dtype)
    wanted = node.name if node.name != name else f"{name}/code"
    x = out.add("Cast", [x], wanted, to=type_, **net.described(node))
    net.values[node.name] = net.noted(_given(net, node, x, type_))
    outside, axes = out.add("Not", [inside], f"{code}/outside"), len(node.type.shape)
    axes += op_of(node, Input).timed
    return count(out, outside, f"{code}/clipped", list(range(1, axes + 1)))


def _decode(net: Net, node: Node, name: str) -> onnx.ValueInfoProto:
    """Add a real output: `potential * scale / T`, of binary digits `... / (2^T - 1)`."""
    out, value = net.out, net.last(net.values[node.name])
    real = net.cast(value, DOUBLE).name
    if "scale" in node.params:
        scale = spread(net.graph.array(node, "scale"), node.type.shape).astype(np.float64)
        units = out.constant(f"{node.name}.scale", scale, "real value of one unit")
        real = out.add("Mul", [real, units], f"{node.name}/scaled")
    radix = op_of(node, Stateful).radix
    weight = out.scalar(total_weight(net.steps, radix=radix), DOUBLE)
    out.add("Div", [real, weight], f"{node.name}/rate", outputs=[name])
    divisor = "(2^T - 1)" if radix else "T"
    return _info(name, DOUBLE, node, f"real output: potential * scale / {divisor}")


def _integers(net: Net, node: Node) -> onnx.ValueInfoProto:
    value = net.last(net.values[node.name])
    name = value.name
    if isinstance(node.operation, Accumulate):
        name = net.out.add("Identity", [name], node.name)
    return _info(name, value.type, node, f"integers after the last step, {node.type.dtype}")


def _total(net: Net, parts: list[str], name: str) -> onnx.ValueInfoProto:
    """Add an output: the sum of counts (N,)."""
    total = parts[0]
    for part in parts[1:]:
        total = net.out.add("Add", [total, part], f"{name}/sum")
    net.out.add("Identity", [total], f"{name}/total", outputs=[name])
    return helper.make_tensor_value_info(name, INT64, [BATCH], "numbers per sample")


def _model(
    net: Net, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]
) -> onnx.ModelProto:
    graph, out = net.graph, net.out
    whole = out.graph(graph.name, inputs, outputs, list(out.constants.values()))
    overflows = _OVERFLOWS if net.overflows else ""
    source = graph.source or graph.name
    whole.doc_string = _DOC.format(steps=net.steps, source=source, overflows=overflows)
    model = helper.make_model(
        whole,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="spikec",
        producer_version=version(),
        doc_string=whole.doc_string,
    )
    helper.set_model_props(model, _props(net))
    return model


def _props(net: Net) -> dict[str, str]:
    graph = net.graph
    weights = [n.params["w"] for n in graph.nodes if op_of(n).weighted]
    states = [n.type.dtype.bits for n in graph.nodes if n.type.dtype.kind == "i"]
    return {
        "spikec.version": version(),
        "spikec.timesteps": str(net.steps),
        "spikec.weight_bits": str(
            max((graph.params[w].type.dtype.bits for w in weights), default=0)
        ),
        "spikec.state_bits": str(max(states, default=0)),
        "spikec.source": graph.source or "",
    }
