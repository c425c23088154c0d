"""`eval` over time steps, as a picture, and spread over processes."""

import os
import signal

import distributed
import numpy as np
import pytest

import spikec
from spikec import driver
from spikec.cli import main
from spikec.driver import blocks, measuring
from spikec.driver.measuring import Cluster
from spikec.ir import UsageError
from spikec.report import plots
from spikec.runtime.data import make_dataset


@pytest.fixture(scope="module")
def art(tiny_onnx, tiny_data):
    return spikec.compile(tiny_onnx(), calib=tiny_data, timesteps=4, samples=32)


def figures(found):
    kept = ("timesteps", "accuracy", "spikes", "effective_acs", "effective_macs", "dense")
    return [{key: getattr(r, key) for key in kept} for r in found.results]


@pytest.fixture(scope="module")
def data(art, tiny_data):
    x = np.concatenate([tiny_data] * 6)
    return make_dataset(x, art.graph, labels=np.arange(len(x)) % 3)


def test_processes_give_what_one_process_gives(art, data):
    alone = driver.evaluate(art, data, timesteps=[1, 2, 4])
    spread = driver.evaluate(art, data, timesteps=[1, 2, 4], cluster=Cluster(workers=2))
    assert figures(spread) == figures(alone)
    assert spread.layers == alone.layers


@pytest.mark.parametrize(("engine", "blocks"), [("fast", [48]), ("reference", [32, 16])])
def test_a_slow_engine_gets_small_blocks_on_a_cluster_too(art, data, engine, blocks):
    seen = []
    driver.evaluate(
        art,
        data.head(48),
        engine_name=engine,
        cluster=Cluster(workers=1),
        progress=lambda what, done, total: seen.append(done),
    )
    assert np.diff([0, *seen]).tolist() == blocks


@pytest.fixture
def scheduler():
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50
        ) as local,
        distributed.Client(local) as client,
    ):
        yield local, client


def test_the_share_of_a_lost_worker_is_measured_again(art, data, scheduler, monkeypatch):
    local, client = scheduler
    monkeypatch.setattr(blocks, "LARGE_BLOCK", 8)
    victims = list(client.run(os.getpid).values())[:1]

    def kill(what, done, total):
        while victims:
            os.kill(victims.pop(), signal.SIGKILL)

    cluster = Cluster(local.scheduler_address)
    found = driver.evaluate(art, data, timesteps=[2], cluster=cluster, progress=kill)
    assert not victims
    assert figures(found) == figures(driver.evaluate(art, data, timesteps=[2]))


def test_a_cluster_without_workers_is_one_clear_error(art, data, scheduler, monkeypatch):
    local, _ = scheduler
    monkeypatch.setattr(measuring, "PATIENCE", 0.2)
    monkeypatch.setattr(blocks, "LARGE_BLOCK", 8)
    cluster = Cluster(local.scheduler_address)

    def leave(what, done, total):
        local.scale(0)

    with pytest.raises(UsageError, match="all workers of the cluster are gone"):
        driver.evaluate(art, data, cluster=cluster, progress=leave)


def test_a_scheduler_that_goes_away_is_one_clear_error(art, data, scheduler, monkeypatch):
    local, _ = scheduler
    monkeypatch.setattr(measuring, "PATIENCE", 0.2)
    monkeypatch.setattr(blocks, "LARGE_BLOCK", 8)
    cluster = Cluster(local.scheduler_address)

    def close(what, done, total):
        local.close()

    with pytest.raises(UsageError, match="the scheduler of the cluster is gone"):
        driver.evaluate(art, data, cluster=cluster, progress=close)


def test_a_worker_of_another_version_is_refused(art, data, scheduler, monkeypatch):
    local, client = scheduler
    versions = client.get_versions(packages=["spikec"])
    versions["client"]["packages"]["spikec"] = "9.9"
    monkeypatch.setattr(type(client), "get_versions", lambda *_, **__: versions)
    with pytest.raises(UsageError, match=r"worker tcp://.* has spikec .*, here is 9\.9"):
        driver.evaluate(art, data, cluster=Cluster(local.scheduler_address))


