"""Which spikec this is."""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed


def version() -> str:
    """The installed version, or `unknown` where spikec runs without being installed."""
    try:
        return installed("spikec")
    except PackageNotFoundError:
        return "unknown"
