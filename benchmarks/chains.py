"""How long the rewrites take on ever longer chains: seconds per node must not grow.

python benchmarks/chains.py
"""

from __future__ import annotations

import time

import numpy as np

from spikec.compiler.pipeline import Context, Pipeline, parse_pipeline
from spikec.ir import F32, Graph, Node, Param, TensorType, verify
from spikec.ir.ops.activations.relu import Relu
from spikec.ir.ops.input import Input
from spikec.ir.ops.synapses.affine import Affine
from spikec.ir.ops.synapses.dense import Dense

LENGTHS = (200, 400, 800, 1600, 10_000, 100_000)
PASSES = ("channels_first", "quantisers", "linearise", "fold", "relay")
_FLAT = TensorType(F32, (4,))


def chain(length: int) -> Graph:
    """Dense synapses, each followed by a normalisation and a rectifier: `length` nodes."""
    params: dict[str, Param] = {}
    nodes = [Node("x", Input(), (), _FLAT, loc="x")]
    weights = {"dense": {"w": np.eye(4)}, "affine": {"w": np.full(4, 0.5), "b": np.ones(4)}}
    for index in range(1, length):
        op = (Dense(), Affine(), Relu())[index % 3]
        name, values = f"{op.name}{index}", weights.get(op.name, {})
        params |= {f"{name}.{role}": Param.of(array) for role, array in values.items()}
        roles = {role: f"{name}.{role}" for role in values}
        nodes.append(Node(name, op, (nodes[-1].name,), _FLAT, params=roles))
    return verify(Graph("chain", "ann", 0, tuple(nodes), (nodes[-1].name,), params))


def main() -> None:
    """Print CPU seconds of each pass, and microseconds per node of all of them."""
    print("nodes".rjust(8), *(name.rjust(15) for name in PASSES), "us per node".rjust(12))
    for length in LENGTHS:
        graph, seconds = chain(length), []
        for name in PASSES:
            pipeline = Pipeline(parse_pipeline(name))
            start = time.process_time()
            graph, _ = pipeline.run(graph, Context())
            seconds.append(time.process_time() - start)
        per_node = 1e6 * sum(seconds) / length
        print(f"{length:8}", *(f"{each:15.3f}" for each in seconds), f"{per_node:12.1f}")


if __name__ == "__main__":
    main()
