"""Sums in matrix tiles (Intel AMX): 16 channels of 16 samples, 64 inputs at a time.

A tile of weights is 16 channels x 64 bytes. Dot words are a tile of spikes as they lie in memory:
16 word groups (rows) of 16 samples, four bytes each. Tables hold, for every run [lo, hi) of a
piece's taps, the run's weights cut into blocks of 64 inputs, zeros after the last.
Instructions: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18.
"""

from __future__ import annotations

import ctypes
import functools
import platform
import sys

import numpy as np
from llvmlite import ir
from llvmlite.ir import IRBuilder, Value
from numba import njit

from spikec.ir.types import Array
from spikec.runtime.fast.tiles import SEGMENT
from spikec.runtime.fast.vector import (
    FEATURES,
    I8,
    I64,
    LANES,
    Intrinsic,
    Loop,
    Values,
    Write,
    add32,
    const,
    get8,
    get64,
    load,
    procedure,
)

ROWS, DEPTH = 16, 64
"""Channels of a tile of weights and inputs that it takes."""
GROUPS = DEPTH // 4
"""Word groups that a block reads; those behind the last are read, too, and multiplied by zero."""
BLOCK = ROWS * DEPTH
PERMIT, TILE_DATA = 0x1023, 18
"""arch_prctl's ARCH_REQ_XCOMP_PERM and the state it is asked for (Linux, x86 extended features)."""


def words_slack(steps: int) -> int:
    """Bytes that a block may read behind the end of words."""
    return GROUPS * steps * 4 * LANES


