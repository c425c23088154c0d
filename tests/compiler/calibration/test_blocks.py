"""Blocks of layers: where they end, their gradients, and what tuning them brings."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from spikec.compiler.calibration.partition import Block, partition
from spikec.compiler.calibration.tuning import Adam, Tuning
from spikec.compiler.pipeline import Context, Pipeline, Record, parse_pipeline
from spikec.ir import F32, Graph, Param, op_of, parse, same_values
from spikec.ir.analysis import cone_of, last_reads
from spikec.ir.types import Array

_WINDOW = "pads=[0, 0, 0, 0], dilations=[1, 1]"
RESIDUAL = f"""
graph @net <stage=ann, steps=0> {{
  param @a.w : f32[4,2,3,3]
  param @b.w : f32[4,4,3,3]
  param @b.b : f32[4]
  param @c.w : f32[4,4,3,3]
  param @d.w : f32[3,36]
  %x : f32[2,6,6] = input() from "x"
  %a : f32[4,6,6] = conv(%x) <w=@a.w, strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1]>
  %ar : f32[4,6,6] = relu(%a)
  %b : f32[4,6,6] = conv(%ar) <w=@b.w, b=@b.b, strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1]>
  %br : f32[4,6,6] = relu(%b)
  %c : f32[4,6,6] = conv(%br) <w=@c.w, strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1]>
  %j : f32[4,6,6] = add(%c, %ar)
  %jr : f32[4,6,6] = relu(%j)
  %p : f32[4,3,3] = max_pool(%jr) <kernel=[2, 2], strides=[2, 2], {_WINDOW}>
  %f : f32[36] = reshape(%p) <shape=[36]>
  %d : f32[3] = dense(%f) <w=@d.w>
  return %d
}}"""


def residual() -> Graph:
    """A residual block, a max pooling and a classifier, with random weights."""
    rng = np.random.default_rng(0)
    graph = parse(RESIDUAL)
    return graph.with_params(
        {
            name: Param.of(rng.normal(0, 0.4, p.type.shape).astype(np.float32), F32)
            for name, p in graph.params.items()
        }
    )


def compiled(pipeline: str, *, steps: int, samples: int = 64) -> tuple[Graph, list[Record]]:
    data = np.random.default_rng(1).normal(0, 1, (samples, 2, 6, 6)).astype(np.float32)
    passes = parse_pipeline(f"fold,relay,observe,qcfs,{pipeline}")
    return Pipeline(passes).run(residual(), Context({"x": data}, steps=steps))


def blocks_of(graph: Graph, least: int) -> list[str]:
    cones = {n.name: cone_of(graph, n.inputs) for n in graph.nodes if op_of(n).stateful}
    released = last_reads((name, [s.name for s in c.sources]) for name, c in cones.items())
    parts = partition(graph, cones, released, least)
    return [
        f"{'+'.join(n.name for n in part.layers)} gives {'+'.join(part.results)}"
        if isinstance(part, Block)
        else part.name
        for part in parts
    ]


def test_blocks_end_behind_joins_and_at_pools() -> None:
    graph, _ = compiled("bias", steps=2)
    assert blocks_of(graph, 1) == ["x", "ar gives ar", "br+jr gives jr", "p", "d.out gives d.out"]
    assert blocks_of(graph, 2) == ["x", "ar+br+jr gives jr", "p", "d.out gives d.out"]


def block_and_params(graph: Graph) -> tuple[Block, dict[str, Array]]:
    cones = {n.name: cone_of(graph, n.inputs) for n in graph.nodes if op_of(n).stateful}
    released = last_reads((name, [s.name for s in c.sources]) for name, c in cones.items())
    block = next(p for p in partition(graph, cones, released, 2) if isinstance(p, Block))
    names = {name for node in block.nodes for name in node.params.values()}
    arrays = {name: graph.params[name].array for name in names}
    return block, {name: array for name, array in arrays.items() if array is not None}


def error(tuning: Tuning, given: Mapping[str, Array], wanted: Mapping[str, Array]) -> float:
    theta = tuning.values["jr.theta"].reshape(-1, 1, 1)
    off = tuning.run(given)["jr"] * theta - wanted["jr"]
    return float((off**2).sum() / (wanted["jr"] ** 2).sum())


@pytest.mark.parametrize("param", ["b.w", "c.w", "br.theta", "jr.theta", "br.bias", "jr.bias"])
def test_gradients_are_those_of_neurons_with_many_steps(param: str) -> None:
    """Rates of many steps are all but smooth: differences of errors show their slope."""
    graph, _ = compiled("layerwise,bias", steps=1024)
    block, params = block_and_params(graph)
    for name in ("br", "jr"):  # so that many neurons fire in all steps
        params |= {f"{name}.{role}": params[f"{name}.{role}"] / 3 for role in ("theta", "v0")}
    rng = np.random.default_rng(2)
    given = {"x": rng.normal(0, 1, (4, 2, 6, 6)).astype(np.float32)}
    exact = Tuning(block, params, {"b.w", "c.w"}, set(), 1024)
    wanted = {"jr": 1.3 * exact.run(given)["jr"] * params["jr.theta"].reshape(-1, 1, 1) + 0.1}
    gradient = exact.gradients(given, wanted)[param]
    size = max(0.2, np.abs(params[param]).max())
    direction = (size * rng.normal(0, 1, gradient.shape)).astype(np.float32)
    slopes = []
    for sign in (-1, 1):
        moved = Tuning(block, params, set(), set(), 1024)
        moved.move({param: np.float32(sign * 0.005) * direction})
        slopes.append(error(moved, given, wanted))
    assert (slopes[1] - slopes[0]) / 0.01 == pytest.approx((gradient * direction).sum(), rel=0.15)


def test_steps_go_down_whatever_the_size_of_gradients() -> None:
    descent = Adam({"a": 1.0, "b": 100.0}, 0.1, 400)
    values = {"a": np.float32([3.0, -2.0]), "b": np.float32([500.0])}
    for _ in range(400):
        slopes = {"a": 1e-6 * (values["a"] - 1), "b": 1e6 * values["b"]}
        for name, change in descent.step(slopes).items():
            values[name] = values[name] + change
    assert values["a"] == pytest.approx([1, 1], abs=0.02)
    assert values["b"] == pytest.approx([0], abs=2)


@pytest.mark.parametrize("schedule", ["", "layerwise,", "layerwise{code=radix},"])
def test_tuned_blocks_come_nearer_to_the_ann(schedule: str) -> None:
    graph, records = compiled(f"{schedule}bias,blocks{{iterations=100}}", steps=2, samples=256)
    figures = records[-1].layers
    assert set(figures) == {"jr", "d.out"}
    assert figures["jr"]["taken"]
    assert figures["jr"]["error_after"] < 0.95 * figures["jr"]["error_before"]
    assert graph.stage == "snn"


def test_a_block_that_gains_nothing_stays() -> None:
    before, _ = compiled("bias", steps=2)
    after, records = compiled("bias,blocks{rate=1,iterations=5}", steps=2)
    assert not any(figures["taken"] for figures in records[-1].layers.values())
    assert same_values(before, after)


def test_weights_stay_where_they_may_not_move() -> None:
    before, _ = compiled("bias", steps=2, samples=256)
    after, records = compiled("bias,blocks{weights=false iterations=40}", steps=2, samples=256)
    assert any(figures["taken"] for figures in records[-1].layers.values())
    for name in ("a.w", "b.w", "c.w", "d.w"):
        assert np.array_equal(before.params[name].array, after.params[name].array)


@pytest.mark.parametrize("options", ["samples", "blocks{work=0.0001}"])
def test_too_few_samples_or_too_much_work(options: str) -> None:
    few = options == "samples"
    text, samples = ("blocks", 6) if few else (options, 64)
    before, _ = compiled("bias", steps=2, samples=samples)
    after, records = compiled(f"bias,{text}", steps=2, samples=samples)
    assert records[-1].notes == ["blocks stay: too few samples, or too much work for each"]
    assert same_values(before, after)


def test_one_seed_one_result() -> None:
    first, _ = compiled("bias,blocks{iterations=20}", steps=2)
    second, _ = compiled("bias,blocks{iterations=20}", steps=2)
    assert same_values(first, second)
