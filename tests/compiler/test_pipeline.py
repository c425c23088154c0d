import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from spikec import driver
from spikec.compiler.passes import PASSES, ROOMS
from spikec.compiler.pipeline import Context, Pass, Pipeline, Record, parse_pipeline
from spikec.ir import (
    F32,
    InvalidGraph,
    Node,
    Param,
    ParseError,
    PassError,
    SpikecError,
    TensorType,
    parse,
    same_values,
)
from spikec.ir.ops import OPS
from spikec.ir.registry import Registry

COMPILER = Path(__file__).parents[2] / "compiler"
NET = """
graph @net <stage=ann, steps=0> {
  param @a.w : f32[2] = [2, 3]
  param @d.w : f32[2,2] = [[1, 1], [0.5, -1]]
  %x : f32[2] = input() from "x"
  %d : f32[2] = dense(%x) <w=@d.w> from "gemm"
  %a : f32[2] = affine(%d) <w=@a.w> from "scale"
  %r : f32[2] = relu(%a) from "relu"
  return %r
}
"""
CALIB = {"x": np.random.default_rng(0).random((16, 2), np.float32)}


@pytest.fixture
def graph():
    return parse(NET)


def test_options_are_read():
    fold, qcfs, dni = parse_pipeline(
        " fold , qcfs{per=layer v0=zero percentile=99.5},dni{samples=7}"
    )
    assert str(fold) == "fold"
    assert (qcfs.per, qcfs.v0, qcfs.percentile) == ("layer", "zero", 99.5)
    assert dni.options == {"search": "joint", "per": "channel", "samples": 7}
    assert parse_pipeline("qcfs{per=layer, v0=zero}") == parse_pipeline("qcfs{per=layer v0=zero}")


@pytest.mark.parametrize("name", sorted(PASSES))
def test_printed_passes_read_back(name):
    assert parse_pipeline(str(PASSES[name]())) == [PASSES[name]()]
    assert (PASSES[name].__doc__ or "").strip()
    assert PASSES[name].name == name


def test_changed_options_are_printed():
    text = "qcfs{per=layer percentile=99.5}"
    assert [str(p) for p in parse_pipeline(text)] == [text]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the pipeline names no pass"),
        (" , ,", "the pipeline names no pass"),
        ("fold,melt", "unknown pass 'melt'\n  hint: one of "),
        ("Fold", "unknown pass 'Fold'"),
        ("fold{", "options of pass 'fold' are not closed with '}'"),
        ("qcfs{per=layer", "options of pass 'qcfs' are not closed with '}'"),
        ("fold{a=1}", "pass 'fold' has no option 'a'\n  hint: options: none"),
        ("qcfs{depth=1}", "pass 'qcfs' has no option 'depth'\n  hint: options: levels, per, v0"),
        ("qcfs{per}", "pass 'qcfs': 'per' is not of the form option=value"),
        ("dni{samples=many}", "option 'samples' of pass 'dni' must be an integer, not 'many'"),
        (
            "qcfs{percentile=high}",
            "option 'percentile' of pass 'qcfs' must be a number, not ",
        ),
    ],
)
def test_bad_pipelines(text, message):
    with pytest.raises(ParseError) as caught:
        parse_pipeline(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["dni{samples=0}", "snm{samples=-1}", "qcfs{percentile=-1}", "qcfs{percentile=101}",
     "qcfs{percentile=nan}", "qcfs{per=neuron}", "qcfs{v0=big}", "dni{search=all}",
     "snm{gate=off}", "snm{gate=bogus}", "graded{levels=9}", "graded{fire=0.4}", "round{bits=1}",
     "reconstruct{held=1.5}"],
)  # fmt: skip
def test_options_are_checked_before_anything_runs(text):
    with pytest.raises((PassError, ParseError)) as caught:
        parse_pipeline(f"fold,relay,observe,{text}")
    name, _, option = text.partition("{")
    assert name in str(caught.value)
    assert option.partition("=")[0] in str(caught.value)


def test_options_are_checked_when_a_pass_is_made_in_python():
    with pytest.raises(ParseError, match="pass snm: option 'gate' must be one of auto, on"):
        PASSES["snm"](gate="x")
    with pytest.raises(PassError, match="pass dni: option samples must be at least 1, not 0"):
        PASSES["dni"](samples=0)


@pytest.mark.parametrize("text", ["observe{bins=0}", "quantise{bits=1}", "quantise{bits=9}"])
def test_options_that_depend_on_the_target_are_checked_as_it_runs(graph, text):
    before = "fold,relay" if text.startswith("observe") else "fold,relay,observe,qcfs"
    with pytest.raises(PassError, match=f"pass {text.partition('{')[0]}: "):
        Pipeline(parse_pipeline(f"{before},{text}")).run(graph, Context(CALIB, steps=4))


