"""Which spikec this is."""


def version() -> str:
    """Spikec's version."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("spikec")
    except PackageNotFoundError:
        return "unknown"