def tile_table(taps: Array, groups: int, whole: bool = False) -> Array:
    """Weights of all runs of taps: int8 [tile, lo, hi - 1, block, 16, 64].

    Args:
        taps: int8 values [tap, padded out, in].
        groups: Word groups of a tap.
        whole: Only the run of all taps is needed: [tile, 1, 1, ...].
    """
    count, padded, inputs = taps.shape
    blocks, ends = -(-count * groups // GROUPS), 1 if whole else count
    table = np.zeros((padded // ROWS, ends, ends, blocks, ROWS, DEPTH), np.int8)
    rows = np.zeros((count, padded, groups * 4), np.int8)
    rows[:, :, :inputs] = taps
    for lo in range(ends):
        for hi in [count] if whole else range(lo + 1, count + 1):
            flat = np.zeros((padded, blocks * DEPTH), np.int8)
            run = rows[lo:hi].transpose(1, 0, 2).reshape(padded, -1)
            flat[:, : run.shape[1]] = run
            cut = flat.reshape(-1, ROWS, blocks, DEPTH)
            table[:, lo, -1 if whole else hi - 1] = cut.transpose(0, 2, 1, 3)
    return table


def tile_config() -> Array:
    """Operand of LDTILECFG: palette 1, eight tiles of 16 rows and 64 bytes."""
    config = np.zeros(64, np.uint8)
    config[0] = 1
    config[16:32].view(np.uint16)[:] = DEPTH
    config[48:56] = ROWS
    return config


def _call(b: IRBuilder, name: str, *args: Value) -> None:
    kinds = [arg.type for arg in args]
    signature = ir.FunctionType(ir.VoidType(), kinds)
    b.call(b.module.declare_intrinsic(f"llvm.x86.{name}", (), signature), args)


def _move(b: IRBuilder, name: str, tile: int, at: Value, stride: Value) -> None:
    _call(b, name, ir.Constant(I8, tile), b.inttoptr(at, I8.as_pointer()), stride)


def _write_sums(b: IRBuilder, args: Values, tiles: int, steps: int) -> None:
    """Tiles 0 to 3 are sums, 4 and 5 weights, 6 and 7 spikes."""
    acc, stride, segments, count, tile, shift = args
    places = [(c, t, half) for t in range(steps) for half in range(2) for c in range(tiles)]
    base = b.add(b.add(acc, shift), b.mul(b.mul(tile, stride), const(ROWS)))
    sums = [
        b.add(base, b.add(b.mul(stride, const(ROWS * c)), const(128 * t + 64 * half)))
        for c, t, half in places
    ]
    for k, at in enumerate(sums):
        _move(b, "tileloadd64", k, at, stride)
    outer = Loop(b, const(0), count, [])
    segment = b.add(segments, b.mul(outer.i, const(8 * SEGMENT)))
    words, table, tile_bytes, groups = (load(b, segment, const(8 * k), I64) for k in range(4))
    table = b.add(table, b.mul(tile, tile_bytes))
    blocks = b.lshr(b.add(groups, const(GROUPS - 1)), const(4))
    inner = Loop(b, const(0), blocks, [b.add(words, shift), table])
    words, table = inner.values
    for c in range(tiles):
        at = b.add(table, b.mul(tile_bytes, const(c)))
        _move(b, "tileloadd64", 4 + c, at, const(DEPTH))
    for k, (c, t, half) in enumerate(places):
        spikes = 6 + half
        if c == 0:
            _move(b, "tileloadd64", spikes, b.add(words, const(128 * t + 64 * half)), stride)
        _call(b, "tdpbsud", *(ir.Constant(I8, n) for n in (k, 4 + c, spikes)))
    words = b.add(words, b.mul(stride, const(GROUPS)))
    inner.close([words, b.add(table, const(BLOCK))])
    outer.close([])
    for k, at in enumerate(sums):
        _move(b, "tilestored64", k, at, stride)


def _only_with_tiles(arguments: int, write: Write) -> Intrinsic:
    """A procedure that must not be reached where the CPU has no tiles."""

    def guarded(b: IRBuilder, args: Values) -> None:
        if FEATURES.amx:
            write(b, args)
        else:
            b.unreachable()
            b.position_at_end(b.append_basic_block("dead"))

    return procedure(arguments, guarded)


def _make_sums(tiles: int, steps: int) -> Intrinsic:
    return _only_with_tiles(6, lambda b, args: _write_sums(b, args, tiles, steps))


sums21, sums12, sums11 = (_make_sums(*shape) for shape in ((2, 1), (1, 2), (1, 1)))
"""(acc, channel stride, segments, count, tile, shift): add segments into 1 or 2 tiles of channels,
1 or 2 steps, of all 32 samples; words and sums are read and written `shift` bytes further."""
open_tiles = _only_with_tiles(
    1, lambda b, args: _call(b, "ldtilecfg", b.inttoptr(args[0], I8.as_pointer()))
)
close_tiles = _only_with_tiles(0, lambda b, args: _call(b, "tilerelease"))


@njit(cache=True, nogil=True)
def sum_tiles(acc: int, stride: int, segs: int, count: int, padded: int, steps: int) -> None:
    """Add segments into the accumulators of all channels in hardware tiles."""
    tiles = padded // ROWS
    for tile in range(0, tiles - 1, 2):
        for t in range(steps):
            sums21(acc, stride, segs, count, tile, 128 * t)
    if tiles % 2 != 0:
        for t in range(0, steps - 1, 2):
            sums12(acc, stride, segs, count, tiles - 1, 128 * t)
        if steps % 2 != 0:
            sums11(acc, stride, segs, count, tiles - 1, 128 * (steps - 1))


@njit(cache=True, nogil=True)
def sum_blocks(acc: int, stride: int, segs: int, count: int, padded: int, steps: int) -> None:
    """As `sum_tiles`, in plain code."""
    for c in range(padded):
        for s in range(count):
            seg = segs + 8 * SEGMENT * s
            row = get64(seg + 8) + c // ROWS * get64(seg + 16) + c % ROWS * DEPTH
            for k in range(get64(seg + 24) * 4):
                weight = get8(row + k // DEPTH * BLOCK + k % DEPTH)
                spikes = get64(seg) + k // 4 * stride + k % 4
                for lane in range(steps * LANES):
                    spike = get8(spikes + 4 * lane) & 255
                    add32(acc + c * stride + 4 * lane, weight * spike)


@functools.cache
def has_tiles() -> bool:
    """Whether the CPU has tiles, the system lets this process use them and their sums are right."""
    if not FEATURES.amx or sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    arch_prctl = 158
    if ctypes.CDLL(None).syscall(arch_prctl, PERMIT, TILE_DATA) != 0:
        return False
    rng = np.random.default_rng(0)
    steps, groups, padded = 3, 37, 48
    taps = rng.integers(-128, 128, (1, padded, 4 * groups))
    table = tile_table(taps, groups)
    words = rng.integers(0, 256, (groups * steps * LANES * 4 + words_slack(steps)), np.uint8)
    sums = np.zeros((2, padded, steps, LANES), np.int32)
    segment = np.array([words.ctypes.data, table.ctypes.data, table.strides[0], groups], np.int64)
    config = tile_config()
    addresses = (sums.ctypes.data, sums[1].ctypes.data, segment.ctypes.data, config.ctypes.data)
    _sum_both(*addresses, padded, steps)
    return bool((sums[0] == sums[1]).all())


@njit(cache=True, nogil=True)
def _sum_both(tiles: int, plain: int, segment: int, config: int, padded: int, steps: int) -> None:
    stride = 4 * LANES * steps
    open_tiles(config)
    sum_tiles(tiles, stride, segment, 1, padded, steps)
    close_tiles()
    sum_blocks(plain, stride, segment, 1, padded, steps)
