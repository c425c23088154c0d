"""A neuron with a new param, stated in one file, goes all the way or is refused by name."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

import spikec
from spikec import driver
from spikec.backends.lava import Lava
from spikec.backends.nir import LOSSES, Nir
from spikec.backends.onnx import Onnx
from spikec.compiler.passes import PASSES
from spikec.compiler.pipeline import Pass
from spikec.ir import F32, BackendError, Param
from spikec.ir.neuron import Neuron, Sign, hull, soft_reach
from spikec.ir.op import ParamSpec
from spikec.ir.ops import OPS
from spikec.ir.ops.neurons.integrate import Integrate
from spikec.report.page import build
from spikec.runtime.coding import encode
from spikec.runtime.data import make_dataset
from spikec.runtime.interpreter import charged, simulate


@dataclass(frozen=True, slots=True)
class LeakyFire(Neuron):
    """`v += I + bias - floor(v / 2^leak); s = 1 if v >= theta else 0; v -= theta s`."""

    name = "leaky_fire"
    title = "leaky integrate-and-fire"
    params = {**Neuron.params, "leak": ParamSpec("v loses v / 2^leak in each step", "number")}

    @property
    def sign(self):
        return Sign.UNSIGNED

    def charge(self, v, current, params):
        lost = v / 2 ** params["leak"] if v.dtype.kind == "f" else v >> params["leak"]
        return v - lost + current + params["bias"]

    def fire(self, state, params):
        return (state.v >= params["theta"]).astype(state.v.dtype)

    def after_reset(self, low, high, params):
        theta = params["theta"]
        return hull(
            (high >= theta, np.maximum(low, theta) - theta, high - theta),
            (low < theta, low, np.minimum(high, theta - 1)),
        )

    def reach(self, mean, params, steps):
        """Twice what holds without the leak, since it weighs later currents more."""
        return 2 * soft_reach(mean, params, steps)


class Leak(Pass):
    """Every plain neuron leaks."""

    name = "leak"
    stages = ("snn",)

    def run(self, graph, context, record):
        nodes = [
            replace(node, operation=LeakyFire(), params={**node.params, "leak": "leak"})
            if isinstance(node.operation, Integrate)
            else node
            for node in graph.nodes
        ]
        return graph.with_nodes(nodes, {"leak": Param.of(np.array(3.0), F32)})


PIPELINE = (
    "channels_first,fold,relay,observe,qcfs,leak,reconstruct,bias,dni{samples=512},snm,"
    "quantise,range,place"
)


@pytest.fixture(scope="module")
def compiled(tiny_onnx, tiny_data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(OPS, "leaky_fire", LeakyFire)
        patch.setitem(PASSES, "leak", Leak)
        yield spikec.compile(tiny_onnx(), tiny_data, timesteps=4, samples=24,
                             pass_pipeline=PIPELINE)  # fmt: skip


def entry_of(art, name):
    return next(entry for entry in art.report.layers if entry.name == name)


def leaky(art):
    return [node for node in art.graph if isinstance(node.operation, LeakyFire)]


def test_it_is_calibrated_and_quantised_with_its_param(compiled):
    layers = leaky(compiled)
    assert layers
    for node in layers:
        assert compiled.graph.array(node, "leak") == 3
        assert compiled.graph.params[node.params["leak"]].type.dtype.is_integer
        entry = entry_of(compiled, node.name)
        assert entry.error_after["dni"] < entry.error_before
        assert "snm" in entry.error_after


def test_its_ranges_are_proven_and_hold(compiled, tiny_data):
    assert all(entry.range.proven for entry in compiled.report.layers)
    names = [node.name for node in leaky(compiled)]
    feeds = encode(compiled.graph, {compiled.graph.inputs[0].name: tiny_data}).feeds
    run = simulate(compiled.graph, feeds, None, names)
    for name in names:
        entry = entry_of(compiled, name)
        low, high = entry.range.potential
        trace = run.traces[name]
        before = charged(compiled.graph, compiled.graph[name], trace.potentials, trace.spikes)
        assert low <= before.min()
        assert before.max() <= high


def test_text_and_artifact_keep_it(compiled, tmp_path, tiny_data):
    compiled.save(tmp_path / "out")
    again = spikec.load(tmp_path / "out")
    assert again.graph == compiled.graph
    assert "leaky_fire(" in again.graph.to_text()
    assert (again.run(tiny_data) == compiled.run(tiny_data)).all()


def test_engines_that_hold_it_agree(compiled, tiny_data):
    assert compiled.check(tiny_data[:8], engines=["reference", "fast"])["equal"]
    data = make_dataset(tiny_data[:8], compiled.graph)
    result = driver.evaluate(compiled, data).results[0]
    assert result.spikes > 0
    assert result.payload_bits == 0


@pytest.mark.parametrize(
    "target", [Onnx(), Lava(), Nir(allow_lossy=tuple(LOSSES))], ids=lambda target: target.name
)
def test_targets_that_do_not_refuse_it_by_name(compiled, target, tmp_path):
    with pytest.raises(BackendError, match="leaky_fire"):
        target.emit(compiled.graph, tmp_path)


def test_the_report_shows_it(compiled):
    page = build(compiled.report)
    assert "leaky_fire" in page
    assert "leaky integrate-and-fire" in page


def test_an_unproven_one_is_reported_too(compiled):
    layers = [
        replace(entry, range=replace(entry.range, bits=None, margin_bits=None, proven=False))
        for entry in compiled.report.layers
    ]
    assert "leaky_fire" in build(replace(compiled.report, layers=layers))


def test_a_fault_is_explained_with_its_own_rule(compiled, tiny_data, register_engine):
    layer = leaky(compiled)[0]

    def forgets_the_leak(graph, feeds, steps=None, trace=()):
        role = layer.params["leak"]
        changed = {role: Param.of(np.array(20), graph.params[role].type.dtype)}
        return simulate(graph.with_params(changed), feeds, steps, trace)

    register_engine("forgetful", forgets_the_leak)
    found = compiled.check(tiny_data[:8], engines=["reference", "forgetful"])
    first = found["first_difference"]
    told = first["explanation"]
    before, theta = told["potential_before"], told["theta"]
    assert told["leak"] == 3
    assert told["potential_charged"] == (
        before - (before >> 3) + told["current"] + told.get("bias", 0)
    )
    assert told["expected_spike"] == (told["potential_charged"] >= theta)
    left = told["potential_charged"] - theta * told["expected_spike"]
    assert told["expected_potential"] == left == first["values"]["reference"]["potential"]
