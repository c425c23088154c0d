"""Differences put in by hand are found, counted and located."""

import numpy as np
import pytest

import spikec
from spikec.ir import op_of
from spikec.runtime import check, golden
from spikec.runtime.check import Comparison, trace_bytes, traced_block, traced_layers
from spikec.runtime.coding import encode
from spikec.runtime.interpreter import LayerTrace, Simulation, simulate


@pytest.fixture(scope="module")
def graph(tiny_artifact):
    return tiny_artifact.graph


@pytest.fixture(scope="module")
def run(graph, tiny_data):
    feeds = encode(graph, {"x": tiny_data[:5]}).feeds
    return simulate(graph, feeds, None, traced_layers(graph))


def altered(run: Simulation, layer: str, kind: str, *where: tuple) -> Simulation:
    traces = dict(run.traces)
    spikes, potentials = traces[layer].spikes, traces[layer].potentials.copy()
    spikes = None if spikes is None else spikes.copy()
    for place in where:
        target = spikes if kind == "spikes" else potentials
        target[place] += 1
    traces[layer] = LayerTrace(spikes, potentials)
    return Simulation(run.readout, run.events, traces)


def compared(graph, left, right, sample=0) -> Comparison:
    comparison = Comparison()
    comparison.add(graph, {"reference": left, "odd": right}, sample)
    return comparison


def test_equal_runs(graph, run):
    found = compared(graph, run, run)
    assert found.equal
    assert list(found.layers) == traced_layers(graph)
    for name, layer in found.layers.items():
        size = 4 * 5 * graph[name].type.size
        assert layer.potentials_compared == size
        assert layer.spikes_compared == (0 if graph[name].op == "accumulate" else size)
        assert (layer.spikes_differing, layer.potentials_differing) == (0, 0)


def test_traced_layers_are_all_that_have_a_state(graph):
    assert traced_layers(graph) == [node.name for node in graph if op_of(node).stateful]
    ops = {graph[name].op for name in traced_layers(graph)}
    assert {"max_pool_count", "accumulate"} < ops


@pytest.mark.parametrize("kind", ["spikes", "potentials"])
def test_one_difference_is_located(graph, run, kind):
    layer = next(n for n in traced_layers(graph) if graph[n].op.startswith("integrate"))
    where = (2, 3, 1, 4, 5)
    found = compared(graph, run, altered(run, layer, kind, where), sample=32)
    counts = found.layers[layer]
    assert (counts.spikes_differing, counts.potentials_differing) == (
        (1, 0) if kind == "spikes" else (0, 1)
    )
    first = found.first_difference
    assert not found.equal
    assert first["layer"] == layer
    assert first["neuron"] == [1, 4, 5]
    assert first["step"] == 3
    assert first["sample"] == 35
    assert first["onnx_node"] == graph[layer].loc
    values = first["values"]
    key = kind[:-1]
    assert values["odd"][key] == values["reference"][key] + 1
    assert values["reference"]["potential"] == int(run.traces[layer].potentials[where])


def test_the_first_layer_and_step_come_first(graph, run):
    layers = traced_layers(graph)
    odd = altered(run, layers[1], "potentials", (0, 0, 0, 0, 0))
    odd = altered(odd, layers[0], "potentials", (3, 0, 0, 0, 0), (1, 4, 2, 0, 0), (1, 4, 3, 0, 0))
    found = compared(graph, run, odd)
    assert (found.first_difference["layer"], found.first_difference["step"]) == (layers[0], 2)
    assert found.first_difference["neuron"] == [2, 0, 0]
    assert found.layers[layers[0]].potentials_differing == 3
    assert found.layers[layers[1]].potentials_differing == 1


def test_a_readout_is_compared_by_its_potential(graph, run):
    name = graph.outputs[0]
    found = compared(graph, run, altered(run, name, "potentials", (3, 0, 2)))
    assert found.first_difference["values"]["odd"]["spike"] is None
    assert found.first_difference["neuron"] == [2]


def test_three_engines_are_compared_with_the_first(graph, run):
    layer = traced_layers(graph)[0]
    odd = altered(run, layer, "spikes", (0, 0, 0, 0, 0))
    comparison = Comparison()
    comparison.add(graph, {"a": run, "b": run, "c": odd}, 0)
    assert list(comparison.first_difference["values"]) == ["a", "c"]
    assert comparison.layers[layer].spikes_compared == 2 * run.traces[layer].spikes.size


def test_blocks_add_up(graph, run):
    comparison = Comparison()
    comparison.add(graph, {"a": run, "b": run}, 0)
    comparison.add(graph, {"a": run, "b": run}, 5)
    layer = traced_layers(graph)[0]
    assert comparison.layers[layer].potentials_compared == 2 * run.traces[layer].potentials.size


def test_artifacts_check_themselves(tiny_artifact, tiny_data):
    found = tiny_artifact.check(tiny_data[:3], engines=["reference", "fast"])
    assert found["equal"]
    assert found["first_difference"] is None
    assert found["engines"] == ["reference", "fast"]
    assert (found["samples"], found["timesteps"]) == (3, 4)
    assert set(found["layers"][0]) == {
        "name", "spikes_compared", "spikes_differing", "potentials_compared",
        "potentials_differing",
    }  # fmt: skip


def test_a_wrong_engine_is_caught(tiny_artifact, tiny_data, register_engine):
    """An engine that fires at v > theta instead of v >= theta is told from the reference."""
    from spikec.ir import Param

    def strict(graph, feeds, steps=None, trace=()):
        more = {
            name: Param.of(p.array + 1, p.type.dtype)
            for name, p in graph.params.items()
            if name.endswith(".theta")
        }
        return simulate(graph.with_params(more), feeds, steps, trace)

    register_engine("strict", strict)
    found = tiny_artifact.check(tiny_data[:8], engines=["reference", "strict"])
    assert not found["equal"]
    assert found["first_difference"]["layer"] == found["layers"][0]["name"]


@pytest.mark.parametrize("engines", [[], ["fast"], ["fast", "fast"]])
def test_nothing_to_compare_is_no_success(tiny_artifact, tiny_data, engines):
    with pytest.raises(spikec.UsageError, match="at least two engines"):
        tiny_artifact.check(tiny_data[:1], engines=engines)


def test_unknown_engines(tiny_artifact, tiny_data):
    with pytest.raises(spikec.BackendError, match="unknown engine 'brian'"):
        tiny_artifact.check(tiny_data[:1], engines=["fast", "brian"])


def test_potentials_are_integers(run):
    assert all(np.issubdtype(t.potentials.dtype, np.integer) for t in run.traces.values())


def test_traces_of_large_networks_are_held_for_few_samples(tiny_artifact, tiny_data, monkeypatch):
    graph, x = tiny_artifact.graph, tiny_data[:7]
    feeds = encode(graph, {"x": x}).feeds
    assert traced_block(graph) == 32
    found, traces = tiny_artifact.check(x), golden.record(graph, feeds, simulate)
    monkeypatch.setattr(check, "TRACES", 4 * trace_bytes(graph))
    assert (traced_block(graph), traced_block(graph, graph)) == (4, 2)
    done = []
    again = tiny_artifact.check(x, progress=lambda what, at, total: done.append(at))
    assert again == found
    assert done == [2, 4, 6, 8, 10, 12, 13, 14]
    assert golden.record(graph, feeds, simulate) == traces
    monkeypatch.setattr(check, "TRACES", 0)
    assert traced_block(graph) == 1
