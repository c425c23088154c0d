"""Commands in a process of their own."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

SPIKEC = [sys.executable, "-m", "spikec"]


def test_a_process_prints_results_to_a_pipe(files):
    done = subprocess.run([*SPIKEC, "inspect", files.model, "--json"], capture_output=True,
                          text=True, check=True)  # fmt: skip
    assert json.loads(done.stdout)["supported"] is True


def test_a_process_fails_with_code_2_and_debug_shows_why(tmp_path):
    command = [*SPIKEC, "inspect", tmp_path / "none.onnx"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"error: {tmp_path / 'none.onnx'}: no such file\n"
    done = subprocess.run([*command, "--debug"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Traceback" in done.stderr
    assert "InvalidModel" in done.stderr


def test_a_closed_pipe_is_no_error(tmp_path, graph_text):
    (tmp_path / "g.spk").write_text(graph_text)
    script = f"{sys.executable} -m spikec opt {tmp_path / 'g.spk'} | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
    assert done.stderr == ""


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize(
    ("number", "existing"),
    [(signal.SIGINT, False), (signal.SIGTERM, True)],
    ids=["new", "existing"],
)
def test_an_interrupted_compile_leaves_nothing_half_written(
    examples, images, files, cli, tmp_path, number, existing
):
    out = tmp_path / "out"
    if existing:
        import shutil

        shutil.copytree(files.out, out)
    np.savez(tmp_path / "calib.npz", x=images["x_calib"])
    process = subprocess.Popen(
        [*SPIKEC, "compile", examples / "fashion_resnet8.onnx", "-o", out, "--calib",
         tmp_path / "calib.npz", "--dump-ir", tmp_path / "ir", "--quiet"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=tmp_path,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list((tmp_path / "ir").glob("02-*")) and time.monotonic() < deadline:
        time.sleep(0.02)
        assert process.poll() is None
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 2
    assert stdout == ""
    assert stderr == "error: interrupted; nothing half-written is left\n"
    left = {p.name for p in tmp_path.iterdir()}
    assert left == {"calib.npz", "ir"} | ({"out"} if existing else set())
    if existing:
        assert cli("inspect", out, "--quiet")[0] == 0
