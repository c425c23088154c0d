"""From float to integer spikes: weights, thresholds, potentials and biases on integer grids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikec.compiler.pipeline import Context, Pass, Record
from spikec.compiler.quantisation.currents import channelwise, constant_currents
from spikec.compiler.quantisation.integer import Folded
from spikec.ir import F64, Graph, Node, Param, PassError, RangeError, op_of, signed, spread
from spikec.ir.analysis import Interval
from spikec.ir.neuron import Membrane, Neuron
from spikec.ir.op import ParamSpec, Synapse
from spikec.ir.ops.input import Input
from spikec.ir.ops.synapses.affine import Affine
from spikec.ir.options import suggestion
from spikec.ir.types import DType
from spikec.runtime.bounds import intervals

Array = NDArray[Any]
_MARGIN = 1 << 16
"""Units of state kept free for the rounding of weights, biases and thresholds."""


@dataclass(frozen=True)
class Quantise(Pass):
    """Fold spike amplitudes into the synapses and round everything to integers.

    Integrate-and-fire does not change under a common positive scale per neuron, so each output
    channel has its own q: `W_int = round(W * amplitude / q)`, and theta, v0 and bias are divided
    by the same q. Currents that meet share q; so do the classes of a readout.

    Options: bits of signed weights, 0 for the target's; layer_bits of single layers, NAME:BITS.
    """

    bits: int = 0
    layer_bits: tuple[str, ...] = ()
    stages = ("snn",)

    def run(self, graph: Graph, context: Context, record: Record) -> Graph:
        spec = context.spec
        bits = self.bits or spec.weight_bits
        if not 2 <= bits <= spec.weight_bits:
            raise PassError(f"weights of {bits} bits: the target takes 2 to {spec.weight_bits}")
        folded = Folded(graph, spec)
        for node in graph.nodes:
            folded.visit(node)
        own = self._own_bits(graph, spec.weight_bits)
        rounding = _Rounding(folded, {n: own.get(n, bits) for n in folded.weights}, record)
        nodes = [rounding.node(node) for node in folded.nodes]
        record.note(f"weights in {bits} bits, currents and potentials in {spec.state_bits} bits")
        return graph.with_nodes(nodes, rounding.params, stage="int")

    def _own_bits(self, graph: Graph, most: int) -> dict[str, int]:
        """Weight bits by the layers that have bits of their own."""
        own = {}
        for text in self.layer_bits:
            name, _, bits = text.rpartition(":")
            if name not in graph.by_name or not isinstance(graph[name].operation, Synapse):
                known = [node.name for node in graph if isinstance(node.operation, Synapse)]
                raise PassError(
                    f"no layer '{name}' has weights",
                    hint=suggestion(name, known) or f"one of {', '.join(known)}",
                )
            if not bits.isdecimal() or not 2 <= int(bits) <= most:
                raise PassError(f"weights of {bits} bits for '{name}': 2 to {most} are possible")
            own[name] = int(bits)
        return own


class _Rounding:
    """Second half: scales are known, every number becomes an integer."""

    def __init__(self, folded: Folded, bits: Mapping[str, int], record: Record) -> None:
        self.folded, self.record = folded, record
        self.graph = folded.graph
        self.weight_types = {name: signed(own) for name, own in bits.items()}
        self.state_type = signed(folded.spec.state_bits)
        self.offsets = constant_currents(self.graph, offsets=True)
        self.top = self.state_type.bounds[1]
        bounds = intervals(folded.nodes, folded.weights)
        current = {node.name: bounds[node.inputs[0]] for node in folded.nodes if node.inputs}
        for name, chosen in folded.potential.items():
            folded.groups.at_least(chosen, self._smallest(self.graph[name], current[name]))
        tops = {name: dtype.bounds[1] for name, dtype in self.weight_types.items()}
        self.scales = folded.groups.choose(tops)
        self.params: dict[str, Param] = {}

    def node(self, node: Node) -> Node:
        """The node with its integer params."""
        op = op_of(node)
        if isinstance(op, Input):
            source = self.graph[node.name]
            return replace(node, params=source.params)
        if node.name in self.folded.weights:
            return self._set(node, {"w": (self._weights(node), self.weight_types[node.name])})
        return self._membrane(node, op) if isinstance(op, Membrane) else node

    def _set(self, node: Node, values: dict[str, tuple[Array, DType]]) -> Node:
        for role, (array, dtype) in values.items():
            if dtype.is_integer:
                self._check(node, role, array, dtype)
            self.params[f"{node.name}.{role}"] = Param.of(array, dtype)
        return replace(node, params={role: f"{node.name}.{role}" for role in values})

    def _check(self, node: Node, role: str, array: Array, dtype: DType) -> None:
        low, high = dtype.bounds
        if array.size and (array.min() < low or array.max() > high):
            raise RangeError(
                f"{role} of %{node.name} reaches {int(np.abs(array).max())}, {dtype} holds "
                f"{low} to {high}",
                loc=node.loc,
                hint="its weights are very small beside its threshold: use fewer --weight-bits",
            )

    def _smallest(self, node: Node, current: Interval) -> Array:
        """The finest scale (channels,) at which no input can overflow the state in T steps."""
        op, shape = op_of(node, Membrane), node.type.shape
        arrays = {role: self.graph.array(node, role) for role in node.params}
        params = {role: spread(array, shape) for role, array in arrays.items()}
        params["bias"] = spread(self._real_bias(node), shape)
        reach = op.reach(current, params, self.graph.steps)
        if reach is None:
            raise PassError(f"no bound is known for the potential of %{node.name} = {node.op}",
                            loc=node.loc)  # fmt: skip
        return np.asarray(reach.reshape(len(reach), -1).max(axis=1) / (self.top - _MARGIN))

    def _weights(self, node: Node) -> Array:
        w = self.folded.weights[node.name]
        if node.name in self.folded.levelled:
            return w
        scale = self.scales[node.name]
        if isinstance(node.operation, Affine):
            exact = w / spread(scale, w.shape)
        else:
            exact = op_of(node, Synapse).scale_outputs(w, 1 / scale)
        rounded = np.rint(exact)
        error = np.sqrt(((rounded - exact) ** 2).sum() / max((exact**2).sum(), 1e-300))
        self.record.layer(node.name, weight_error=float(error))
        return rounded

    def _potential_scale(self, node: Node) -> Array:
        """Real value of one unit of potential: (channels,), or () where channels were mixed."""
        chosen = self.folded.potential[node.name]
        scale, channels = self.scales[chosen.synapse], node.type.shape[:1]
        if scale.shape != channels:
            return np.asarray(scale.flat[0] * chosen.factor)
        return np.broadcast_to(scale * chosen.factor, channels)

    def _membrane(self, node: Node, op: Membrane) -> Node:
        """A neuron or readout with its params in integers, as their kinds say."""
        source, scale = self.graph[node.name], self._potential_scale(node)
        roles = [role for role in op.params if role in source.params or role == "bias"]
        values = {
            role: self._integer(source, role, op.params[role], scale)
            for role in roles
            if not op.params[role].is_unit
        }
        if isinstance(op, Neuron):
            values = op.admissible(values)
            theta = values["theta"]
            self.record.layer(node.name, theta_min=int(theta.min()), theta_max=int(theta.max()))
        typed = {role: (array, self.state_type) for role, array in values.items()}
        return self._set(node, {**typed, "scale": (scale, F64)})

    def _integer(self, node: Node, role: str, spec: ParamSpec, scale: Array) -> Array:
        if role == "bias":
            real = self._real_bias(node)
            return channelwise(np.rint(real / spread(scale, node.type.shape)))
        values = self.graph.array(node, role).astype(np.float64)
        if spec.kind == "number":
            return np.rint(values)
        unit = spread(scale, node.type.shape) if values.ndim > 1 else scale
        return np.rint(values / unit)

    def _real_bias(self, node: Node) -> Array:
        """Bias and the constant part of the input code, per neuron."""
        bias = self.offsets[node.inputs[0]]
        if "bias" not in node.params:
            return bias
        return bias + spread(self.graph.array(node, "bias").astype(np.float64), node.type.shape)
