"""Machine code that is made when a network first needs it, and called by its address.

Inlined into the drivers, all variants would be compiled for every network, and again for each
function on the way down to them.
"""

from __future__ import annotations

import hashlib
import pickle
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from llvmlite import ir
from llvmlite.ir import IRBuilder, Value
from numba import njit, types
from numba.core.base import BaseContext
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.core.typing.templates import Signature

from spikec.runtime.fast.vector import I64, Intrinsic, Values, const, intrinsic_of


class Kernel:
    """A function of int64 arguments with an int64 result, 0 where its code gives none.

    Args:
        name: Of its own.
        arguments: How many it takes.
        write: Emits its code from a builder and the arguments.
    """

    def __init__(
        self, name: str, arguments: int, write: Callable[[IRBuilder, Values], Value | None]
    ) -> None:
        self._name, self._arguments, self._write = f"spikec_{name}", arguments, write
        self._library: Any = None

    @cached_property
    def address(self) -> int:
        """Where its machine code is; made now, or taken from the folder of numba's cache."""
        with global_compiler_lock:
            codegen = cpu_target.target_context.codegen()
            library = codegen.create_library(self._name)
            module = library.create_ir_module(self._name)
            self._fill(module)
            key = repr((str(module), codegen.magic_tuple())).encode()
            path = _folder() / f"{self._name}-{hashlib.sha256(key).hexdigest()[:24]}.nbo"
            try:
                self._library = codegen.unserialize_library(pickle.loads(path.read_bytes()))
            except (OSError, EOFError, ValueError, pickle.UnpicklingError):
                library.enable_object_caching()
                library.add_ir_module(module)
                library.finalize()
                self._library = library
                _write(path, pickle.dumps(library.serialize_using_object_code()))
            return int(self._library.get_pointer_to_function(self._name))

    def _fill(self, module: ir.Module) -> None:
        code = ir.Function(module, _type(self._arguments), self._name)
        b = IRBuilder(code.append_basic_block())
        result = self._write(b, list(code.args))
        b.ret(const(0) if result is None else result)


def _type(arguments: int) -> ir.FunctionType:
    return ir.FunctionType(I64, [I64] * arguments)


@njit(cache=True)
def _kept() -> None:
    """Never runs: where numba would keep it, other code can be kept, too."""


def _folder() -> Path:
    return Path(_kept.stats.cache_path or "")


def _write(path: Path, data: bytes) -> None:
    """Write a file in one step where the folder can be written to."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(data)
        Path(file.name).replace(path)


def _call(arguments: int) -> Intrinsic:
    def emit(target: BaseContext, b: IRBuilder, signature: Signature, values: Values) -> Value:
        address, *args = values
        return b.call(b.inttoptr(address, _type(arguments).as_pointer()), args)

    return intrinsic_of(types.int64, 1 + arguments, emit)


call2, call7, call8, call17, call19 = (_call(arguments) for arguments in (2, 7, 8, 17, 19))
"""(address, ...): call a kernel."""
