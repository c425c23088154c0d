"""Runs the command line; every failure is one clear error."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from typing import Any, NoReturn

import typer

from spikec.cli.app import app
from spikec.ui import print_error, print_json

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
    told = _Told("--debug" in given, "--json" in given)
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
    except (KeyboardInterrupt, typer.Abort):
        _fail(None, "Interrupted", "interrupted; nothing half-written is left", told)
    except _BadUsage as error:
        context, message = getattr(error, "ctx", None), error.format_message()
        if not message:  # no arguments: the help was shown
            sys.exit(2)
        command = "spikec" if context is None else context.command_path
        _fail(None, "UsageError", message, told, hint=f"see `{command} --help`")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except MemoryError as error:
        _fail(error, "OutOfMemory", "out of memory", told, hint="use --limit or fewer --samples")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(error, "OSError", f"{where}{error.strerror or error}", told)
    except Exception as error:
        from spikec.ir.errors import SpikecError

        name = type(error).__name__
        if isinstance(error, SpikecError):
            _fail(error, name, error.message, told, loc=error.loc, hint=error.hint)
        # a bug: still one line, and the way to report it
        text = f"internal error ({name}: {error}); please report it with --debug"
        _fail(error, "InternalError", text, told)


@dataclass(frozen=True, slots=True)
class _Told:
    """What the command line says of errors."""

    debug: bool
    as_json: bool


def _fail(
    error: BaseException | None,
    kind: str,
    message: str,
    told: _Told,
    *,
    loc: str | None = None,
    hint: str | None = None,
) -> NoReturn:
    """One clear error on stderr, and on stdout as an object where JSON was asked for."""
    if told.debug and error is not None:
        raise error
    text = f"{loc}: {message}" if loc else message
    print_error(f"{text}\n  hint: {hint}" if hint else text)
    if told.as_json:
        print_json({"error": {"kind": kind, "message": message, "loc": loc, "hint": hint}})
    sys.exit(2)