def test_records(graph):
    passes = parse_pipeline("fold,relay,observe,qcfs,bias,dni,quantise")
    context = Context(CALIB, steps=4)
    found, records = Pipeline(passes).run(graph, context)
    assert found.stage == "int"
    assert found.steps == 4
    assert [r.name for r in records] == [part.name for p in passes for part in p.parts]
    assert [r.name for r in records][4:6] == ["bias", "dni"]
    assert records[0].notes == ["folded 1 affine nodes into synapses"]
    assert set(context.last) == {"ann", "snn", "int"}
    assert context.last["int"] is found
    assert records[5].layers["r"]["error_after"] <= records[5].layers["r"]["error_before"] * 1.001


def test_the_input_graph_is_not_changed(graph):
    Pipeline(parse_pipeline("fold,relay,observe,qcfs,dni,snm,quantise")).run(graph, Context(CALIB))
    assert graph == parse(NET)
    assert graph.to_text(values=True) == parse(NET).to_text(values=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("quantise", "pass quantise works on stage snn, the graph is at stage ann"),
        ("dni", "pass dni works on stage snn, the graph is at stage ann"),
        ("observe,qcfs,fold", "pass fold works on stage ann, the graph is at stage snn"),
        ("qcfs", "relu: pass qcfs: %r has no statistics\n  hint: run observe before qcfs"),
    ],
)
def test_stages_that_do_not_fit(graph, text, message):
    with pytest.raises(PassError) as caught:
        Pipeline(parse_pipeline(text)).run(graph, Context(CALIB))
    assert str(caught.value) == message


def test_passes_that_need_data_say_so(graph):
    with pytest.raises(PassError) as caught:
        Pipeline(parse_pipeline("observe")).run(graph, Context())
    assert str(caught.value) == (
        "pass observe needs calibration data\n  hint: give --calib CALIB.npz"
    )


def test_dumps_hold_the_graph_after_each_pass(graph, tmp_path):
    folder = tmp_path / "a" / "ir"
    passes = parse_pipeline("fold,relay,observe,qcfs,bias,dni,quantise")
    found, _ = Pipeline(passes, dump=folder).run(graph, Context(CALIB, steps=4))
    names = [
        "01-fold.spk", "02-relay.spk", "03-observe.spk", "04-qcfs.spk", "06-bias+dni.spk",
        "07-quantise.spk",
    ]  # fmt: skip
    assert sorted(p.name for p in folder.iterdir()) == [*names, "dump.json"]
    stages = [parse((folder / name).read_text()).stage for name in names]
    assert stages == ["ann"] * 3 + ["snn"] * 2 + ["int"]
    assert parse((folder / "07-quantise.spk").read_text()) == found


@dataclass(frozen=True)
class Breaks(Pass):
    """Leaves a graph that does not verify."""

    def run(self, graph, context, record):
        odd = Node("odd", OPS["relu"](), ("r",), TensorType(F32, (3,)), loc="made up")
        return graph.with_nodes([*graph.nodes, odd])


@dataclass(frozen=True)
class Sleeps(Pass):
    """Takes its time."""

    def run(self, graph, context, record):
        time.sleep(0.02)
        record.note("slept")
        return graph


def test_a_pass_that_breaks_the_graph_is_named(graph):
    Breaks.name, Sleeps.name = "breaks", "sleeps"
    with pytest.raises(InvalidGraph) as caught:
        Pipeline([Breaks()]).run(graph, Context())
    assert str(caught.value) == ("made up: pass breaks: %odd = relu: declared [3], inferred [2]")
    found, _ = Pipeline([Breaks()], verify_each=False).run(graph, Context())
    assert found.nodes[-1].name == "odd"


def test_passes_are_timed(graph):
    Sleeps.name = "sleeps"
    context = Context()
    _, (record,) = Pipeline([Sleeps()]).run(graph, context)
    assert context.clock.seconds["sleeps"] >= 0.02
    assert set(context.clock.seconds) == {"sleeps", "verify"}
    assert record.notes == ["slept"]


def test_records_collect_figures():
    record = Record("p", {})
    record.layer("a", x=1)
    record.layer("a", y=2)
    assert record.layers == {"a": {"x": 1, "y": 2}}


def test_fold_keeps_the_function(graph):
    from spikec.runtime.interpreter import forward

    folded, _ = Pipeline(parse_pipeline("fold")).run(graph, Context())
    assert [node.op for node in folded] == ["input", "dense", "relu"]
    want, have = forward(graph, CALIB)["r"], forward(folded, CALIB)["r"]
    assert np.allclose(want, have, atol=1e-6)


def test_params_are_shared_not_copied(graph):
    same, _ = Pipeline(parse_pipeline("relay")).run(graph, Context())
    assert same.params["d.w"].array is graph.params["d.w"].array
    assert isinstance(same.params["d.w"], Param)


# --- sweeps ---------------------------------------------------------------------------------------


def test_neighbours_that_calibrate_become_one_sweep():
    passes = parse_pipeline("fold,bias,dni{samples=9},snm,quantise,bias")
    assert [str(p) for p in passes] == ["fold", "bias,dni{samples=9},snm", "quantise", "bias"]
    assert [part.name for part in passes[1].parts] == ["bias", "dni", "snm"]
    assert parse_pipeline(",".join(map(str, passes))) == passes
    assert parse_pipeline("bias") == [PASSES["bias"]()]


