"""Moves transposes down to where the layout matters, so that neurons see channels first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from spikec.compiler.pipeline import Context, Pass, Record
from spikec.ir import Graph, GraphBuilder, Node, Param, remove_dead
from spikec.ir.activation import Activation
from spikec.ir.op import Op
from spikec.ir.ops.activations.pointwise import Pointwise
from spikec.ir.ops.input import Input
from spikec.ir.ops.routing.add import Add
from spikec.ir.ops.routing.concat import Concat
from spikec.ir.ops.routing.gather import Gather
from spikec.ir.ops.routing.pad import Pad
from spikec.ir.ops.routing.reduce_sum import ReduceSum
from spikec.ir.ops.routing.reshape import Reshape
from spikec.ir.ops.routing.slice import Slice
from spikec.ir.ops.routing.sum_pool import SumPool
from spikec.ir.ops.routing.transpose import Transpose
from spikec.ir.ops.routing.upsample import Upsample
from spikec.ir.ops.synapses.affine import Affine
from spikec.ir.ops.synapses.dense import Dense

Perm = tuple[int, ...]
_ELEMENTWISE = (Affine, Activation, Pointwise)
_PER_AXIS = (Slice, Pad, Upsample)


@dataclass(frozen=True)
class ChannelsFirst(Pass):
    """Cancel transposes against each other by carrying them past element-wise nodes and routing.

    Models that keep channels last hold a transpose before and after each convolution. What
    remains is a transpose at the input, and at outputs that are laid out channels last.
    """

    def run(self, graph: Graph, context: Context, record: Record) -> Graph:
        moved = channels_first(graph)
        before, after = map(_transposes, (graph, moved))
        record.note(f"{before} transposes became {after}" if before else "no transposes")
        return moved


def _transposes(graph: Graph) -> int:
    return sum(isinstance(node.operation, Transpose) for node in graph.nodes)


def channels_first(graph: Graph) -> Graph:
    """The same function with as few transposes as the layouts allow."""
    if not _transposes(graph):
        return graph
    layouts = _Layouts(graph)
    for node in graph.nodes:
        layouts.visit(node)
    layouts.made.outputs = [layouts.plain(name) for name in graph.outputs]
    return remove_dead(layouts.made.finish())


@dataclass(frozen=True, slots=True)
class _View:
    """An old value in terms of a new one.

    Axis k of the old value is axis perm[k] of the new one. A flat value may instead have an
    `order`: element i of the old value is element order[i] of the new one.
    """

    name: str
    perm: Perm
    order: Perm | None = None

    @property
    def plain(self) -> bool:
        return self.order is None and self.perm == tuple(range(len(self.perm)))


class _Layouts:
    """Builds the graph anew; old values are found again as views of new ones."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.made = GraphBuilder(graph, nodes=())
        self.views: dict[str, _View] = {}

    def visit(self, node: Node) -> None:
        flat = any(self.views[name].order is not None for name in node.inputs)
        match node.operation:
            case Input():
                self._input(node)
            case Transpose(perm):
                view = self.views[node.inputs[0]]
                self.views[node.name] = _View(view.name, tuple(view.perm[axis] for axis in perm))
            case op if isinstance(op, _ELEMENTWISE):
                self._elementwise(node)
            case Reshape(shape):
                self._reshape(node, shape)
            case Dense() if flat:
                self._dense(node)
            case ReduceSum(axes) if not flat:
                self._reduce_sum(node, axes)
            case Add() | Concat() | Gather() | Slice() | Pad() | Upsample() if not flat:
                self._together(node)
            case _:
                self._keep(node)

    def add(self, node: Node) -> str:
        """Append a node whose inputs are new values."""
        return self.made.append(node).name

    def plain(self, old: str) -> str:
        """The new value that equals the old one."""
        view = self.views[old]
        if view.plain:
            return view.name
        source = self.made[view.name]
        base = replace(source, inputs=(view.name,), params={}, name=f"{old}.plain")
        if view.order is not None:
            name = self.add(replace(base, operation=Gather(axis=0, indices=view.order)))
        else:
            name = self.add(replace(base, operation=Transpose(view.perm)))
        self.views[old] = _View(name, tuple(range(len(view.perm))))
        return name

    def _keep(self, node: Node) -> None:
        name = self.add(replace(node, inputs=tuple(self.plain(old) for old in node.inputs)))
        self.views[node.name] = _View(name, tuple(range(len(node.type.shape))))

    def _input(self, node: Node) -> None:
        self._keep(node)
        perm = _wanted_layout(self.graph, node)
        if perm is not None:
            turned = f"{node.name}.turned"
            name = self.add(Node(turned, Transpose(perm), (node.name,), node.type, loc=node.loc))
            self.views[node.name] = _View(name, _inverse(perm))

    def _elementwise(self, node: Node) -> None:
        view = self.views[node.inputs[0]]
        roles = {role: self._turned_param(node, role, view) for role in node.params}
        name = self.add(replace(node, inputs=(view.name,), params=roles))
        self.views[node.name] = replace(view, name=name)

    def _turned_param(self, node: Node, role: str, view: _View) -> str:
        """A param of the old layout in the new one."""
        name = node.params[role]
        param = self.made.param(name)
        if view.plain or param.array is None or param.array.ndim == 0:
            return name
        rank = len(view.perm)
        if view.order is not None:
            array = param.array[np.argsort(view.order)] if param.array.size > 1 else param.array
        else:
            array = param.array
            array = array.reshape(-1, *(1,) * (rank - 1)) if array.ndim < rank else array
            array = array.transpose(_inverse(view.perm))
            array = array.reshape(-1) if array.size == array.shape[0] else array
        return self.made.add_param(f"{node.name}.{role}.turned", Param.of(array, param.type.dtype))

    def _reshape(self, node: Node, shape: Perm) -> None:
        view = self.views[node.inputs[0]]
        new = self.made[view.name].type.shape
        if view.plain or view.order is not None:
            self._keep(node)
        elif len(shape) == 1:
            name = self.add(replace(node, inputs=(view.name,)))
            order = np.arange(node.type.size).reshape(new).transpose(view.perm).reshape(-1)
            sorted_already = bool((np.diff(order) == 1).all())
            flat = None if sorted_already else tuple(order.tolist())
            self.views[node.name] = _View(name, (0,), flat)
        elif _long(shape) == _long(tuple(new[axis] for axis in view.perm)):
            self._reshape_ones(node, shape, view, new)
        else:
            self._keep(node)

    def _reshape_ones(self, node: Node, shape: Perm, view: _View, new: Perm) -> None:
        """A reshape that only adds and drops axes of size 1: they go last in the new layout."""
        long_axes = [axis for axis in range(len(new)) if new[axis] > 1]
        places = iter([long_axes.index(axis) for axis in view.perm if new[axis] > 1])
        ones = iter(range(len(long_axes), len(shape)))
        perm = tuple(next(places) if size > 1 else next(ones) for size in shape)
        target = (*(new[axis] for axis in long_axes), *(1,) * (len(shape) - len(long_axes)))
        if target == new:
            self.views[node.name] = _View(view.name, perm)
            return
        name = self.add(replace(node, inputs=(view.name,), operation=Reshape(target)))
        self.views[node.name] = _View(name, perm)

    def _dense(self, node: Node) -> None:
        """Weights take the order of the elements."""
        view = self.views[node.inputs[0]]
        param = self.made.param(node.params["w"])
        if param.array is None or view.order is None:
            self._keep(node)
            return
        columns = np.argsort(view.order)
        turned = Param.of(param.array.take(columns, axis=1), param.type.dtype)
        roles = {**node.params, "w": self.made.add_param(f"{node.name}.w.turned", turned)}
        name = self.add(replace(node, inputs=(view.name,), params=roles))
        self.views[node.name] = _View(name, (0,))

    def _together(self, node: Node) -> None:
        """A node whose inputs must share a layout: one that is not plain, if any."""
        views = [self.views[old] for old in node.inputs]
        perm = next((view.perm for view in views if not view.plain), views[0].perm)
        inputs = tuple(self._laid_out(old, perm) for old in node.inputs)
        turned = _turned(node.operation, perm)
        name = self.add(replace(node, inputs=inputs, operation=turned))
        self.views[node.name] = _View(name, perm)

    def _laid_out(self, old: str, perm: Perm) -> str:
        """The new value whose transpose by `perm` is the old one."""
        view = self.views[old]
        if view.perm == perm:
            return view.name
        source = self.made[view.name]
        turning = Transpose(tuple(view.perm[axis] for axis in _inverse(perm)))
        name = f"{old}.turned"
        return self.add(
            replace(source, operation=turning, inputs=(view.name,), params={}, name=name)
        )

    def _reduce_sum(self, node: Node, axes: Perm) -> None:
        """A sum over all positions of a channels-first value is a pooling."""
        view = self.views[node.inputs[0]]
        turned = tuple(sorted(view.perm[axis] for axis in axes))
        rank = len(view.perm)
        if turned != tuple(range(1, rank)):
            self._together(node)
            return
        kernel = self.made[view.name].type.shape[1:]
        pool = SumPool(kernel, (1,) * (rank - 1), (0,) * (2 * rank - 2), (1,) * (rank - 1))
        name = self.add(replace(node, operation=pool, inputs=(view.name,)))
        self.views[node.name] = _View(name, view.perm)


