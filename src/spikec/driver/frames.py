"""Inputs whose data have a frame for each step."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from spikec.ir import Graph, Node, UsageError, op_of, verify
from spikec.ir.ops.frames import Frames
from spikec.ir.ops.input import Input
from spikec.ir.options import suggestion
from spikec.options import Options
from spikec.runtime.data import Dataset


def with_frames(graph: Graph, names: Collection[str]) -> Graph:
    """The graph with frames in place of some inputs.

    Args:
        graph: Of any stage.
        names: ONNX names of inputs.

    Raises:
        UsageError: for a name that no input has.
        InvalidGraph: where neurons gather a whole window.
    """
    known = [node.loc or node.name for node in graph.inputs]
    for name in names:
        if name not in known:
            hint = suggestion(name, known) or f"one of {', '.join(known)}"
            raise UsageError(f"there is no input '{name}' for frames", hint=hint)
    if not names:
        return graph
    return verify(graph.with_nodes([_framed(node, names) for node in graph.nodes]))


def _framed(node: Node, names: Collection[str]) -> Node:
    op = op_of(node)
    if not isinstance(op, Input) or (node.loc or node.name) not in names:
        return node
    return replace(node, operation=Frames(levels=op.levels))


def framed_inputs(graph: Graph) -> list[str]:
    """ONNX names of the inputs with a frame for each step."""
    return [node.loc or node.name for node in graph.inputs if op_of(node, Input).timed]


def doubts_of_frames(data: Dataset, steps: int) -> list[str]:
    """That not all frames are read, where that is so."""
    counts = {data.feeds[name].shape[1] for name in data.frames}
    return [f"of {count} frames the first {steps} are read" for count in counts if count > steps]


def notes_of_frames(graph: Graph) -> list[str]:
    """What the ANN beside a network sees of frames."""
    names = framed_inputs(graph)
    return [
        f"input '{name}' takes a frame in each step; the ANN sees the mean over them"
        for name in names
    ]


def with_their_steps(options: Options, data: Dataset | None) -> Options:
    """The options with T as the number of frames, where no T was given.

    Raises:
        UsageError: where inputs have different numbers of frames.
    """
    if options.timesteps is not None or data is None or not data.frames:
        return options
    counts = {data.feeds[name].shape[1] for name in data.frames}
    if len(counts) > 1:
        text = " and ".join(map(str, sorted(counts)))
        raise UsageError(f"inputs have {text} frames", hint="say which T with --timesteps")
    return replace(options, timesteps=counts.pop())
