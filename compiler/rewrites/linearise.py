"""Replaces smooth functions by sums of rectifiers fitted on the calibration range."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from spikec.compiler.pipeline import Context, Pass, Record
from spikec.compiler.rewrites.piecewise import Fit, fit_pointwise
from spikec.ir import F32, Graph, Node, Param, PassError, op_of, unique_name
from spikec.ir.ops.activations.pointwise import Pointwise
from spikec.ir.ops.activations.relu import Relu
from spikec.ir.ops.routing.add import Add
from spikec.ir.ops.synapses.affine import Affine
from spikec.runtime.interpreter import Feeds, check_feeds, evaluate

_BLOCK = 32
_ROUNDING = ("floor", "ceil", "round", "sign")


@dataclass(frozen=True)
class Linearise(Pass):
    """Fit every `pointwise` on the range that its input takes on the calibration data.

    The report names the largest and the mean error of each fit on that range. Below it the fit
    is constant, above it it goes on linearly.
    """

    pieces: int = 8

    def run(self, graph: Graph, context: Context, record: Record) -> Graph:
        smooth = [node for node in graph.nodes if isinstance(node.operation, Pointwise)]
        if not smooth:
            record.note("no smooth functions")
            return graph
        _refuse_rounding(smooth)
        ranges = _ranges(graph, context.data("linearise"), smooth)
        nodes: list[Node] = []
        params: dict[str, Param] = {}
        taken = set(graph.by_name)
        for node in graph.nodes:
            op = node.operation
            if not isinstance(op, Pointwise):
                nodes.append(node)
                continue
            fit = self._fit(op, *ranges[node.inputs[0]])
            record.layer(node.name, fit_max_error=fit.max_error, fit_mean_error=fit.mean_error)
            record.note(
                f"%{node.name}: {op.fn} as {len(fit.knots)} rectifiers on "
                f"[{fit.knots[0]:.3g}, {ranges[node.inputs[0]][1]:.3g}], error at most "
                f"{fit.max_error:.2g}, {fit.mean_error:.2g} on average"
            )
            nodes += spelled_out(node, fit, params, taken)
        return graph.with_nodes(nodes, params)

    def _fit(self, op: Pointwise, low: float, high: float) -> Fit:
        margin = 0.02 * (high - low) or 1e-3
        try:
            return fit_pointwise(op.fn, low - margin, high + margin, self.pieces, op.alpha)
        except PassError:
            return fit_pointwise(op.fn, low, max(high, low + 1e-3), self.pieces, op.alpha)


def _refuse_rounding(smooth: list[Node]) -> None:
    for node in smooth:
        fn = op_of(node, Pointwise).fn
        if fn in _ROUNDING:
            raise PassError(
                f"%{node.name} rounds ({fn}) and is part of no uniform quantiser",
                loc=node.loc,
                hint="quantisers are recognised as scaling, clipping and rounding with constants",
            )


def _ranges(graph: Graph, calib: Feeds, smooth: list[Node]) -> dict[str, tuple[float, float]]:
    """Smallest and largest value that each function reads."""
    wanted = {node.inputs[0] for node in smooth}
    ranges: dict[str, tuple[float, float]] = {}
    total = check_feeds(graph, calib)
    for start in range(0, total, _BLOCK):
        block = {name: x[start : start + _BLOCK] for name, x in calib.items()}
        for node, value in evaluate(graph, block):
            if node.name in wanted:
                low, high = ranges.get(node.name, (np.inf, -np.inf))
                ranges[node.name] = min(low, float(value.min())), max(high, float(value.max()))
    return ranges


def spelled_out(node: Node, fit: Fit, params: dict[str, Param], taken: set[str]) -> list[Node]:
    """A pointwise node as affine, relu and add nodes; the last one has its name."""

    def affine(name: str, source: str, w: float, b: float) -> Node:
        roles = {"w": f"{name}.w", "b": f"{name}.b"}
        params.update({roles["w"]: Param.of(w, F32), roles["b"]: Param.of(b, F32)})
        return replace(node, name=name, operation=Affine(), inputs=(source,), params=roles)

    made, terms, offset = list[Node](), list[str](), fit.offset
    for index, (knot, change) in enumerate(zip(fit.knots, fit.changes, strict=True)):
        above, bent, term = (
            unique_name(f"{node.name}.{part}{index}", taken) for part in ("above", "bent", "term")
        )
        taken.update((above, bent, term))
        made.append(affine(above, node.inputs[0], 1.0, -knot))
        made.append(replace(node, name=bent, operation=Relu(), inputs=(above,)))
        made.append(affine(term, bent, change, offset))
        offset = 0.0
        terms.append(term)
    if len(terms) == 1:
        return [*made[:-1], replace(made[-1], name=node.name)]
    return [*made, replace(node, operation=Add(), inputs=tuple(terms))]
