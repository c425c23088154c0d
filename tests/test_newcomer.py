"""A newcomer's session: a module and a loader in, a report page out."""

import sys
import types

import numpy as np
import pytest

import spikec


class Module:
    """What of a torch.nn.Module is used."""

    training = True

    def state_dict(self):
        return {}

    def forward(self, x):
        raise NotImplementedError

    def train(self, mode):
        self.training = mode


class Tensor:
    def __init__(self, array):
        self.array, self.dtype = array, "torch.float32"

    def detach(self):
        return self

    def cpu(self):
        return self

    def numpy(self):
        return self.array


@pytest.fixture
def torch(monkeypatch, tiny_onnx):
    """A torch that exports every module as the tiny model."""
    calls = []

    def export(module, inputs, file, **options):
        calls.append((module.training, [x.shape for x in inputs], options["input_names"]))
        file.write(tiny_onnx().SerializeToString())

    fake = types.ModuleType("torch")
    fake.onnx = types.SimpleNamespace(export=export)
    fake.from_numpy = lambda x: x
    fake.calls = calls
    monkeypatch.setitem(sys.modules, "torch", fake)
    return fake


def test_a_module_and_a_loader_become_a_page(torch, tiny_data, tmp_path):
    labels = np.arange(len(tiny_data)) % 3

    def loader():
        for start in range(0, len(tiny_data), 16):
            yield [Tensor(tiny_data[start : start + 16]), Tensor(labels[start : start + 16])]

    module = Module()
    art = spikec.compile(module, loader(), timesteps=4)
    assert torch.calls == [(False, [(1, 2, 6, 6)], ["input"])]
    assert module.training, "the module is left as it was"
    evaluation = art.evaluate(loader())
    assert evaluation.samples == len(tiny_data)
    assert evaluation.ann_accuracy is not None
    logits = art.run(Tensor(tiny_data[0]))
    assert logits.shape == (1, 3)
    art.page().save(tmp_path / "page.html")
    assert f"{evaluation.results[0].accuracy:.1%}" in (tmp_path / "page.html").read_text()
    art.save(tmp_path / "out")
    assert (spikec.load(tmp_path / "out").run(tiny_data) == art.run(tiny_data)).all()


def test_a_module_needs_data_and_an_export_that_works(torch, tiny_data):
    with pytest.raises(spikec.UsageError, match="exported with the first calibration sample"):
        spikec.compile(Module())

    def broken(*args, **options):
        raise RuntimeError("unsupported: aten::magic\nlong trace")

    torch.onnx.export = broken
    said = (
        r"cannot be exported: unsupported: aten::magic\n"
        r"  hint: it was called with the first calibration sample, of shape \[1, 2, 6, 6\]$"
    )
    with pytest.raises(spikec.InvalidModel, match=said):
        spikec.compile(Module(), tiny_data)


def test_paths_work_in_python_as_on_the_command_line(tiny_onnx, tiny_data, tmp_path):
    np.savez(tmp_path / "calib.npz", x=tiny_data, y=np.arange(len(tiny_data)) % 3)
    art = spikec.compile(tiny_onnx(), calib=tmp_path / "calib.npz", timesteps=2, samples=16)
    assert art.evaluate(str(tmp_path / "calib.npz")).results[0].accuracy is not None


def test_images_are_prepared_as_they_were_for_calibration(tmp_path, tiny_onnx, monkeypatch):
    image = pytest.importorskip("PIL.Image")
    import onnx
    from onnx import helper

    rng = np.random.default_rng(0)
    weights = onnx.numpy_helper.from_array(rng.normal(0, 0.2, (2, 12)).astype(np.float32), "w")
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"], "flatten"),
        helper.make_node("MatMul", ["f", "wt"], ["m"], "dense"),
        helper.make_node("Relu", ["m"], ["y"], "relu"),
    ]
    nodes.insert(1, helper.make_node("Transpose", ["w"], ["wt"], "transpose"))
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "images", [info("x", onnx.TensorProto.FLOAT, ["N", 3, 2, 2])],
        [info("y", onnx.TensorProto.FLOAT, ["N", 2])], [weights],
    )  # fmt: skip
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        tmp_path / "m.onnx",
    )
    for name in ("cat/1", "cat/2", "dog/1", "dog/2"):
        path = tmp_path / "images" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.fromarray(rng.integers(0, 255, (5, 7, 3), np.uint8)).save(path)
    how = "resize=4,crop=2,mean=0.5,std=0.25"
    art = spikec.compile(tmp_path / "m.onnx", tmp_path / "images", timesteps=4, images=how)
    art.save(tmp_path / "out")
    loaded = spikec.load(tmp_path / "out")
    assert loaded.stored.recipe["images"] == how
    evaluation = loaded.evaluate(tmp_path / "images", model=tmp_path / "m.onnx")
    assert evaluation.results[0].accuracy is not None
    assert evaluation.clipped_inputs == 0


@pytest.mark.slow
def test_a_real_module_and_a_real_loader():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.BatchNorm2d(4), torch.nn.ReLU(),
        torch.nn.AvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(64, 3),
    )  # fmt: skip
    x, y = torch.rand(64, 1, 8, 8), torch.arange(64) % 3
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=16)
    art = spikec.compile(module, loader, timesteps=16)
    assert module.training
    evaluation = art.evaluate(loader)
    assert evaluation.samples == 64
    assert evaluation.results[0].agreement > 0.8
    module.eval()
    with torch.no_grad():
        expected = module(x[:1]).numpy()
    assert art.model.logits({art.model.graph.inputs[0].name: x[:1].numpy()}) == pytest.approx(
        expected, abs=1e-5
    )
    assert art.run(x[0]).shape == (1, 3)