def test_the_method_that_fails_in_a_sweep_is_named(graph, monkeypatch):
    def fails(self, layer, record):
        raise PassError("no luck")

    monkeypatch.setattr(PASSES["dni"], "fit", fails)
    with pytest.raises(PassError, match=r"^pass dni: no luck"):
        Pipeline(parse_pipeline("observe,qcfs,bias,dni,snm")).run(graph, Context(CALIB))


def test_a_method_s_time_is_its_own(graph, monkeypatch):
    def sleeps(self, layer, record):
        time.sleep(0.05)
        return layer

    monkeypatch.setattr(PASSES["dni"], "fit", sleeps)
    context = Context(CALIB, judge=lambda graph: time.sleep(0.2) or {"samples": 1})
    _, records = Pipeline(parse_pipeline("observe,qcfs,bias,dni")).run(graph, context)
    seconds = context.clock.seconds
    assert set(seconds) == {"observe", "qcfs", "sweep", "bias", "dni", "verify", "judge"}
    assert 0.1 <= seconds["dni"] < 0.3  # a layer of neurons and a readout
    assert seconds["bias"] < 0.1
    assert seconds["judge"] >= 0.6  # after qcfs, bias and dni
    assert [record.judged for record in records[1:]] == [{"samples": 1}] * 3


def test_what_is_judged_after_a_method_is_the_sweep_up_to_it(graph):
    seen = []

    def judge(snn):
        seen.append(snn)
        return {"count": len(seen)}

    _, records = Pipeline(parse_pipeline("observe,qcfs,bias,dni")).run(
        graph, Context(CALIB, judge=judge)
    )
    alone, _ = Pipeline(parse_pipeline("observe,qcfs,bias")).run(graph, Context(CALIB))
    assert [record.judged.get("count") for record in records] == [None, 1, 2, 3]
    assert same_values(seen[1], alone)
    assert not same_values(seen[2], alone)


# --- the registry ---------------------------------------------------------------------------------


def test_a_pass_is_loaded_when_it_is_asked_for():
    code = (
        "import sys; from spikec.compiler.passes import PASSES, ROOMS; PASSES['fold']; "
        "print(*[m for m in sys.modules if m.count('.') > 1 and m.split('.')[2] in ROOMS])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["spikec.compiler.rewrites", "spikec.compiler.rewrites.fold"]


def test_helpers_are_no_passes():
    assert {"cone", "sweep", "layer", "search", "gate", "scales", "cancel"}.isdisjoint(PASSES)
    with pytest.raises(ParseError, match="unknown pass 'cone'"):
        parse_pipeline("cone")


def plugins(monkeypatch, tmp_path, **sources):
    """A registry of passes as if a package with these modules were installed."""
    for name, source in sources.items():
        (tmp_path / f"plugin_{name}.py").write_text(source)
        monkeypatch.delitem(sys.modules, f"plugin_{name}", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    entries = [EntryPoint(name, f"plugin_{name}", "spikec.passes") for name in sources]
    monkeypatch.setattr("spikec.ir.registry.entry_points", lambda group: entries)
    rooms = {f"spikec.compiler.{room}": [str(COMPILER / room)] for room in ROOMS}
    found = Registry("spikec.passes", rooms, Pass, "pass", with_helpers=True)
    monkeypatch.setattr("spikec.compiler.pipeline.PASSES", found)
    return found


PLUGIN = """
from dataclasses import dataclass
from spikec.compiler.pipeline import Pass

@dataclass(frozen=True)
class Renames(Pass):
    "Gives the graph another name."
    to: str = "other"

    def run(self, graph, context, record):
        import dataclasses
        return dataclasses.replace(graph, name=self.to)
"""


def test_an_installed_plugin_adds_a_pass(graph, monkeypatch, tmp_path):
    found = plugins(monkeypatch, tmp_path, renames=PLUGIN)
    assert "renames" in found
    passes = parse_pipeline("fold,renames{to=mine}")
    assert [str(p) for p in passes] == ["fold", "renames{to=mine}"]
    assert Pipeline(passes).run(graph, Context())[0].name == "mine"


def test_a_broken_plugin_ends_no_other_command(graph, monkeypatch, tmp_path):
    found = plugins(monkeypatch, tmp_path, broken="import nothing_like_this", empty="x = 1")
    assert {"broken", "empty", "fold"} <= set(found)
    assert parse_pipeline("fold") == [PASSES["fold"]()]
    with pytest.raises(SpikecError, match="plugin_broken: pass 'broken' cannot be loaded: Module"):
        parse_pipeline("fold,broken")
    with pytest.raises(SpikecError, match="must define exactly one Pass, not 0"):
        parse_pipeline("empty")


def test_the_list_of_passes_shows_what_cannot_be_loaded(monkeypatch, tmp_path):
    found = plugins(monkeypatch, tmp_path, broken="import nothing_like_this")
    monkeypatch.setattr("spikec.driver.contents.PASSES", found)
    rows = {name: (options, doc) for name, options, doc in driver.list_passes()}
    assert "pass 'broken' cannot be loaded" in rows["broken"][1]
    assert rows["snm"][0].startswith("gate=auto|on, search=joint|v0|none")
