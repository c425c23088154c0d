"""What a model or artifact holds; a model is tried out: compiled on random inputs."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spikec.backends.backend import MappedPart
from spikec.compiler.onnx.scope import Refusal
from spikec.driver.artifact import Artifact, is_artifact, load
from spikec.driver.blocks import quiet
from spikec.driver.compiling import compile_network
from spikec.driver.contents import placement, resources
from spikec.driver.model import Model
from spikec.ir import Graph, InvalidData, Node, SpikecError, UsageError, op_of
from spikec.ir.ops.input import Input
from spikec.options import Options
from spikec.runtime.data import make_dataset

SAMPLES = 2
"""Random inputs that a model is compiled on."""


def inspect(path: Path, options: Options | None = None) -> dict[str, Any]:
    """What a model or artifact holds; see `spikec inspect --json`.

    Whether a model is supported is found by compiling it with `options` on random inputs.
    """
    if is_artifact(path) or path.is_dir():
        art = load(path)
        return {
            "supported": True,
            "unsupported": [],
            "operators": art.report.operators,
            "layers": _layers(art.graph),
            "resources": {**resources(art.graph), **_hardware(art)},
            "placement": placement(art),
            "mapping": [asdict(part) for part in art.report.mapping],
            "notes": art.report.notes,
        }
    options = options or Options()
    model = Model.load(path, shapes=options.shapes(), frames=options.frames)
    imported = model.imported
    trial = Trial(None) if imported.graph is None else try_out(model, options)
    refusals = [*imported.refusals, *trial.refusals]
    return {
        "supported": not refusals,
        "unsupported": [asdict(refusal) for refusal in refusals],
        "operators": imported.operators,
        "layers": [] if imported.graph is None else _layers(imported.graph),
        "resources": None if trial.graph is None else resources(trial.graph),
        "placement": None,
        "mapping": [asdict(part) for part in trial.mapping],
        "notes": [*imported.notes, *trial.notes],
    }


def _layers(graph: Graph) -> list[dict[str, Any]]:
    return [
        {
            "name": node.name,
            "op": node.op,
            "onnx_node": node.loc,
            "shape": list(node.type.shape),
            "type": str(node.type),
            "params": sum(graph.params[name].type.size for name in node.params.values()),
        }
        for node in graph.nodes
    ]


def _hardware(art: Artifact) -> dict[str, Any]:
    """Neurocores and bytes of synaptic memory that an artifact takes."""
    placed = placement(art)
    return {
        "hardware": placed["hardware"],
        "fits": placed["fits"],
        "neurocores": placed["cores"],
        "neurocores_without_sharing": placed["cores_without_sharing"],
        "memory": placed["memory"],
        "memory_without_sharing": placed["memory_without_sharing"],
    }


@dataclass(frozen=True, slots=True)
class Trial:
    """How compiling a model on random inputs went.

    Attributes:
        graph: The integer network; None where there is none.
        refusals: What stood against it.
        notes: What could not be told.
        mapping: What of it a chip could do.
    """

    graph: Graph | None
    refusals: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()
    mapping: tuple[MappedPart, ...] = ()


def try_out(model: Model, options: Options) -> Trial:
    """Run the whole pipeline and the target on random inputs from 0 to 1.

    What is found depends on the model and the options, not on the inputs; how well the network
    would do cannot be told by them.

    Raises:
        UsageError: for options that do not fit together.
    """
    options.passes()
    random = np.random.default_rng(options.seed)
    inputs = {
        node.loc or node.name: random.uniform(0, 1, _size(node, options.steps)).astype(np.float32)
        for node in model.graph.inputs
    }
    try:
        made = compile_network(model, make_dataset(inputs, model.graph), None, options, quiet)
        with tempfile.TemporaryDirectory() as folder:
            made.save(Path(folder) / "out")
    except UsageError:
        raise
    except InvalidData as error:
        return Trial(None, notes=(f"could not be tried on random inputs: {error.message}",))
    except SpikecError as error:
        return Trial(None, (_refusal(model, error),))
    except Exception as error:  # whatever else would end a compile
        reason = f"internal error: {type(error).__name__}: {error}"
        return Trial(None, (Refusal(model.source or "", "", reason, "report this as a bug"),))
    own = [note for note in made.report.notes if note not in model.imported.notes]
    return Trial(made.graph, notes=tuple(own), mapping=tuple(made.report.mapping))


def _size(node: Node, steps: int) -> tuple[int, ...]:
    """Sizes of the random inputs, of frames with their axis."""
    frames = (steps,) if op_of(node, Input).timed else ()
    return (SAMPLES, *frames, *node.type.shape)


def _refusal(model: Model, error: SpikecError) -> Refusal:
    """An error as what stands against the ONNX node that it names."""
    nodes = model.proto.graph.node
    named = (
        n.op_type for n in nodes if error.loc and (n.name == error.loc or error.loc in n.output)
    )
    where = error.loc or model.source or ""
    return Refusal(where, next(named, ""), error.message, error.hint)
