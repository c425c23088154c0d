"""Golden traces as text that `$readmemh` reads, for testbenches of hardware.

One file for each param, input and layer; `manifest.json` says what each holds. docs/traces.md
states the format.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spikec.ir import Graph, Node, op_of
from spikec.ir.neuron import Membrane
from spikec.ir.ops.input import Input
from spikec.ir.types import Array, DType
from spikec.runtime.artifact import to_json
from spikec.runtime.check import traced_layers
from spikec.runtime.files import check_folder, new_folder
from spikec.runtime.golden import Run, network_digest
from spikec.runtime.interpreter import Feeds, as_read, state_type
from spikec.runtime.manifests import HEX

FORMAT = 1
COUNT_BITS = 32
"""Of the running maxima of max pooling."""


@dataclass(frozen=True, slots=True)
class HexFile:
    """What one file holds: a word in each line, the last index of `shape` running fastest.

    Attributes:
        file: Its name.
        kind: `param`, `input`, `spikes` or `potentials`.
        node: The node that it belongs to.
        role: Of a param: weights `w`, thresholds `theta` and so on; else none.
        bits: Width of a word; a line has a hexadecimal digit for each four bits begun.
        signed: Whether words are two's complement.
        order: Names of the axes of `shape`.
        shape: Words along each axis.
        sha256: Of the file.
    """

    file: str
    kind: str
    node: str
    role: str | None
    bits: int
    signed: bool
    order: tuple[str, ...]
    shape: tuple[int, ...]
    sha256: str


def hex_lines(values: Array, bits: int) -> str:
    """Integers in row-major order, one in a line; negative ones as 2^bits + value."""
    digits = -(-bits // 4)
    mask = (1 << bits) - 1
    return "".join(f"{int(value) & mask:0{digits}x}\n" for value in values.reshape(-1).tolist())


def write(
    folder: Path,
    graph: Graph,
    feeds: Feeds,
    simulate: Run,
    *,
    about: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write hex files and `manifest.json` into a folder; the same input gives the same bytes.

    Args:
        folder: Hex traces that stand there are replaced in one step.
        graph: Stage int.
        feeds: Coded inputs.
        simulate: The engine whose traces they are.
        about: More entries of the manifest.

    Returns:
        What the manifest holds.

    Raises:
        InvalidArtifact: when something else stands at `folder`.
    """
    check_folder(folder, HEX)
    names = traced_layers(graph)
    traces = simulate(graph, feeds, None, names).traces
    with new_folder(folder, HEX) as made:
        files = [*_params(made, graph), *_inputs(made, graph, feeds)]
        for name in names:
            node, trace = graph[name], traces[name]
            if trace.spikes is not None:
                files.append(_trace(made, node, "spikes", trace.spikes, node.type.dtype))
            files.append(_trace(made, node, "potentials", trace.potentials, _state(graph, node)))
        (made / "graph.spk").write_text(graph.to_text(), encoding="utf-8")
        manifest = {
            **(about or {}),
            "format": FORMAT,
            "network": network_digest(graph),
            "steps": graph.steps,
            "samples": len(next(iter(feeds.values()))),
            "layers": names,
            "files": [asdict(file) for file in files],
        }
        (made / "manifest.json").write_text(to_json(manifest), encoding="utf-8")
    return manifest


def _state(graph: Graph, node: Node) -> DType:
    if isinstance(op_of(node), Membrane):
        return state_type(graph, node)
    return DType("i", COUNT_BITS)


def _params(folder: Path, graph: Graph) -> Iterator[HexFile]:
    for node in graph.nodes:
        for role, name in node.params.items():
            if op_of(node).params[role].is_unit:
                continue
            array, dtype = graph.array(node, role), graph.params[name].type.dtype
            order = tuple(f"axis {n}" for n in range(array.ndim))
            yield _write(folder, f"{node.name}.{role}", "param", node, role, array, dtype, order)


def _inputs(folder: Path, graph: Graph, feeds: Feeds) -> Iterator[HexFile]:
    for node in graph.inputs:
        order = ("sample", *(["step"] if op_of(node, Input).timed else []), *_axes(node))
        coded = as_read(node, feeds, graph.steps)
        yield _write(folder, node.name, "input", node, None, coded, node.type.dtype, order)


def _trace(folder: Path, node: Node, kind: str, values: Array, dtype: DType) -> HexFile:
    """A layer's values of all steps, sample by sample."""
    order = ("sample", "step", *_axes(node))
    by_sample = np.moveaxis(values, 1, 0)
    return _write(folder, f"{node.name}.{kind}", kind, node, None, by_sample, dtype, order)


def _axes(node: Node) -> tuple[str, ...]:
    return tuple("channel" if n == 0 else f"space {n}" for n in range(len(node.type.shape)))


def _write(
    folder: Path,
    name: str,
    kind: str,
    node: Node,
    role: str | None,
    values: Array,
    dtype: DType,
    order: tuple[str, ...],
) -> HexFile:
    content = hex_lines(values, dtype.bits).encode()
    (folder / f"{name}.hex").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    signed = dtype.kind != "u"
    return HexFile(
        f"{name}.hex", kind, node.name, role, dtype.bits, signed, order, values.shape, digest
    )
