"""spikec: from ONNX models to spiking networks on neuromorphic hardware.

Names are imported when they are first used, so that `import spikec` and `spikec --help` load
nothing that takes long.
"""

from typing import TYPE_CHECKING

from spikec.lazy import importer
from spikec.version import version

if TYPE_CHECKING:
    from spikec import ir
    from spikec.driver.artifact import Artifact, load
    from spikec.driver.compiling import compile
    from spikec.ir.errors import (
        BackendError,
        InvalidArtifact,
        InvalidData,
        InvalidGraph,
        InvalidModel,
        ParseError,
        PassError,
        RangeError,
        SpikecError,
        UnsupportedOperator,
        UsageError,
    )
    from spikec.options import Options

    __version__: str

__all__ = [
    "Artifact",
    "BackendError",
    "InvalidArtifact",
    "InvalidData",
    "InvalidGraph",
    "InvalidModel",
    "Options",
    "ParseError",
    "PassError",
    "RangeError",
    "SpikecError",
    "UnsupportedOperator",
    "UsageError",
    "__version__",
    "compile",
    "ir",
    "load",
]

_ERRORS = dict.fromkeys((name for name in __all__ if name[0].isupper()), "spikec.ir.errors")
_getattr = importer(
    __name__,
    {
        **_ERRORS,
        "Artifact": "spikec.driver.artifact",
        "Options": "spikec.options",
        "compile": "spikec.driver.compiling",
        "ir": "spikec.ir",
        "load": "spikec.driver.artifact",
    },
)


def __getattr__(name: str) -> object:
    return version() if name == "__version__" else _getattr(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
