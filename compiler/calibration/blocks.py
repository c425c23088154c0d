"""Reconstruction block by block: what some layers do together is fitted to the ANN."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from spikec.compiler.calibration.cone import StoredCone, joined, mean_over_steps
from spikec.compiler.calibration.partition import Block, partition
from spikec.compiler.calibration.reference import kept_samples, reference
from spikec.compiler.calibration.steps import Steps
from spikec.compiler.calibration.thresholds import is_exact
from spikec.compiler.calibration.tuning import Adam, Tuning
from spikec.compiler.pipeline import Context, Pass, Record, within
from spikec.ir import F32, Graph, GraphBuilder, Node, Param, op_of, spread
from spikec.ir.analysis import cone_of, last_reads
from spikec.ir.neuron import Membrane, Neuron
from spikec.ir.op import Stateful
from spikec.ir.ops.activations.clip import Clip
from spikec.ir.ops.activations.qcfs import Qcfs
from spikec.ir.ops.input import Input
from spikec.ir.ops.max_pool import MaxPool
from spikec.ir.ops.synapses.conv import Conv
from spikec.ir.ops.synapses.dense import Dense
from spikec.ir.types import Array
from spikec.ir.windows import Pooling
from spikec.runtime import fast
from spikec.runtime.interpreter import over_time


@dataclass(frozen=True)
class Blocks(Pass):
    """Tune weights, thresholds and biases of a block of layers so that its results are the ANN's.

    Reconstruction layer by layer makes up for what earlier layers lost; here the layers of a block
    also prepare what later ones of it need. A block is computed on the mean currents that reach it,
    its neurons as they are; the gradient passes a neuron where its rate is neither 0 nor at its
    largest (a straight-through estimate). Half of a block's input, drawn anew in each iteration, is
    the ANN's instead of the spikes', so that few samples do not fit the noise of the rounding
    (QDrop, Wei et al., ICLR 2022; blocks: BRECQ, Li et al., ICLR 2021). Only unlabelled data are
    used. A block changes where its real spikes come nearer to the ANN on held-out samples.

    Options: layers, at least so many in a block; iterations, at most, and of batch samples each;
    rate, how far an iteration may move a param, of its mean size; exact, the share of the input
    that is the ANN's; held, the share of samples held out; weights=false where weights stay; work,
    multiplications in all (10^9).
    """

    layers: int = 2
    iterations: int = 200
    batch: int = 32
    rate: float = 0.01
    exact: float = 0.5
    held: float = 0.125
    weights: bool = True
    work: float = 2000.0
    stages = ("snn",)

    def check(self) -> None:
        within("layers", self.layers, 1)
        within("iterations", self.iterations, 1)
        within("batch", self.batch, 1)
        within("rate", self.rate, 0, 1)
        within("exact", self.exact, 0, 1)
        within("held", self.held, 0, 0.5)
        within("work", self.work, 0)

    def run(self, graph: Graph, context: Context, record: Record) -> Graph:
        walk = _Walk(graph, context, record)
        parts = partition(graph, walk.cones, walk.released, self.layers)
        blocks = [part for part in parts if isinstance(part, Block)]
        held, batch = int(walk.samples * self.held), min(self.batch, walk.samples)
        work = 3 * batch * sum(block.cost(graph) for block in blocks)
        iterations = min(self.iterations, int(self.work * 1e9 / max(1, work)))
        if not held or not iterations:
            record.note("blocks stay: too few samples, or too much work for each")
            return graph
        record.note(f"{iterations} iterations of {batch} samples for each block")
        rng = np.random.default_rng(context.seed)
        steps = Steps(str(self), graph, context, rng, (record,), (len(blocks), "block"))
        done = 0
        for part in parts:
            if isinstance(part, Node):
                walk.over(part)
                continue
            walk.learn(part)
            if part.tunable and not any(is_exact(context, layer) for layer in part.layers):
                name = part.layers[-1].name
                step = steps.taken(name, done + 1)
                if step is not None:
                    walk.set(step.arrays)
                else:
                    tuned = self._tune(part, walk, (iterations, batch, held), rng, record)
                    steps.add(name, tuned)
            walk.over_block(part)
            done += 1
            context.progress("tune blocks", done, len(blocks))
        return walk.builder.finish()

    def _tune(
        self,
        block: Block,
        walk: _Walk,
        sizes: tuple[int, int, int],
        rng: np.random.Generator,
        record: Record,
    ) -> Mapping[str, Array]:
        """Give a block's params other values, if held-out samples gain; returns their values."""
        iterations, batch, held = sizes
        judged = slice(0, held)
        before = walk.errors(block, judged)
        tuning = walk.tuning(block, self.weights)
        descent = Adam(tuning.scales, self.rate, iterations)
        for _ in range(iterations):
            chosen = np.sort(rng.integers(held, walk.samples, batch))
            given = {name: walk.mixed(name, chosen, self.exact, rng) for name in block.sources}
            wanted = {name: walk.exact[name][chosen] for name in block.results}
            tuning.move(descent.step(tuning.gradients(given, wanted)))
        walk.set(tuning.values)
        tuned = walk.errors(block, judged)
        taken = sum(tuned.values()) < sum(before.values())
        if not taken:
            walk.set(tuning.first)
        after = tuned if taken else before
        for name in block.results:
            record.layer(
                name,
                error_before=before[name],
                error_after=after[name],
                held_out_after=tuned[name],
                taken=taken,
            )
        return tuning.values if taken else {}


