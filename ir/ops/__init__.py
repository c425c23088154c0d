"""The ops. This folder is the registry: a file's name is its op's name.

A file is listed, not imported: its module loads when its op is asked for. A plugin names a module
like these in the entry points `spikec.ops`.
"""

from __future__ import annotations

from pathlib import Path

from spikec.ir.op import Op
from spikec.ir.registry import Registry

ROOMS = ("synapses", "routing", "neurons", "activations")
"""The folders in this one that hold ops."""

OPS: Registry[Op] = Registry(
    "spikec.ops",
    {__name__: __path__} | {f"{__name__}.{r}": [str(Path(__path__[0]) / r)] for r in ROOMS},
    Op,
    "op",
    aside=ROOMS,
)
"""The classes of all ops by name."""
