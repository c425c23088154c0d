"""Makes lava-nc 0.10.0 importable and exact beyond the one Python (3.10) that it supports.

Import this before anything of Lava. Python 3.10 with numpy below 2 needs none of it; on newer
ones three things are mended in memory, none of it supported by Lava's authors:

- a dataclass default that Python 3.11 refuses (`ValueError: mutable default ByteEncoder`);
- `numpy.reshape(newshape=...)`, gone since numpy 2.4;
- 8-bit geometry in Conv, which numpy 2 no longer widens (maps beyond 127 overflow): `mend_conv`.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import sys
from typing import Any

import numpy as np

_VAR_MODEL = "lava.magma.compiler.var_model"


def _load_var_model() -> None:
    """Import Lava's var_model with a dataclass that Python 3.11 accepts."""
    spec = importlib.util.find_spec(_VAR_MODEL)
    if spec is None or spec.loader is None or spec.origin is None:
        raise ImportError("lava-nc 0.10.0 is not installed")
    source = spec.loader.get_source(_VAR_MODEL)  # type: ignore[attr-defined]
    broken = "@dataclass\nclass ByteEncoder"
    mended = source.replace(broken, broken.replace("@dataclass", "@dataclass(unsafe_hash=True)"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[_VAR_MODEL] = module
    exec(compile(mended, spec.origin, "exec"), module.__dict__)


def _mend_reshape() -> None:
    """Let virtual ports reshape with today's numpy."""
    from lava.magma.core.process.ports.ports import ReshapePort

    def forward(port: Any) -> Any:
        return lambda data, shape=port.shape: np.reshape(data, shape)

    def backward(port: Any) -> Any:
        return lambda data, shape=port.old_shape: np.reshape(data, shape)

    ReshapePort.get_transform_func_fwd = forward
    ReshapePort.get_transform_func_bwd = backward


def mend_conv() -> None:
    """Give Lava's convolution Python integers instead of 8-bit ones; a call of its own, as slow."""
    from lava.proc.conv import utils

    original = utils.conv

    def conv(data: Any, weight: Any, *geometry: Any) -> Any:
        plain = [tuple(map(int, value)) if np.ndim(value) else int(value) for value in geometry]
        return original(data, weight, *plain)

    utils.conv = conv


def install() -> None:
    """Mend what this Python and numpy need."""
    multiprocessing.set_start_method(None, force=True)  # Lava sets 'fork' when imported
    if sys.version_info >= (3, 11) and _VAR_MODEL not in sys.modules:
        _load_var_model()
    if int(np.__version__.split(".")[0]) >= 2:
        _mend_reshape()


install()
