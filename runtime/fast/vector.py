"""Helpers that write LLVM vector code, and what the CPU at hand offers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import llvmlite.binding as llvm
from llvmlite import ir
from llvmlite.ir import IRBuilder, Type, Value
from numba import config, types
from numba.core.base import GENERIC_POINTER, BaseContext
from numba.core.typing.templates import Signature
from numba.extending import intrinsic

LANES = 32
"""Samples of a block: one per SIMD lane."""
I8, I16, I32, I64 = (ir.IntType(n) for n in (8, 16, 32, 64))

Values = Sequence[Value]
Write = Callable[[IRBuilder, Values], None]
"""Writes the code of a procedure from its arguments."""
WriteResult = Callable[[IRBuilder, Values], Value]
Intrinsic = Callable[..., int]
"""What compiled code calls."""


@dataclass(frozen=True, slots=True)
class CpuFeatures:
    """What the code generator may use.

    Attributes:
        lut: 64-entry lookup of 16-bit lanes in one instruction (AVX-512BW).
        vnni: Dot products of bytes (AVX-512 VNNI).
        amx: Matrix tiles of bytes (AMX-INT8).
        fast_lut: Whether lookups are worth more than dot products: they take AMD's Zen one
            operation and Intel's cores three (uops.info, VPERMI2W).
    """

    lut: bool
    vnni: bool
    amx: bool
    fast_lut: bool


def detect_features() -> CpuFeatures:
    """Features of the CPU that numba compiles for (NUMBA_CPU_NAME, NUMBA_CPU_FEATURES)."""
    forced, name = getattr(config, "CPU_FEATURES", None), getattr(config, "CPU_NAME", None)
    name = llvm.get_host_cpu_name() if name in (None, "", "host") else name
    names = set((forced or "").split(","))
    if forced is None and getattr(config, "CPU_NAME", None) in (None, "", "host"):
        try:
            host = dict(llvm.get_host_cpu_features())
        except RuntimeError:
            host = {}
        names = {f"+{feature}" for feature, present in host.items() if present}
    lut, vnni = "+avx512bw" in names, "+avx512vnni" in names
    amx = {"+amx-tile", "+amx-int8"} <= names
    return CpuFeatures(lut, vnni, amx, lut and (name.startswith("znver") or not vnni))


FEATURES = detect_features()


def vec(element: Type, lanes: int = LANES) -> Type:
    """The LLVM vector type of `lanes` elements."""
    return ir.VectorType(element, lanes)


def const(value: int) -> Value:
    """A 64-bit constant."""
    return ir.Constant(I64, value)


def fill_of(typ: Type, value: int) -> Value:
    """A vector constant of equal elements."""
    return ir.Constant(typ, [value] * typ.count)


def load(b: IRBuilder, addr: Value, offset: Value | None, typ: Type, align: int = 8) -> Value:
    """The value of type `typ` at `addr + offset` (offset may be None)."""
    at = addr if offset is None else b.add(addr, offset)
    value = b.load(b.inttoptr(at, typ.as_pointer()))
    value.align = align
    return value


def store(
    b: IRBuilder, value: Value, addr: Value, offset: Value | None = None, align: int = 8
) -> None:
    """Store `value` at `addr + offset`."""
    at = addr if offset is None else b.add(addr, offset)
    b.store(value, b.inttoptr(at, value.type.as_pointer())).align = align


def splat(b: IRBuilder, scalar: Value, lanes: int = LANES) -> Value:
    """A vector of `lanes` copies of a scalar."""
    undefined = ir.Constant(vec(scalar.type, lanes), ir.Undefined)
    one = b.insert_element(undefined, scalar, ir.Constant(I32, 0))
    return b.shuffle_vector(one, undefined, ir.Constant(vec(I32, lanes), [0] * lanes))


class Loop:
    """`for i in range(start, stop)` with loop-carried values."""

    def __init__(self, b: IRBuilder, start: Value, stop: Value, carried: Values) -> None:
        self.b, entry = b, b.block
        self.head, body, self.done = (b.append_basic_block(n) for n in ("head", "body", "done"))
        b.branch(self.head)
        b.position_at_end(self.head)
        self.i = b.phi(I64)
        self.i.add_incoming(start, entry)
        self.values: list[Value] = []
        for value in carried:
            phi = b.phi(value.type)
            phi.add_incoming(value, entry)
            self.values.append(phi)
        b.cbranch(b.icmp_signed("<", self.i, stop), body, self.done)
        b.position_at_end(body)

    def close(self, updated: Values) -> list[Value]:
        """End the body; returns the values after the last iteration."""
        b, tail = self.b, self.b.block
        self.i.add_incoming(b.add(self.i, const(1)), tail)
        for phi, value in zip(self.values, updated, strict=True):
            phi.add_incoming(value, tail)
        b.branch(self.head)
        b.position_at_end(self.done)
        return self.values


def procedure(arguments: int, write: Write) -> Intrinsic:
    """An intrinsic of int64 arguments without result; `write(builder, args)` emits its code."""

    def emit(
        target: BaseContext, builder: IRBuilder, signature: Signature, values: Values
    ) -> Value:
        write(builder, values)
        return ir.Constant(GENERIC_POINTER, None)

    return intrinsic_of(types.void, arguments, emit)


def function(arguments: int, write: WriteResult) -> Intrinsic:
    """An intrinsic of int64 arguments with an int64 result, which `write` returns."""

    def emit(
        target: BaseContext, builder: IRBuilder, signature: Signature, values: Values
    ) -> Value:
        return write(builder, values)

    return intrinsic_of(types.int64, arguments, emit)


def intrinsic_of(
    result: types.Type,
    arguments: int,
    emit: Callable[[BaseContext, IRBuilder, Signature, Values], Value],
) -> Intrinsic:
    """An intrinsic of int64 arguments; numba wants each of them to have a name."""
    kinds = result(*[types.int64] * arguments), emit
    names = ", ".join(f"a{i}" for i in range(arguments))
    scope: dict[str, Callable[..., object]] = {}
    exec(f"def typed(context, {names}): return kinds", {"kinds": kinds}, scope)
    return intrinsic(scope["typed"])


def _fill(bits: int) -> Intrinsic:
    def write(b: IRBuilder, args: Values) -> None:
        addr, count, value = args
        vector = splat(b, b.trunc(value, ir.IntType(bits)))
        loop = Loop(b, const(0), count, [addr])
        store(b, vector, loop.values[0])
        loop.close([b.add(loop.values[0], const(LANES * bits // 8))])

    return procedure(3, write)


fill16, fill32 = _fill(16), _fill(32)
"""(addr, count, value): store `count` vectors of 32 lanes that all equal `value`."""


def _widen(b: IRBuilder, args: Values) -> None:
    narrow, wide, count = args
    v16, v32 = vec(I16), vec(I32)
    loop = Loop(b, const(0), count, [narrow, wide])
    source, target = loop.values
    value = b.sext(load(b, source, None, v16), v32)
    store(b, b.add(load(b, target, None, v32), value), target)
    store(b, ir.Constant(v16, None), source)
    loop.close([b.add(source, const(64)), b.add(target, const(128))])


widen = procedure(3, _widen)
"""(narrow, wide, count): wide[i] += narrow[i]; narrow[i] = 0, vectors of 32 lanes."""


def _add(bits_from: int, bits_to: int) -> Intrinsic:
    """Adds `count` vectors of 32 lanes."""

    def write(b: IRBuilder, args: Values) -> None:
        source, target, count = args
        loop = Loop(b, const(0), count, [source, target])
        source, target = loop.values
        total, value = vec(ir.IntType(bits_to)), load(b, source, None, vec(ir.IntType(bits_from)))
        value = value if bits_from == bits_to else b.sext(value, total)
        store(b, b.add(load(b, target, None, total), value), target)
        after = [
            b.add(at, const(LANES * bits // 8))
            for at, bits in ((source, bits_from), (target, bits_to))
        ]
        loop.close(after)

    return procedure(3, write)


add16, add16to32, add_vectors32 = _add(16, 16), _add(16, 32), _add(32, 32)
"""(source, target, count): add `count` vectors of 32 lanes."""


def _copy(b: IRBuilder, args: Values) -> None:
    source, target, count = args
    loop = Loop(b, const(0), count, [source, target])
    store(b, load(b, loop.values[0], None, vec(I16)), loop.values[1])
    loop.close([b.add(at, const(2 * LANES)) for at in loop.values])


copy_vectors = procedure(3, _copy)
"""(source, target, count): copy `count` vectors of 64 bytes."""


def _add_shifted(bits: int) -> Intrinsic:
    def write(b: IRBuilder, args: Values) -> None:
        source, target, exponents, channels, steps = args
        narrow, v32 = vec(ir.IntType(bits)), vec(I32)
        outer = Loop(b, const(0), channels, [source, target])
        exponent = load(b, exponents, b.mul(outer.i, const(8)), I64)
        shift = splat(b, b.trunc(exponent, I32))
        inner = Loop(b, const(0), steps, outer.values)
        source, target = inner.values
        value = load(b, source, None, narrow)
        value = b.shl(value if bits == 32 else b.sext(value, v32), shift)
        store(b, b.add(load(b, target, None, v32), value), target)
        store(b, ir.Constant(narrow, None), source)
        after = [b.add(source, const(LANES * bits // 8)), b.add(target, const(LANES * 4))]
        outer.close(inner.close(after))

    return procedure(5, write)


add_shifted16, add_shifted32 = _add_shifted(16), _add_shifted(32)
"""(source, target, exponents, channels, steps): `target += source << exponent`, source becomes 0;
`steps` vectors for each channel, whose exponent is an int64."""


def _narrow(b: IRBuilder, args: Values) -> None:
    wide, narrow, count = args
    loop = Loop(b, const(0), count, [wide, narrow])
    source, target = loop.values
    store(b, b.trunc(load(b, source, None, vec(I32)), vec(I16)), target)
    loop.close([b.add(source, const(128)), b.add(target, const(64))])


narrow = procedure(3, _narrow)
"""(wide, narrow, count): narrow[i] = wide[i], vectors of 32 lanes."""


def _repeat32(b: IRBuilder, args: Values) -> None:
    source, target, channels, steps_in, steps = args
    v32 = vec(I32)
    outer = Loop(b, const(0), channels, [source, target])
    last = b.sub(steps_in, const(1))
    inner = Loop(b, const(0), steps, [])
    step = b.select(b.icmp_signed("<", inner.i, last), inner.i, last)
    value = load(b, outer.values[0], b.mul(step, const(128)), v32)
    store(b, value, outer.values[1], b.mul(inner.i, const(128)))
    inner.close([])
    source, target = outer.values
    outer.close(
        [b.add(source, b.mul(steps_in, const(128))), b.add(target, b.mul(steps, const(128)))]
    )


repeat32 = procedure(5, _repeat32)
"""(source, target, channels, steps_in, steps): copy currents, repeating a constant one."""


def _gather(b: IRBuilder, args: Values) -> None:
    source, target, channels, steps_in, steps, gain, doubles, v0, mirrored = args
    v32 = vec(I32)
    zero = ir.Constant(v32, None)
    gain, shift = (splat(b, b.trunc(value, I32)) for value in (gain, doubles))
    twice = b.mul(b.trunc(mirrored, I32), ir.Constant(I32, 2))
    outer = Loop(b, const(0), channels, [source, target])
    source, target = outer.values
    inner = Loop(b, const(0), steps_in, [zero])
    value = load(b, source, b.mul(inner.i, const(128)), v32)
    (total,) = inner.close([b.add(b.shl(inner.values[0], shift), value)])
    total = b.mul(total, gain)
    start = load(b, v0, b.mul(outer.i, const(4)), I32, 4)
    below = b.icmp_signed("<", total, zero)
    turned = b.select(below, splat(b, b.mul(start, twice)), zero)
    store(b, b.sub(total, turned), target)
    rest = Loop(b, const(1), steps, [])
    store(b, zero, target, b.mul(rest.i, const(128)))
    rest.close([])
    outer.close(
        [b.add(source, b.mul(steps_in, const(128))), b.add(target, b.mul(steps, const(128)))]
    )


gather = procedure(9, _gather)
"""(source, target, channels, steps_in, steps, gain, doubles, v0, mirrored): `gain` times the sum of
all steps' currents, which doubles from step to step with `doubles`, as current of the first step,
then zeros. With `mirrored` negative sums are 2 v0 lower."""


def _start(bits: int) -> Intrinsic:
    def write(b: IRBuilder, args: Values) -> None:
        addr, values, channels, steps = args
        outer = Loop(b, const(0), channels, [addr])
        value = load(b, values, b.mul(outer.i, const(4)), I32, 4)
        vector = splat(b, b.trunc(value, I16) if bits == 16 else value)
        inner = Loop(b, const(0), steps, [outer.values[0]])
        store(b, vector, inner.values[0])
        outer.close(inner.close([b.add(inner.values[0], const(LANES * bits // 8))]))

    return procedure(4, write)


start16, start32 = _start(16), _start(32)
"""(addr, values, channels, steps): `steps` vectors for each channel that equal its int32 value."""


def _shift_all(b: IRBuilder, args: Values) -> None:
    addr, stride, count, amount = args
    loop = Loop(b, const(0), count, [addr])
    at = loop.values[0]
    store(b, b.add(load(b, at, None, I64), amount), at)
    loop.close([b.add(at, stride)])


shift_all = procedure(4, _shift_all)
"""(addr, stride, count, amount): add to `count` int64 that lie `stride` bytes apart."""

get64 = function(1, lambda b, args: load(b, args[0], None, I64))
"""(addr): the int64 there."""
get32 = function(1, lambda b, args: b.sext(load(b, args[0], None, I32, 4), I64))
"""(addr): the int32 there."""
get8 = function(1, lambda b, args: b.sext(load(b, args[0], None, I8, 1), I64))
"""(addr): the int8 there."""
put32 = procedure(2, lambda b, args: store(b, b.trunc(args[1], I32), args[0], None, 4))
"""(addr, value): store as int32."""
put64 = procedure(2, lambda b, args: store(b, args[1], args[0]))
"""(addr, value): store an int64."""


def _add32(b: IRBuilder, args: Values) -> None:
    store(b, b.add(load(b, args[0], None, I32, 4), b.trunc(args[1], I32)), args[0], None, 4)


add32 = procedure(2, _add32)
"""(addr, value): add to the int32 there."""