class _Walk:
    """The spikes of a network block by block, as its params are by then, beside the ANN's values.

    Attributes:
        trains: Spikes and inputs that are still read (steps or 1, samples, *shape).
        exact: What the ANN has in their place (samples, *shape).
    """

    def __init__(self, graph: Graph, context: Context, record: Record) -> None:
        self.graph, self.context = graph, context
        self.cones = {n.name: cone_of(graph, n.inputs) for n in graph.nodes if op_of(n).stateful}
        sources = ((name, [s.name for s in c.sources]) for name, c in self.cones.items())
        self.released = last_reads(sources)
        self.calib = kept_samples(graph, self.released, context, record)
        self.samples = len(next(iter(self.calib.values())))
        self.ann = context.last["ann"]
        self.values = reference(self.ann, graph, self.calib, context.counterparts)
        self.builder = GraphBuilder(graph)
        self.trains: dict[str, Array] = {}
        self.exact: dict[str, Array] = {}
        self.amplitudes: dict[str, str] = {}
        """For each layer and pool the param that says what a spike stands for."""

    def over(self, node: Node) -> None:
        """Pass an input or a pool."""
        op = node.operation
        if isinstance(op, Input):
            steps = self.context.steps
            self.trains[node.name] = over_time(node, self.calib, steps).astype(np.float32)
        else:
            (source,) = node.inputs
            self.trains[node.name] = op_of(node, Stateful).scan(
                [self.trains[source]], {}, self.context.steps
            )[0]
            self.amplitudes[node.name] = self.amplitudes[source]
            if source in self.exact and isinstance(op, Pooling):
                pool = MaxPool(op.kernel, op.strides, op.pads, op.dilations)
                self.exact[node.name] = pool.run([self.exact[source]], {})
        self._release(node.name)

    def learn(self, block: Block) -> None:
        """Read what the ANN has in place of a block's layers."""
        for layer in block.layers:
            value = next(self.values)[1]
            if layer.name in block.results:
                self.exact[layer.name] = value

    def over_block(self, block: Block) -> None:
        """Pass a block with the params that it has now."""
        values = self._run(block, slice(None))
        for layer in block.layers:
            if layer.name in block.results:
                self.trains[layer.name] = values[layer.name]
            if "theta" in layer.params:
                self.amplitudes[layer.name] = layer.params["theta"]
        for layer in block.layers:
            self._release(layer.name)

    def errors(self, block: Block, samples: slice) -> dict[str, float]:
        """Relative squared error of each of a block's results, from real spikes."""
        values, errors = self._run(block, samples), {}
        for name in block.results:
            node, target = self.graph[name], self.exact[name][samples]
            value = values[name]
            if "theta" in node.params:
                rates = mean_over_steps(value, op_of(node, Membrane).radix)
                value = rates * spread(self.builder.array(node, "theta"), node.type.shape)
            off, size = float(((value - target) ** 2).sum()), float((target**2).sum())
            errors[name] = off / max(size, 1e-30)
        return errors

    def mixed(self, name: str, chosen: Array, share: float, rng: np.random.Generator) -> Array:
        """Mean spikes of some samples, a share of them what the ANN has (batch, *shape)."""
        node = self.graph[name]
        radix = not isinstance(node.operation, Input) and op_of(node, Stateful).radix
        rates = mean_over_steps(self.trains[name][:, chosen], radix)
        if name not in self.exact or not share:
            return rates
        exact = self.exact[name][chosen] / spread(
            self._array(self.amplitudes[name]), node.type.shape
        )
        taken = rng.random(rates.shape, np.float32) < share
        return np.where(taken, exact, rates).astype(np.float32)

    def tuning(self, block: Block, weights: bool) -> Tuning:
        """A block's params, to be moved; weights, if they may, where no other node reads them."""
        names = {name for node in block.nodes for name in node.params.values()}
        arrays = {name: self._array(name) for name in names}
        users = Counter(name for node in self.graph.nodes for name in node.params.values())
        moving = {
            node.params["w"]
            for node in block.nodes
            if weights and isinstance(node.operation, Conv | Dense)
            if users[node.params["w"]] == 1
        }
        bounded = {layer.name for layer in block.layers if self._is_bounded(layer)}
        return Tuning(block, arrays, moving, bounded, self.context.steps)

    def _array(self, name: str) -> Array:
        array = self.builder.param(name).array
        assert array is not None
        return array

    def _is_bounded(self, layer: Node) -> bool:
        activation = self.ann[self.context.counterparts[layer.name]]
        return isinstance(activation.operation, Clip | Qcfs)

    def _run(self, block: Block, samples: slice) -> dict[str, Array]:
        """Spikes of a block's layers (steps, samples, *shape); of a readout its mean current."""
        values = {name: self.trains[name][:, samples] for name in block.sources}
        for layer in block.layers:
            op = op_of(layer, Membrane)
            below = self.cones[layer.name]
            cone = StoredCone.of(self.builder, layer.inputs[0], below, values, op.radix)
            params = self.builder.arrays(layer)
            if isinstance(op, Neuron):
                steps = self.context.steps
                spikes = (
                    (part, fast.scan(op, current, params, steps, keep=False)[0])
                    for part, current in cone.blocks()
                )
                values[layer.name] = joined(spikes, cone.samples)
            else:
                bias = params.get("bias", np.zeros((), np.float32))
                values[layer.name] = cone.mean() + spread(bias, layer.type.shape)
        return values

    def set(self, values: Mapping[str, Array]) -> None:
        """Give params other values."""
        for name, value in values.items():
            self.builder.set_param(name, Param.of(value, F32))

    def _release(self, name: str) -> None:
        for done in self.released.get(name, ()):
            self.trains.pop(done, None)
            self.exact.pop(done, None)
