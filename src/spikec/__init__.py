"""spikec: from ONNX models to spiking networks on neuromorphic hardware."""

from spikec import ir
from spikec.driver import Artifact, Options, compile, load
from spikec.ir import (
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
from spikec.ir.version import version

__version__ = version()

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
