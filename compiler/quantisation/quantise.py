"""From float to integer spikes: weights, thresholds, potentials and biases on integer grids."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial, reduce

import numpy as np

from spikec.compiler.calibration.thresholds import is_exact
from spikec.compiler.pipeline import Context, Pass, Record
from spikec.compiler.quantisation.integer import Folded
from spikec.compiler.quantisation.reach import reached_potentials
from spikec.ir import (
    F64,
    Graph,
    Node,
    Param,
    PassError,
    RangeError,
    op_of,
    remove_dead,
    signed,
    spread,
    unsigned,
)
from spikec.ir.analysis.currents import channelwise, constant_currents
from spikec.ir.neuron import Membrane, Neuron, total_weight
from spikec.ir.op import ParamSpec, Synapse
from spikec.ir.ops.input import Input
from spikec.ir.ops.synapses.affine import Affine
from spikec.ir.options import suggestion
from spikec.ir.types import Array, DType
from spikec.runtime.bounds import intervals

EXPONENT = unsigned(5)
"""Type of weight exponents."""
_HEADROOM = 1.5
"""How much further than on calibration data the potentials of a channel may reach at least."""
_POOLED = 1.25
"""The same for the largest share of what is possible that any channel of a layer reached."""
_MANY = 16
"""Neurons of a channel from which on it has seen enough by itself."""
_SHARP = 16
"""How much finer thresholds are where a rounded one alone decides what is sent."""
Reaches = Callable[[], Mapping[str, tuple[Array, Array]]]
_MARGIN = 16
"""Share of the state, one of so many, kept free for rounding weights, biases and thresholds."""


@dataclass(frozen=True)
class Quantise(Pass):
    """Fold spike amplitudes into the synapses and round everything to integers.

    Integrate-and-fire does not change under a common positive scale per neuron, so each output
    channel has its own q: `W_int = round(W * amplitude / q)`, and theta, v0 and bias are divided
    by the same q. The classes of a readout share one.

    Currents that meet share q, as fine as the finest of them needs; the others are shifted by an
    exponent of their own (`scales.py`).

    Options: bits of signed weights, 0 for the target's; layer_bits of single layers, NAME:BITS;
    proof keeps scales at which all inputs provably fit the state, whatever that costs.
    """

    bits: int = 0
    layer_bits: tuple[str, ...] = ()
    proof: bool = False
    stages = ("snn",)

    def run(self, graph: Graph, context: Context, record: Record) -> Graph:
        spec = context.spec
        bits = self.bits or spec.weight_bits
        if not 2 <= bits <= spec.weight_bits:
            raise PassError(f"weights of {bits} bits: the target takes 2 to {spec.weight_bits}")
        exact = frozenset(node.name for node in graph if is_exact(context, node))
        folded = Folded(graph, spec, bits, self._own_bits(graph, spec.weight_bits), exact)
        for node in graph.nodes:
            folded.visit(node)
        calib = context.calib
        seen = None if calib is None or self.proof else partial(reached_potentials, graph, calib)
        rounding = _Rounding(folded, record, seen)
        nodes = [rounding.node(node) for node in folded.nodes]
        rounding.note_noise()
        record.note(f"weights in {bits} bits, currents and potentials in {spec.state_bits} bits")
        return remove_dead(graph.with_nodes(nodes, rounding.params, stage="int"))

    def _own_bits(self, graph: Graph, most: int) -> dict[str, int]:
        """Weight bits by the layers that have bits of their own."""
        own = {}
        for text in self.layer_bits:
            name, _, bits = text.rpartition(":")
            known = [node.name for node in graph if isinstance(node.operation, Synapse)]
            if not any(synapse == name or synapse.startswith(f"{name}.") for synapse in known):
                raise PassError(
                    f"no layer '{name}' has weights",
                    hint=suggestion(name, known) or f"one of {', '.join(known)}",
                )
            if not bits.isdecimal() or not 2 <= int(bits) <= most:
                raise PassError(f"weights of {bits} bits for '{name}': 2 to {most} are possible")
            own[name] = int(bits)
        return own


class _Rounding:
    """Second half: scales are chosen, every number becomes an integer."""

    def __init__(self, folded: Folded, record: Record, seen: Reaches | None) -> None:
        self.folded, self.record = folded, record
        self.graph = folded.graph
        self.state_type = signed(folded.spec.state_bits)
        self.offsets = constant_currents(self.graph, offsets=True)
        top = self.state_type.bounds[1]
        self.usable = top - top // _MARGIN
        bounds = intervals(folded.nodes, folded.weights)
        self.current = {n.name: bounds[n.inputs[0]] for n in folded.nodes if n.inputs}
        for name, current in folded.potential.items():
            node = self.graph[name]
            folded.scales.require(current, node.type.shape, self._limits(node))
        self.choice = folded.scales.choose()
        if self.choice.unproven.any() and seen is not None:
            self._relax(seen())
        self.params: dict[str, Param] = {}
        self.noise = np.zeros(len(folded.scales.step))
        """For each scale variable, the power that rounding its weights adds at most."""

    def _limits(self, node: Node) -> dict[str, Array]:
        """What a unit of the layer's current must keep, so that all inputs fit the state."""
        theta = self._threshold(node)
        return {
            "proven": self._possible(node) / self.usable,
            **({} if theta is None else {"smallest": theta / self._counted(node)}),
        }

    def _counted(self, node: Node) -> int:
        """How often a rounded threshold is counted where that alone decides what is sent.

        The highest level of a quantiser that a layer was trained with lies so many thresholds up.
        Other layers err by more in any case, and coarser units are faster to simulate.
        """
        op = node.operation
        if not isinstance(op, Neuron) or node.name not in self.folded.exact:
            return 1
        levels = total_weight(self.graph.steps, radix=op.radix) * op.payload.bounds[1]
        return _SHARP * levels if levels > 1 else 1

    def _threshold(self, node: Node) -> Array | None:
        return self.graph.array(node, "theta") if "theta" in node.params else None

    def _relax(self, reached: Mapping[str, tuple[Array, Array]]) -> None:
        """Scales as fine as what potentials reached on data allows, where a proof costs too much.

        The engines check every potential at run time, so an overflow is an error, never silent.
        """
        for name, current in self.folded.potential.items():
            node = self.graph[name]
            possible = self._possible(node)
            expected = spread(_expected(*reached[name], possible), possible.shape)
            bias = abs(spread(self._real_bias(node), possible.shape))
            limits = {"seen": np.minimum(expected + bias, possible) / self.usable}
            self.folded.scales.require(current, node.type.shape, limits)
        self.choice = self.folded.scales.choose(checked=True)
        names = [
            f"%{name}"
            for name, current in self.folded.potential.items()
            if self.choice.unproven[current.variable[current.variable >= 0]].any()
        ]
        if names:
            self.record.note(
                f"{', '.join(names)}: scales rest on what potentials reach on calibration data, as "
                "those that fit all inputs would cost accuracy; an overflow is found at run time "
                "(--require-proof keeps to scales that fit all inputs)"
            )

    def node(self, node: Node) -> Node:
        """The node with its integer params."""
        op = op_of(node)
        if isinstance(op, Input):
            source = self.graph[node.name]
            return replace(node, params=source.params)
        if node.name in self.folded.weights:
            return self._set(node, self._weights(node))
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

    def _possible(self, node: Node) -> Array:
        """The largest value (*shape) that the state must hold over all inputs.

        What arrives and the bias may be large and cancel; each must fit by itself.
        """
        low, high = self.current[node.name]
        bias = spread(self._real_bias(node), node.type.shape)
        parts = (self._reach(node), abs(bias), abs(low), abs(high))
        return np.asarray(reduce(np.maximum, parts))

    def _reach(self, node: Node) -> Array:
        """The largest potential (*shape) over all inputs in T steps."""
        op, shape = op_of(node, Membrane), node.type.shape
        arrays = {role: self.graph.array(node, role) for role in node.params}
        params = {role: spread(array, shape) for role, array in arrays.items()}
        params["bias"] = spread(self._real_bias(node), shape)
        reach = op.reach(self.current[node.name], params, self.graph.steps)
        if reach is None:
            raise PassError(
                f"no bound is known for the potential of %{node.name} = {node.op}", loc=node.loc
            )
        return reach

    def _weights(self, node: Node) -> dict[str, tuple[Array, DType]]:
        w = self.folded.weights[node.name]
        if node.name in self.folded.levelled:
            self._note_weights(node, np.rint(w), w)
            return {"w": (np.rint(w), signed(self.folded.spec.weight_bits))}
        variables = self.folded.synapse[node.name]
        exponent = self.choice.exponent[variables]
        if exponent.ndim > 1:  # elements have scales of their own, exponents are per channel
            exponent = exponent.reshape(len(exponent), -1).max(axis=1)
        scale = self.choice.scale[variables] * spread(2.0**exponent, variables.shape)
        if isinstance(node.operation, Affine):
            exact = w / spread(scale, w.shape)
        else:
            exact = op_of(node, Synapse).scale_outputs(w, 1 / scale)
        rounded = np.rint(exact)
        self._note_weights(node, rounded, exact)
        off = op_of(node, Synapse).by_output(rounded - exact)
        off = off.reshape(variables.size, -1) * scale.reshape(-1, 1)
        largest_input = self.folded.largest_input(node.inputs[0])
        self.noise[variables.ravel()] = (off**2).sum(axis=1) * largest_input**2
        values = {"w": (rounded, signed(self.folded.bits_of(node.name)))}
        return values | ({"exponent": (exponent, EXPONENT)} if exponent.any() else {})

    def _note_weights(self, node: Node, rounded: Array, exact: Array) -> None:
        error = np.sqrt(((rounded - exact) ** 2).sum() / max((exact**2).sum(), 1e-300))
        self.record.layer(node.name, weight_error=float(error))

    def note_noise(self) -> None:
        """Record how much noisier each layer's weights became than by plain rounding.

        Plain rounding has a step for each output channel of each synapse, at which its largest
        weight just fits; a weight is then off by the root of 1/12 of a step.
        """
        scales = self.folded.scales
        roots, ratios = scales.roots()
        plain = (np.asarray(scales.step) * scales.power) ** 2 / 12
        total, usual = (
            np.bincount(roots, values / ratios**2, len(roots)) for values in (self.noise, plain)
        )
        for name, current in self.folded.potential.items():
            own = np.unique(roots[current.variable[current.variable >= 0]])
            own = own[usual[own] > 0]
            if len(own):
                more = float(np.sqrt(np.mean(total[own] / usual[own])))
                self.record.layer(name, rounding_noise=more)

    def _potential_scale(self, node: Node) -> Array:
        """Real value of one unit of potential: (), (channels,) or per neuron."""
        variable, gain = self.folded.potential[node.name].spread(node.type.shape)
        scale = np.where(variable >= 0, self.choice.scale[variable], 1.0) * gain
        return channelwise(np.asarray(scale))

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
        shape = node.type.shape
        if values.ndim <= 1 and scale.ndim <= 1:
            return np.rint(values / scale)
        return channelwise(np.rint(spread(values, shape) / spread(scale, shape)))

    def _real_bias(self, node: Node) -> Array:
        """Bias and the constant part of the input code, per neuron."""
        bias = self.offsets[node.inputs[0]]
        if "bias" not in node.params:
            return bias
        return bias + spread(self.graph.array(node, "bias").astype(np.float64), node.type.shape)


def _expected(reached: Array, rare: Array, possible: Array) -> Array:
    """How far the potentials of each channel (channels,) will reach on other data.

    A channel of few neurons has seen too little by itself: it may reach the largest share of what
    is possible that any channel of its layer reached.

    Args:
        reached: On calibration data (channels,).
        rare: What currents would lead to that are rarer than one in as many samples (channels,).
        possible: Over all inputs (*shape).
    """
    if possible.size >= _MANY * reached.size:
        return np.maximum(_HEADROOM * reached, rare)
    most = possible.reshape(len(reached), -1).max(axis=1)
    share = (reached / np.where(most > 0, most, 1.0)).max(initial=0.0)
    return np.maximum(np.maximum(_POOLED * share * most, _HEADROOM * reached), rare)
