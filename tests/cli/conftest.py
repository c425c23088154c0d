"""What tests of commands share: a compiled model and ways to run a command."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from spikec.cli import main


class Files:
    """A tiny model, its data and its artifact."""

    def __init__(self, folder: Path, model: onnx.ModelProto, data: np.ndarray) -> None:
        self.folder = folder
        self.model, self.calib = folder / "tiny.onnx", folder / "calib.npz"
        self.test, self.out = folder / "test.npz", folder / "out"
        self.unlabelled = folder / "x.npy"
        onnx.save(model, self.model)
        np.savez(self.calib, x=data)
        labels = np.arange(len(data)) % 3
        np.savez(self.test, x=data, y=labels)
        np.save(self.unlabelled, data)


@pytest.fixture(scope="session")
def files(tmp_path_factory, tiny_onnx, tiny_data, tiny_artifact):
    found = Files(tmp_path_factory.mktemp("cli"), tiny_onnx(), tiny_data)
    code = run(["compile", found.model, "--calib", found.calib, "-o", found.out, "-q",
                "--timesteps", "4", "--samples", "32"])  # fmt: skip
    assert code == 0
    return found


def run(arguments) -> int:
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    return caught.value.code


@pytest.fixture
def cli(capsys):
    """Runs a command; returns exit code, stdout and stderr."""

    def call(*arguments):
        capsys.readouterr()
        code = run(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def as_json(cli):
    """Runs a command with --json; stdout must hold one object and nothing else."""

    def call(*arguments, code=0):
        found, out, err = cli(*arguments, "--json")
        assert found == code, err
        assert out.count("\n") == 1
        return json.loads(out)

    return call


@pytest.fixture
def fails(cli):
    """Runs a command that must fail with exit code 2 and one clear error; returns it."""

    def call(*arguments):
        code, out, err = cli(*arguments)
        assert code == 2, err
        assert out == ""
        assert "Traceback" not in err
        assert "internal error" not in err
        assert err.count("error:") == 1
        return err[err.index("error:") :]

    return call


@pytest.fixture
def compiling(files, fails, tmp_path):
    def call(model, *more, calib=files.calib):
        out = tmp_path / "out"
        error = fails("compile", model, "--calib", calib, "-o", out, *more)
        assert not out.exists()
        assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
        return error

    return call


@pytest.fixture
def model_of():
    """Makes a model of some nodes, from x to y."""

    def make(nodes) -> onnx.ModelProto:
        shape = ("N", 2, 6, 6)
        graph = helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    return make