def test_what_a_worker_raises_is_one_clear_error(art, data, scheduler, monkeypatch):
    local, _ = scheduler
    monkeypatch.setattr(measuring, "measure", len)  # given too much
    with pytest.raises(UsageError, match=r"a worker of the cluster failed: TypeError: len\(\)"):
        driver.evaluate(art, data, cluster=Cluster(local.scheduler_address))


def test_no_scheduler_is_one_clear_error(art, data):
    with pytest.raises(UsageError, match=r"no scheduler answers at tcp://127\.0\.0\.1:9"):
        driver.evaluate(art, data, cluster=Cluster("tcp://127.0.0.1:9"))


@pytest.mark.parametrize("cluster", [None, Cluster(workers=1)], ids=["here", "process"])
def test_steps_that_overflow_have_an_error_and_the_others_figures(
    data, tiny_onnx, tiny_data, cluster
):
    graph = spikec.compile(tiny_onnx(), calib=tiny_data, timesteps=2, samples=32)
    found = driver.evaluate(graph, data.head(2), timesteps=[1, 2, 1 << 12], cluster=cluster)
    good, last = found.results[:2], found.results[2]
    assert [r.timesteps for r in good] == [1, 2]
    assert all(r.error is None and r.accuracy is not None for r in good)
    assert last.accuracy is None
    assert "holds" in last.error


def test_layerwise_networks_run_for_each_t(tiny_onnx, tiny_data, data):
    art = spikec.compile(
        tiny_onnx(), calib=tiny_data, timesteps=4, samples=32, schedule="layerwise"
    )
    together = driver.evaluate(art, data, timesteps=[2, 4])
    alone = [driver.evaluate(art, data, timesteps=[t]) for t in (2, 4)]
    assert figures(together) == [figures(found)[0] for found in alone]


def test_accuracy_over_steps_is_drawn(art, data, tmp_path, capsys):
    art.save(tmp_path / "out")
    np.savez(tmp_path / "x.npz", x=data.feeds[art.graph.inputs[0].name], y=data.labels)
    for name in ("steps.svg", "steps.png"):
        with pytest.raises(SystemExit) as ended:
            main(["eval", str(tmp_path / "out"), "--data", str(tmp_path / "x.npz"),
                  "--timesteps", "1,2,4", "--plot", str(tmp_path / name)])  # fmt: skip
        assert ended.value.code == 0
    text = (tmp_path / "steps.svg").read_text()
    assert text.startswith("<svg")
    assert "currentColor" in text
    assert "synaptic operations per sample" in text
    assert (tmp_path / "steps.png").read_bytes().startswith(b"\x89PNG")
    assert "Over time steps" in capsys.readouterr().out


def test_a_picture_of_another_kind_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"ends in \.svg, \.png, \.pdf, not '\.gif'"):
        plots.check(tmp_path / "x.gif")


def test_a_cluster_and_workers_exclude_each_other(art, tmp_path, tiny_data, capsys):
    art.save(tmp_path / "out")
    np.save(tmp_path / "x.npy", tiny_data)
    with pytest.raises(SystemExit) as ended:
        main(["eval", str(tmp_path / "out"), "--data", str(tmp_path / "x.npy"), "--workers", "2",
              "--cluster", "tcp://a:1"])  # fmt: skip
    assert ended.value.code == 2
    assert "give --cluster or --workers, not both" in capsys.readouterr().err


def test_what_was_measured_is_kept_in_the_report(art, data, tmp_path, capsys):
    out, file = tmp_path / "out", tmp_path / "x.npz"
    art.save(out)
    np.savez(file, x=data.feeds[art.graph.inputs[0].name], y=data.labels)

    def call(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments), "--data", str(file), "-q"])
        assert ended.value.code == 0

    call("eval", out, "--limit", "16")
    call("eval", out, "--limit", "16", "--timesteps", "1,2")
    call("eval", out, "--limit", "20")
    call("check", out, "--limit", "2")
    report = spikec.load(out).report
    of = [(found.of["samples"], len(found.results)) for found in report.evaluations]
    assert of == [(16, 2), (20, 1)]
    assert report.checks[0].of["engines"] == ["reference", "fast"]
    assert report.checks[0].equal
