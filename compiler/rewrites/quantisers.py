"""Recognises trained quantisers that a model spells out in arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from spikec.compiler.pipeline import Context, Pass, Record
from spikec.compiler.rewrites.cancel import cancel_terms, compact
from spikec.ir import F32, Graph, GraphBuilder, Node, Param, op_of, spread
from spikec.ir.ops.activations.clip import Clip
from spikec.ir.ops.activations.pointwise import Pointwise
from spikec.ir.ops.activations.qcfs import Qcfs, Rounding
from spikec.ir.ops.activations.quantize import Quantize
from spikec.ir.ops.activations.relu import Relu
from spikec.ir.ops.synapses.affine import Affine
from spikec.ir.types import Array

_MOST_LEVELS = 1 << 24
_CHAIN = (Affine, Relu, Clip)
_LONGEST = 32
"""Nodes that are looked at on each side of a rounding: a spelled-out quantiser has about six."""


@dataclass(frozen=True)
class Quantisers(Pass):
    """Merge scaling, clipping and rounding into `qcfs`, or `quantize` where values are signed.

    The order of the operations does not matter, nor do straight-through terms `y + (floor(y) - y)`.
    What rounds and fits no uniform quantiser is left as it is.
    """

    def run(self, graph: Graph, context: Context, record: Record) -> Graph:
        merged = recognise_quantisers(graph)
        before, after = (_quantisers(g) for g in (graph, merged))
        for name in sorted(after - before):
            op = merged[name].operation
            if isinstance(op, Qcfs):
                largest = float(np.mean(merged.array(merged[name], "lambda")))
                record.layer(name, levels=op.levels, theta=largest)
        count = len(after - before)
        record.note(f"recognised {count} quantisers" if count else "no quantisers spelled out")
        return merged


def _quantisers(graph: Graph) -> set[str]:
    return {node.name for node in graph.nodes if isinstance(node.operation, Qcfs | Quantize)}


def recognise_quantisers(graph: Graph) -> Graph:
    """The graph with every spelled-out uniform quantiser as one node."""
    if not any(_rounds(node) for node in graph.nodes):
        return graph
    builder = GraphBuilder(cancel_terms(graph))
    for node in builder:
        if _rounds(node):
            _merge(builder, node)
    return builder.finish()


def _rounds(node: Node) -> bool:
    op = node.operation
    return isinstance(op, Pointwise) and op.fn in ("floor", "round")


@dataclass(frozen=True, slots=True)
class _Ramp:
    """`clip(a x + b, lo, hi)`, each broadcast to x."""

    a: Array
    b: Array
    lo: Array
    hi: Array

    @staticmethod
    def start() -> _Ramp:
        return _Ramp(np.ones(()), np.zeros(()), np.array(-np.inf), np.array(np.inf))

    def then(self, builder: GraphBuilder, node: Node) -> _Ramp:
        """This ramp followed by an affine, relu or clip node."""
        op = node.operation
        if isinstance(op, Affine):
            return self._scaled(*_factors(builder, node))
        top = op.hi if isinstance(op, Clip) else np.inf
        return replace(self, lo=np.clip(self.lo, 0, top), hi=np.clip(self.hi, 0, top))

    def _scaled(self, w: Array, b: Array) -> _Ramp:
        with np.errstate(invalid="ignore"):
            ends = w * self.lo + b, w * self.hi + b
        return _Ramp(w * self.a, w * self.b + b, np.minimum(*ends), np.maximum(*ends))


def _factors(builder: GraphBuilder, node: Node) -> tuple[Array, Array]:
    w = builder.array(node, "w").astype(np.float64)
    b = builder.array(node, "b").astype(np.float64) if "b" in node.params else np.zeros(())
    return spread(w, node.type.shape), spread(b, node.type.shape)


def _merge(builder: GraphBuilder, rounding: Node) -> None:
    """Merge the quantiser around a rounding node, if it is part of one."""
    best, where = None, rounding
    for base, inner in _before(builder, rounding):
        for end, outer in _after(builder, rounding):
            quantiser = _quantiser(rounding, base, inner, outer)
            if quantiser is not None and (best is None or quantiser.rank >= best.rank):
                best, where = quantiser, end
    if best is not None:
        _put(builder, rounding, where, best)


def _before(builder: GraphBuilder, rounding: Node) -> Iterator[tuple[str, _Ramp]]:
    """Values above the rounding, nearest first, and the ramp from each to what is rounded."""
    chain = list[Node]()
    name = rounding.inputs[0]
    while len(chain) < _LONGEST:
        ramp = _Ramp.start()
        for node in reversed(chain):
            ramp = ramp.then(builder, node)
        yield name, ramp
        if not isinstance(builder[name].operation, _CHAIN):
            return
        chain.append(builder[name])
        name = builder[name].inputs[0]


def _after(builder: GraphBuilder, rounding: Node) -> Iterator[tuple[Node, _Ramp]]:
    """Values below the rounding that nothing else reads, and the ramp to each."""
    node, ramp = rounding, _Ramp.start()
    for _ in range(_LONGEST):
        yield node, ramp
        reader = builder.only_reader(node.name)
        if reader is None or not isinstance(reader.operation, _CHAIN):
            return
        node, ramp = reader, ramp.then(builder, reader)


@dataclass(frozen=True, slots=True)
class _Quantiser:
    """A recognised quantiser of the value `base`, and a factor after it if one is needed."""

    base: str
    op: Qcfs | Quantize
    params: dict[str, Array]
    factor: Array | None

    @property
    def rank(self) -> tuple[bool, bool]:
        """Better ones compare greater; of equals, the one that merges more nodes is better."""
        return self.factor is None, not isinstance(self.op, Qcfs) or self.op.shift == 0.5


def _quantiser(rounding: Node, base: str, inner: _Ramp, outer: _Ramp) -> _Quantiser | None:
    """`outer(round(inner(x)))` as a quantiser, if it is one."""
    with np.errstate(all="ignore"):
        usable = [((r.a > 1e-30) & (r.a < 1e30)).all() for r in (inner, outer)]
        if not all(usable):
            return None
        integer = np.rint if op_of(rounding, Pointwise).fn == "round" else np.floor
        lo = np.maximum(integer(inner.lo), (outer.lo - outer.b) / outer.a)
        hi = np.minimum(integer(inner.hi), (outer.hi - outer.b) / outer.a)
    low, high = _whole(lo), _whole(hi)
    if low is None or high is None or low >= high or high - low > _MOST_LEVELS:
        return None
    even = integer is np.rint
    shift = _uniform(inner.b - low + (0.5 if even else 0.0))
    centred = _uniform(inner.b + (0.5 if even else 0.0))
    factor = outer.a * inner.a
    exact = np.allclose(factor, 1.0, rtol=1e-5, atol=0)
    kind: Rounding = "even" if even else "floor"
    left = None if exact else factor
    if np.allclose(outer.a * low + outer.b, 0, atol=1e-5 * float(outer.a.max())):
        fits = shift is not None and 0 <= shift <= 1 and (not even or shift == 0.5)
        if fits and shift is not None:
            unsigned = Qcfs(high - low, shift, kind)
            return _Quantiser(base, unsigned, {"lambda": (high - low) / inner.a}, left)
    elif low < 0 and not outer.b.any() and centred == 0.5:
        return _Quantiser(base, Quantize(low, high, kind), {"scale": 1 / inner.a}, left)
    return None


def _uniform(array: Array) -> float | None:
    """The one value of an array, rounded where rounding errors suggest it, or None."""
    value = float(array.flat[0])
    if not np.allclose(array, value, rtol=0, atol=1e-5):
        return None
    near = round(value * 64) / 64
    return near if abs(near - value) < 1e-5 else value


def _whole(array: Array) -> int | None:
    """The one integer that all elements are, or None."""
    if not np.isfinite(array).all():
        return None
    value = round(float(array.flat[0]))
    return value if np.allclose(array, value, rtol=1e-5, atol=1e-3) else None


def _put(builder: GraphBuilder, rounding: Node, end: Node, quantiser: _Quantiser) -> None:
    """Put the quantiser in the place of the chain's last node."""
    name = end.name if quantiser.factor is None else builder.unique(f"{end.name}.quantised")
    roles = {
        role: builder.add_param(f"{name}.{role}", Param.of(compact(array), F32))
        for role, array in quantiser.params.items()
    }
    made = Node(name, quantiser.op, (quantiser.base,), end.type, roles, rounding.loc)
    if quantiser.factor is None:
        builder.replace(made)
    else:
        builder.insert_before(end.name, made)
        role = builder.add_param(f"{end.name}.factor", Param.of(compact(quantiser.factor), F32))
        builder.replace(Node(end.name, Affine(), (name,), end.type, {"w": role}, end.loc))
    for source in end.inputs:
        builder.erase_unread(source)
