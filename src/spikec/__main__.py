"""`python -m spikec`, and the command `spikec`."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C ends it quietly while it is still loading, too."""
    try:
        from spikec.cli import main as run
    except KeyboardInterrupt:
        sys.exit("error: interrupted; nothing half-written is left")
    run()


if __name__ == "__main__":
    main()
