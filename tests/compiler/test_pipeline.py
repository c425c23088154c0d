import time
from dataclasses import dataclass

import numpy as np
import pytest

from spikec.compiler.passes import PASSES
from spikec.compiler.pipeline import Context, Pass, Pipeline, Record, parse_pipeline
from spikec.ir import F32, InvalidGraph, Node, Param, ParseError, PassError, TensorType, parse
from spikec.ir.ops import OPS

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
        ("fold{a=1}", "pass 'fold' has no option 'a=1'\n  hint: options: none"),
        ("qcfs{depth=1}", "pass 'qcfs' has no option 'depth=1'\n  hint: options: per, v0"),
        ("qcfs{per}", "pass 'qcfs' has no option 'per'"),
        ("dni{samples=many}", "option 'samples' of pass 'dni' must be int"),
        ("qcfs{percentile=high}", "option 'percentile' of pass 'qcfs' must be float"),
    ],
)
def test_bad_pipelines(text, message):
    with pytest.raises(ParseError) as caught:
        parse_pipeline(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["observe{bins=0}", "dni{samples=0}", "snm{samples=-1}", "qcfs{percentile=-1}",
     "qcfs{percentile=101}", "qcfs{percentile=nan}", "qcfs{per=neuron}", "qcfs{v0=big}",
     "dni{search=all}", "snm{gate=off}", "quantise{bits=1}", "quantise{bits=9}"],
)  # fmt: skip
def test_option_values_out_of_range_are_refused(graph, text):
    before = "fold,relay" + ("" if text.startswith("observe") else ",observe")
    before += "" if text.startswith(("observe", "qcfs")) else ",qcfs"
    with pytest.raises((PassError, ParseError)) as caught:
        Pipeline(parse_pipeline(f"{before},{text}")).run(graph, Context(CALIB, steps=4))
    assert text.split("{")[0] in str(caught.value)


def test_records(graph):
    passes = parse_pipeline("fold,relay,observe,qcfs,bias,dni,quantise")
    context = Context(CALIB, steps=4)
    found, records = Pipeline(passes).run(graph, context)
    assert found.stage == "int"
    assert found.steps == 4
    assert [r.name for r in records] == [p.name for p in passes]
    assert records[0].notes == ["folded 1 affine nodes into synapses"]
    assert all(r.seconds >= 0 for r in records)
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
    assert sorted(p.name for p in folder.iterdir()) == [
        "01-fold.spk", "02-relay.spk", "03-observe.spk", "04-qcfs.spk", "06-bias+dni.spk",
        "07-quantise.spk",
    ]  # fmt: skip
    stages = [parse(p.read_text()).stage for p in sorted(folder.iterdir())]
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
    _, (record,) = Pipeline([Sleeps()]).run(graph, Context())
    assert record.seconds >= 0.02
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
