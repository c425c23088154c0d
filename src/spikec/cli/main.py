"""Runs the command line; every failure is one clear error."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, NoReturn

import typer

from spikec.cli.app import app
from spikec.ir import SpikecError
from spikec.ui import print_error

_BadUsage: Any = next(k for k in typer.BadParameter.__mro__ if k.__name__ == "ClickException")
"""Base of usage errors; newer versions of typer bring their own copy of click."""
_INTERRUPTED = 130
"""What typer returns after Ctrl-C."""


def _stop(signum: int, frame: Any) -> NoReturn:
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line.

    Exits 0, 1 (a check found a difference) or 2 (one clear error, or interrupted).
    """
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    signal.signal(signal.SIGTERM, _stop)
    try:
        code = app(args=given, standalone_mode=False, prog_name="spikec")
        if code == _INTERRUPTED:
            raise KeyboardInterrupt
        sys.stdout.flush()
        sys.exit(code if isinstance(code, int) else 0)
    except SystemExit as error:
        closed_pipe = isinstance(error.__context__, BrokenPipeError)  # typer makes it exit 1
        sys.exit(0 if closed_pipe else error.code)
    except SpikecError as error:
        _fail(error, str(error), debug)
    except (KeyboardInterrupt, typer.Abort):
        print_error("interrupted; nothing half-written is left")
        sys.exit(2)
    except _BadUsage as error:
        context, message = getattr(error, "ctx", None), error.format_message()
        if not message:  # no arguments: the help was shown
            sys.exit(2)
        command = "spikec" if context is None else context.command_path
        _fail(None, f"{message}\n  hint: see `{command} --help`", debug)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except MemoryError as error:
        _fail(error, "out of memory: use --limit or fewer --samples", debug)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(error, f"{where}{error.strerror or error}", debug)
    except Exception as error:  # a bug: still one line, and the way to report it
        name = type(error).__name__
        _fail(error, f"internal error ({name}: {error}); please report it with --debug", debug)


def _fail(error: BaseException | None, text: str, debug: bool) -> NoReturn:
    if debug and error is not None:
        raise error
    print_error(text)
    sys.exit(2)
