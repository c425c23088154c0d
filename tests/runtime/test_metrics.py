"""Figures against counting one connection at a time."""

import numpy as np
import pytest

import spikec
from spikec.ir import op_of, parse
from spikec.runtime.coding import encode
from spikec.runtime.interpreter import simulate
from spikec.runtime.metrics import Activity, activity, fan_outs, spike_counts, synaptic_operations


@pytest.fixture
def graph(graph_text):
    return parse(graph_text)


@pytest.fixture
def x():
    values = np.random.default_rng(0).integers(0, 20, (3, 1, 3, 3))
    values[np.random.default_rng(1).random(values.shape) < 0.4] = 0
    return values


def connections(graph, node):
    """(inputs, outputs) of a synapse: 1 where a non-zero weight connects them."""
    source = graph[node.inputs[0]].type
    w = (graph.array(node, "w") != 0).astype(int)
    rows = []
    for i in range(source.size):
        one = np.zeros(source.size, int)
        one[i] = 1
        y = op_of(node).run([one.reshape(1, *source.shape)], {"w": w})
        rows.append(y.reshape(-1))
    return np.array(rows)


def counted(graph, x, steps):
    """Effective operations by running step by step and looking at every connection."""
    values = {"x": np.repeat(x[None], steps, axis=0)}
    spikes = simulate(graph, {"x": x}, steps, ["n"]).traces["n"].spikes
    values["f"] = spikes
    totals = {}
    for name in ("c", "d"):
        node = graph[name]
        table = connections(graph, node)
        total = 0
        for t in range(steps):
            for sample in range(len(x)):
                active = values[node.inputs[0]][t, sample].reshape(-1) != 0
                for i in np.flatnonzero(active):
                    total += int(table[i].sum())
        totals[name] = total / len(x)
    return totals


@pytest.mark.parametrize("steps", [1, 3, 6])
def test_synaptic_operations(graph, x, steps):
    run = simulate(graph, {"x": x}, 6)
    found = synaptic_operations(graph, activity(graph, run.events, fan_outs(graph)), steps, len(x))
    expected = counted(graph, x, steps)
    # the first synapse meets graded inputs, the second spikes
    assert found["c"]["effective_macs"] == pytest.approx(expected["c"])
    assert found["c"]["effective_acs"] == 0
    assert found["d"]["effective_acs"] == pytest.approx(expected["d"])
    assert found["d"]["effective_macs"] == 0
    assert found["c"]["dense"] == 2 * 4 * 4 * steps
    assert found["d"]["dense"] == 2 * 8 * steps


def test_a_silent_network_does_nothing(graph):
    run = simulate(graph, {"x": np.zeros((2, 1, 3, 3), int)}, 2)
    found = synaptic_operations(graph, activity(graph, run.events, fan_outs(graph)), 2, 2)
    assert sum(v["effective_acs"] + v["effective_macs"] for v in found.values()) == 0


def test_spike_counts(graph, x):
    run = simulate(graph, {"x": x}, 6, ["n"])
    spikes = run.traces["n"].spikes[:4]
    found = spike_counts(graph, activity(graph, run.events, {}), 4, len(x))
    assert set(found) == {"n"}
    assert found["n"]["neurons"] == 8
    assert found["n"]["spikes"] == pytest.approx((spikes != 0).sum() / 3)
    assert found["n"]["rate"] == pytest.approx((spikes != 0).mean())


def test_negative_spikes_count_as_events(tiny_onnx, tiny_data):
    graph = spikec.compile(tiny_onnx(), tiny_data, timesteps=4, snm="on").graph
    feeds = encode(graph, {"x": tiny_data}).feeds
    names = [node.name for node in graph if op_of(node).neuron]
    run = simulate(graph, feeds, None, names)
    assert any((t.spikes < 0).any() for t in run.traces.values())
    for name in names:
        assert (run.events[name] == (run.traces[name].spikes != 0).sum(axis=1)).all()


def test_blocks_of_samples_add_up(graph, x):
    total, fans = Activity(), fan_outs(graph)
    for part in (x[:1], x[1:]):
        total.add(activity(graph, simulate(graph, {"x": part}).events, fans))
    whole = activity(graph, simulate(graph, {"x": x}).events, fans)
    for role in ("spikes", "operations", "accumulates"):
        sums, wanted = getattr(total, role), getattr(whole, role)
        assert {k: v.tolist() for k, v in sums.items()} == {
            k: v.tolist() for k, v in wanted.items()
        }
