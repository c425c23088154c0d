"""Errors that spikec raises; every user-facing failure is one of these."""

from __future__ import annotations


class SpikecError(Exception):
    """Base of all errors a user can cause or meet.

    Args:
        message: What went wrong, in one sentence.
        loc: Where: the ONNX node (and file), the text position or the layer, if known.
        hint: What would help, if known.
    """

    def __init__(self, message: str, *, loc: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.loc = loc
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.loc}: {self.message}" if self.loc else self.message
        return f"{text}\n  hint: {self.hint}" if self.hint else text


class InvalidModel(SpikecError):
    """The ONNX file is corrupt, inconsistent or holds values that cannot be used."""


class UnsupportedOperator(SpikecError):
    """The model uses an operator (or a form of it) that cannot be converted."""


class InvalidData(SpikecError):
    """Calibration or test data do not fit the model."""


class InvalidGraph(SpikecError):
    """A graph breaks an invariant that `verify` states."""


class ParseError(SpikecError):
    """The text of a graph or of a pass pipeline cannot be read."""


class InvalidArtifact(SpikecError):
    """An artifact directory is damaged, incomplete or of another format version."""


class PassError(SpikecError):
    """A pass got a graph or option that it cannot work with."""


class RangeError(SpikecError):
    """A value leaves the integer range that the target gives it."""


class BackendError(SpikecError):
    """A backend is not available here or failed while running."""


class UsageError(SpikecError):
    """The command line or API was called with arguments that do not fit together."""
