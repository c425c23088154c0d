"""A neuron op that no engine has a kernel for runs by its own meaning everywhere."""

import numpy as np
import pytest

from spikec.ir import PassError, parse
from spikec.ir.ops import neurons
from spikec.runtime import fast
from spikec.runtime.interpreter import simulate

NET = """
graph @resting <stage=int, steps=6> {
  param @d.w : i8[2,1] = [[10], [7]]
  param @n.theta : i24[] = 10
  param @n.v0 : i24[] = 0
  param @o.w : i8[1,2] = [[1, 2]]
  %x : u8[1] = input()
  %d : i24[2] = dense(%x) <w=@d.w>
  %n : spike[2] = resting(%d) <theta=@n.theta, v0=@n.v0, free=true>
  %c : i24[1] = dense(%n) <w=@o.w>
  %o : i24[1] = accumulate(%c)
  return %o
}
"""


OP = '''
from dataclasses import dataclass
import numpy as np
from spikec.ir.neuron import Neuron, Sign, start


@dataclass(frozen=True, slots=True)
class Resting(Neuron):
    """Silent for one step after each spike."""

    free: bool = False

    @property
    def sign(self):
        return Sign.UNSIGNED

    def scan(self, inputs, params, steps):
        current, (p, v) = inputs[0], start(inputs[0], params)
        rested = np.ones(v.shape, bool)
        spikes = np.empty((steps, *v.shape), v.dtype)
        potentials = np.empty_like(spikes)
        for t in range(steps):
            v += current[min(t, len(current) - 1)] + p["bias"]
            spikes[t] = (v >= p["theta"]) & rested
            rested = spikes[t] == 0
            v -= p["theta"] * spikes[t]
            potentials[t] = v
        return spikes, potentials
'''


@pytest.fixture
def graph(monkeypatch, tmp_path):
    (tmp_path / "resting.py").write_text(OP)
    monkeypatch.setattr(neurons, "__path__", [*neurons.__path__, str(tmp_path)])
    return parse(NET)


def test_engines_agree(graph):
    feeds = {"x": np.array([[1], [2], [0]], np.uint8)}
    one, two = (run(graph, feeds, trace=["n"]) for run in (simulate, fast.simulate))
    assert (one.traces["n"].spikes == two.traces["n"].spikes).all()
    assert (one.traces["n"].potentials == two.traces["n"].potentials).all()
    assert (one.readout["o"] == two.readout["o"]).all()
    assert one.traces["n"].spikes[:, 0, 0].tolist() == [1, 0, 1, 0, 1, 0]


def test_calibration_says_that_it_needs_a_kernel(graph):
    with pytest.raises(PassError, match="%n = resting has no compiled kernel"):
        fast.neuron_kind(graph["n"])
