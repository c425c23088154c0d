"""Moves transposes down to where the layout matters, so that neurons see channels first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np

from spikec.compiler.pipeline import Context, Pass, Record
from spikec.compiler.rewrite import fresh, remove_dead
from spikec.ir import Graph, Node, Param, TensorType, op_of
from spikec.ir.op import AttrValue

Perm = tuple[int, ...]
_ELEMENTWISE = ("affine", "relu", "clip", "relay", "pointwise", "qcfs", "quantize")
_PER_AXIS = {"slice": ("starts", "sizes", "steps"), "pad": ("pads",), "upsample": ("factors",)}


@dataclass(frozen=True)
class ChannelsFirst(Pass):
    """Cancel transposes against each other by carrying them past element-wise nodes and routing.

    Models that keep channels last hold a transpose before and after each convolution. What
    remains is a transpose at the input, and at outputs that are laid out channels last.
    """

    def run(self, graph: Graph, context: Context, record: Record) -> Graph:
        moved = channels_first(graph)
        before, after = (sum(n.op == "transpose" for n in g.nodes) for g in (graph, moved))
        record.note(f"{before} transposes became {after}" if before else "no transposes")
        return moved


def channels_first(graph: Graph) -> Graph:
    """The same function with as few transposes as the layouts allow."""
    if not any(node.op == "transpose" for node in graph.nodes):
        return graph
    rewrite = _Rewrite(graph)
    for node in graph.nodes:
        rewrite.visit(node)
    outputs = tuple(rewrite.plain(name) for name in graph.outputs)
    changed = replace(graph, params={**graph.params, **rewrite.params})
    return remove_dead(changed.with_nodes(rewrite.made.values(), outputs=outputs))


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


@dataclass(slots=True)
class _Rewrite:
    graph: Graph
    made: dict[str, Node] = field(default_factory=dict)
    views: dict[str, _View] = field(default_factory=dict)
    params: dict[str, Param] = field(default_factory=dict)

    def visit(self, node: Node) -> None:
        if node.op == "input":
            self._input(node)
        elif node.op == "transpose":
            self._transpose(node)
        elif node.op in _ELEMENTWISE:
            self._elementwise(node)
        elif node.op == "reshape":
            self._reshape(node)
        elif node.op == "dense" and self.views[node.inputs[0]].order is not None:
            self._dense(node)
        elif node.op in _HANDLERS and not any(self.views[i].order for i in node.inputs):
            _HANDLERS[node.op](self, node)
        else:
            self._keep(node)

    def add(self, node: Node, attrs: Mapping[str, AttrValue] | None = None) -> str:
        """Append a node whose inputs are new values; its shape is inferred."""
        attrs = node.attrs if attrs is None else attrs
        types = {role: self._param(name).type for role, name in node.params.items()}
        inputs = [self.made[name].type for name in node.inputs]
        shape = op_of(node).infer(inputs, attrs, types)
        name = fresh(node.name, self.made)
        type_ = TensorType(node.type.dtype, shape)
        self.made[name] = replace(node, name=name, attrs=attrs, type=type_)
        return name

    def _param(self, name: str) -> Param:
        return self.params.get(name) or self.graph.params[name]

    def plain(self, old: str) -> str:
        """The new value that equals the old one."""
        view = self.views[old]
        if view.plain:
            return view.name
        source = self.made[view.name]
        base = replace(source, inputs=(view.name,), params={}, name=f"{old}.plain")
        if view.order is not None:
            name = self.add(replace(base, op="gather"), {"axis": 0, "indices": view.order})
        else:
            name = self.add(replace(base, op="transpose"), {"perm": view.perm})
        self.views[old] = _View(name, tuple(range(len(view.perm))))
        return name

    def _keep(self, node: Node) -> None:
        name = self.add(replace(node, inputs=tuple(self.plain(old) for old in node.inputs)))
        self.views[node.name] = _View(name, tuple(range(len(node.type.shape))))

    def _input(self, node: Node) -> None:
        self.made[node.name] = node
        self.views[node.name] = _View(node.name, tuple(range(len(node.type.shape))))
        perm = _wanted_layout(self.graph, node)
        if perm is not None:
            turned = Node(f"{node.name}.turned", "transpose", (node.name,), node.type, loc=node.loc)
            name = self.add(turned, {"perm": perm})
            self.views[node.name] = _View(name, _inverse(perm))

    def _transpose(self, node: Node) -> None:
        view = self.views[node.inputs[0]]
        perm = cast("Perm", node.attrs["perm"])
        self.views[node.name] = _View(view.name, tuple(view.perm[axis] for axis in perm))

    def _elementwise(self, node: Node) -> None:
        view = self.views[node.inputs[0]]
        roles = {role: self._turned_param(node, role, view) for role in node.params}
        name = self.add(replace(node, inputs=(view.name,), params=roles))
        self.views[node.name] = replace(view, name=name)

    def _turned_param(self, node: Node, role: str, view: _View) -> str:
        """A param of the old layout in the new one."""
        name = node.params[role]
        param = self._param(name)
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
        turned = f"{node.name}.{role}.turned"
        self.params[turned] = Param.of(array, param.type.dtype)
        return turned

    def _reshape(self, node: Node) -> None:
        view = self.views[node.inputs[0]]
        shape = cast("Perm", node.attrs["shape"])
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
            self._reshape_ones(node, view, new)
        else:
            self._keep(node)

    def _reshape_ones(self, node: Node, view: _View, new: Perm) -> None:
        """A reshape that only adds and drops axes of size 1: they go last in the new layout."""
        shape = cast("Perm", node.attrs["shape"])
        long_axes = [axis for axis in range(len(new)) if new[axis] > 1]
        places = iter([long_axes.index(axis) for axis in view.perm if new[axis] > 1])
        ones = iter(range(len(long_axes), len(shape)))
        perm = tuple(next(places) if size > 1 else next(ones) for size in shape)
        target = (*(new[axis] for axis in long_axes), *(1,) * (len(shape) - len(long_axes)))
        if target == new:
            self.views[node.name] = _View(view.name, perm)
            return
        name = self.add(replace(node, inputs=(view.name,)), {"shape": target})
        self.views[node.name] = _View(name, perm)

    def _dense(self, node: Node) -> None:
        """Weights take the order of the elements."""
        view = self.views[node.inputs[0]]
        param = self._param(node.params["w"])
        if param.array is None or view.order is None:
            self._keep(node)
            return
        columns = np.argsort(view.order)
        role = f"{node.name}.w.turned"
        self.params[role] = Param.of(param.array.take(columns, axis=1), param.type.dtype)
        turned = replace(node, inputs=(view.name,), params={**node.params, "w": role})
        self.views[node.name] = _View(self.add(turned), (0,))

    def together(self, node: Node, attrs: Callable[[Perm], Mapping[str, AttrValue]]) -> None:
        """A node whose inputs must share a layout: one that is not plain, if any."""
        views = [self.views[old] for old in node.inputs]
        perm = next((view.perm for view in views if not view.plain), views[0].perm)
        inputs = tuple(self._laid_out(old, perm) for old in node.inputs)
        name = self.add(replace(node, inputs=inputs), attrs(perm))
        self.views[node.name] = _View(name, perm)

    def _laid_out(self, old: str, perm: Perm) -> str:
        """The new value whose transpose by `perm` is the old one."""
        view = self.views[old]
        if view.perm == perm:
            return view.name
        source = self.made[view.name]
        base = replace(source, op="transpose", inputs=(view.name,), params={}, name=f"{old}.turned")
        return self.add(base, {"perm": tuple(view.perm[axis] for axis in _inverse(perm))})


def _inverse(perm: Perm) -> Perm:
    return tuple(int(axis) for axis in np.argsort(perm))


def _long(shape: Sequence[int]) -> list[int]:
    return [size for size in shape if size > 1]


def _wanted_layout(graph: Graph, node: Node) -> Perm | None:
    """The one transpose that everything reads an input through, past element-wise nodes."""
    readers, found, pending = graph.consumers(), set(), [node.name]
    while pending:
        name = pending.pop()
        if name in graph.outputs:
            return None
        for reader in readers[name]:
            if reader.op == "transpose":
                found.add(cast("Perm", reader.attrs["perm"]))
            elif reader.op in _ELEMENTWISE or reader.op in _PER_AXIS:
                pending.append(reader.name)
            else:
                return None
    return found.pop() if len(found) == 1 else None


def _add(rewrite: _Rewrite, node: Node) -> None:
    rewrite.together(node, lambda perm: node.attrs)


def _concat(rewrite: _Rewrite, node: Node) -> None:
    axis = cast(int, node.attrs["axis"])
    rewrite.together(node, lambda perm: {"axis": perm[axis]})


def _gather(rewrite: _Rewrite, node: Node) -> None:
    axis = cast(int, node.attrs["axis"])
    rewrite.together(node, lambda perm: {**node.attrs, "axis": perm[axis]})


def _per_axis(rewrite: _Rewrite, node: Node) -> None:
    """Attributes that list a value per axis, or all begins and then all ends."""

    def attrs(perm: Perm) -> Mapping[str, AttrValue]:
        back, rank = _inverse(perm), len(perm)
        moved: dict[str, AttrValue] = {}
        for key in _PER_AXIS[node.op]:
            values = cast("Perm", node.attrs[key])
            halves = (values[i : i + rank] for i in range(0, len(values), rank))
            moved[key] = tuple(half[axis] for half in halves for axis in back)
        return moved

    rewrite.together(node, attrs)


def _reduce_sum(rewrite: _Rewrite, node: Node) -> None:
    """A sum over all positions of a channels-first value is a pooling."""
    view = rewrite.views[node.inputs[0]]
    axes = tuple(sorted(view.perm[axis] for axis in cast("Perm", node.attrs["axes"])))
    rank = len(view.perm)
    if axes != tuple(range(1, rank)):
        rewrite.together(node, lambda perm: {"axes": axes})
        return
    window: dict[str, AttrValue] = {
        "kernel": rewrite.made[view.name].type.shape[1:],
        "strides": (1,) * (rank - 1),
        "pads": (0,) * (2 * rank - 2),
        "dilations": (1,) * (rank - 1),
    }
    name = rewrite.add(replace(node, op="sum_pool", inputs=(view.name,)), window)
    rewrite.views[node.name] = _View(name, view.perm)


_HANDLERS: dict[str, Callable[[_Rewrite, Node], None]] = {
    "add": _add,
    "concat": _concat,
    "gather": _gather,
    "slice": _per_axis,
    "pad": _per_axis,
    "upsample": _per_axis,
    "reduce_sum": _reduce_sum,
}
