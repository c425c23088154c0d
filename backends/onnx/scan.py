"""A layer with state as one Scan over the time steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper

from spikec.backends.onnx.net import BATCH, Net, Value, count_outside
from spikec.backends.onnx.writer import INT64, Writer
from spikec.ir import Node
from spikec.ir.types import Array

Shape = tuple[int, ...]


@dataclass(slots=True)
class State:
    """A number per neuron that one step hands to the next.

    Attributes:
        name: In the body, before the step.
        initial: Outside, before the first step.
        type: Element type.
        shape: Per sample.
        after: In the body, after the step.
    """

    name: str
    initial: str
    type: int
    shape: Shape
    after: str = ""


class Scan:
    """Writes the body of a layer's Scan, then the Scan.

    Attributes:
        net: The graph around it.
        node: The layer.
        body: Where the body's nodes go.
    """

    def __init__(self, net: Net, node: Node) -> None:
        self.net, self.node, self.body = net, node, Writer(net.out)
        self._states: list[State] = []
        self._inputs: list[tuple[str, str, int, list[Any]]] = []
        self._results: list[tuple[str, int, Shape]] = []

    def state(self, part: str, initial: str, type_: int, shape: Shape) -> State:
        """Add a state that starts as `initial`, which is expanded to all samples."""
        start = self.net.out.add(
            "Expand", [initial, self.net.batch_shape(shape)], self._named(f"{part}0")
        )
        made = State(self.body.unique(self._named(part)), start, type_, shape)
        self._states.append(made)
        return made

    def read(self, value: Value, part: str) -> str:
        """The value of the step; one that is the same in each step is read from outside."""
        if not value.timed:
            return value.name
        name = self.body.unique(self._named(part))
        stacked = self.net.stacked(value)
        self._inputs.append((name, stacked, value.type, [BATCH, *value.shape]))
        return name

    def sequence(self, values: Array, type_: int, part: str) -> str:
        """A number of the step, from those of all steps (T,)."""
        name = self.body.unique(self._named(part))
        dtype = helper.tensor_dtype_to_np_dtype(type_)
        stacked = self.net.out.constant(f"{part}s:{dtype}", values.astype(dtype))
        self._inputs.append((name, stacked, type_, []))
        return name

    def op(self, op: str, inputs: list[str], part: str, **attributes: Any) -> str:
        """Add an operator to the body."""
        return self.body.add(op, inputs, self._named(part), **attributes)

    def result(self, name: str, type_: int, shape: Shape) -> int:
        """Keep a value of every step; returns its index."""
        self._results.append((name, type_, shape))
        return len(self._results) - 1

    def watch(self, name: str, type_: int, bounds: tuple[int, int], shape: Shape) -> None:
        """Count the potentials outside `bounds` in every step."""
        axes = list(range(1, len(shape) + 1))
        self.result(count_outside(self.body, name, type_, *bounds, axes), INT64, ())

    def finish(self, wanted: str = "") -> list[Value]:
        """Add the Scan; returns the results as values of all steps.

        Args:
            wanted: Name of the first one; the node's by default.
        """
        out, name = self.net.out, self.node.name
        if not self._inputs:  # a Scan needs one: the number of the step
            steps = out.constant("steps", np.arange(1, self.net.steps + 1))
            self._inputs.append((self.body.unique(self._named("t")), steps, INT64, []))
        last = [out.unique(f"{state.name}/last") for state in self._states]
        stacked = [out.unique(f"{result[0]}/all") for result in self._results]
        out.add(
            "Scan",
            [*(state.initial for state in self._states), *(entry[1] for entry in self._inputs)],
            f"{name}/scan",
            outputs=[*last, *stacked],
            body=self._graph(),
            num_scan_inputs=len(self._inputs),
            **self.net.described(self.node),
        )
        names = [wanted or name, *(f"{result[0]}/flat" for result in self._results[1:])]
        return [
            self.net.flat(output, type_, shape, want)
            if shape or i == 0
            else Value(output, type_, shape, True)
            for i, (output, want, (_, type_, shape)) in enumerate(
                zip(stacked, names, self._results, strict=True)
            )
        ]

    def _graph(self) -> onnx.GraphProto:
        info = helper.make_tensor_value_info
        before = [info(s.name, s.type, [BATCH, *s.shape]) for s in self._states]
        before += [info(name, type_, shape) for name, _, type_, shape in self._inputs]
        after = [info(s.after, s.type, [BATCH, *s.shape]) for s in self._states]
        after += [info(name, type_, [BATCH, *shape]) for name, type_, shape in self._results]
        return self.body.graph(f"{self.node.name}/step", before, after)

    def _named(self, part: str) -> str:
        return f"{self.node.name}/{part}"
