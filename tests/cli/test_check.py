"""`check`."""


def test_check(files, as_json):
    found = as_json("check", files.out, "--data", files.test, "--limit", 4)
    assert {"engines", "samples", "timesteps", "layers", "equal", "first_difference"} <= set(found)
    assert found["engines"] == ["reference", "fast"]
    assert (found["samples"], found["timesteps"]) == (4, 4)
    assert found["equal"] is True
    assert found["first_difference"] is None
    for layer in found["layers"]:
        assert set(layer) == {"name", "spikes_compared", "spikes_differing",
                              "potentials_compared", "potentials_differing"}  # fmt: skip


def test_check_without_data_and_with_the_model(files, as_json):
    assert as_json("check", files.out)["samples"] == 4
    found = as_json("check", files.out, "--data", files.test, "--model", files.model)
    assert 0 <= found["model"]["agreement"] <= 1


def test_check_exits_1_on_a_difference(files, cli, as_json, register_engine):
    from spikec.ir import Param
    from spikec.runtime.fast import simulate

    def odd(graph, feeds, steps=None, trace=()):
        changed = {
            name: Param.of(p.array + 1, p.type.dtype)
            for name, p in graph.params.items()
            if name.endswith(".v0")
        }
        return simulate(graph.with_params(changed), feeds, steps, trace)

    register_engine("odd", odd)
    args = ("check", files.out, "--data", files.test, "--engines", "reference,odd")
    found = as_json(*args, code=1)
    first = found["first_difference"]
    assert set(first) >= {"layer", "neuron", "step", "values"}
    assert (first["layer"], first["step"]) == (found["layers"][0]["name"], 1)
    code, out, _ = cli(*args)
    assert code == 1
    assert "first difference: layer %relu1, neuron [0, 0, 0], step 1, sample 0 (reference: " in out