def _inverse(perm: Perm) -> Perm:
    return tuple(int(axis) for axis in np.argsort(perm))


def _long(shape: Sequence[int]) -> list[int]:
    return [size for size in shape if size > 1]


def _wanted_layout(graph: Graph, node: Node) -> Perm | None:
    """The one transpose that everything reads an input through, past element-wise nodes."""
    perms, pending = set[Perm](), [node.name]
    while pending:
        name = pending.pop()
        if name in graph.outputs:
            return None
        for reader in graph.readers[name]:
            if isinstance(reader.operation, Transpose):
                perms.add(reader.operation.perm)
            elif isinstance(reader.operation, (*_ELEMENTWISE, *_PER_AXIS)):
                pending.append(reader.name)
            else:
                return None
    return perms.pop() if len(perms) == 1 else None


def _turned(op: Op, perm: Perm) -> Op:
    """An op whose attributes name axes, or list values per axis, in the new layout.

    Attributes that list more than one value per axis list all begins and then all ends.
    """
    back, rank = _inverse(perm), len(perm)

    def moved(values: Perm) -> Perm:
        halves = (values[i : i + rank] for i in range(0, len(values), rank))
        return tuple(half[axis] for half in halves for axis in back)

    match op:
        case Concat(axis):
            return Concat(perm[axis])
        case Gather():
            return replace(op, axis=perm[op.axis])
        case Slice(starts, sizes, steps):
            return Slice(moved(starts), moved(sizes), moved(steps))
        case Pad(pads):
            return Pad(moved(pads))
        case Upsample(factors):
            return Upsample(moved(factors))
        case ReduceSum(axes):
            return ReduceSum(tuple(sorted(perm[axis] for axis in axes)))
    return op
