"""The compiled driver: sums a layer's links and scans its neurons, block by block.

All state is passed as integers (addresses and sizes): arrays would cost reference counts per pixel.
"""

from __future__ import annotations

from numba import njit

from spikec.runtime.fast.machine import call2, call19
from spikec.runtime.fast.matrix import close_tiles, open_tiles, sum_blocks, sum_tiles
from spikec.runtime.fast.neurons import COLUMNS, I16_MAX, SPLIT
from spikec.runtime.fast.pairs import ADDED, COUNTS, LANE_MASK, OUT, PIXELS, SUMS
from spikec.runtime.fast.state import (
    C_ADDR,
    C_COLUMNS,
    C_COUNT,
    C_PIXEL,
    C_SIZE,
    FIRES,
    KEEPS,
    L_ADDR,
    L_BLOCK,
    L_COLUMNS,
    L_DOWN,
    L_HEIGHT,
    L_PIXEL,
    L_RIGHT,
    L_ROW,
    L_WIDTH,
    P_CHUNK,
    P_COLUMNS,
    P_DX,
    P_DY,
    P_GROUPS,
    P_LAST_BYTES,
    P_LINK,
    P_PAIR,
    P_SHIFTS,
    P_TABLE,
    P_TAP_BYTES,
    P_TAPS,
    P_WORDS,
    Fixed,
    Work,
)
from spikec.runtime.fast.sums import sum_pairs
from spikec.runtime.fast.tiles import LUT, PAIR, QUAD, SEGMENT, TILES
from spikec.runtime.fast.vector import (
    LANES,
    add16,
    add16to32,
    add_shifted16,
    add_shifted32,
    add_vectors32,
    copy_vectors,
    fill16,
    fill32,
    gather,
    get32,
    get64,
    narrow,
    put32,
    put64,
    repeat32,
    start16,
    start32,
    widen,
)


@njit(cache=True, nogil=True, inline="always")
def _out_place(w: Work, block: int, y: int, x: int) -> int:
    """Address of a pixel of the result."""
    return w.out + block * w.out_block + y * w.out_row + x * w.out_pixel


@njit(cache=True, nogil=True, inline="always")
def _find_segments(f: Fixed, w: Work, seg: int, block: int, y: int, x: int) -> int:
    """Segments of an output pixel (padding skipped), and where each chunk of them starts."""
    starts = w.starts
    count, chunk = 0, 0
    put64(starts, 0)
    for p in range(f.piece_count):
        piece = f.pieces + 8 * P_COLUMNS * p
        while chunk < get64(piece + 8 * P_CHUNK):
            chunk += 1
            put64(starts + 8 * chunk, count)
        link = w.links + 8 * L_COLUMNS * get64(piece + 8 * P_LINK)
        iy = y * get64(link + 8 * L_DOWN) + get64(piece + 8 * P_DY)
        ix = x * get64(link + 8 * L_RIGHT) + get64(piece + 8 * P_DX)
        lo = max(0, -ix)
        hi = min(get64(piece + 8 * P_TAPS), get64(link + 8 * L_WIDTH) - ix)
        if 0 <= iy < get64(link + 8 * L_HEIGHT) and lo < hi:
            at = get64(link + 8 * L_ADDR) + block * get64(link + 8 * L_BLOCK)
            at += iy * get64(link + 8 * L_ROW) + (ix + lo) * get64(link + 8 * L_PIXEL)
            put64(seg, at + get64(piece + 8 * P_WORDS))
            table = get64(piece + 8 * P_TABLE) + lo * get64(piece + 8 * P_TAP_BYTES)
            put64(seg + 8, table + (hi - 1) * get64(piece + 8 * P_LAST_BYTES))
            put64(seg + 16, get64(piece + 8 * P_PAIR))
            put64(seg + 24, get64(piece + 8 * P_GROUPS) * (hi - lo))
            put64(seg + 32, get64(piece + 8 * P_SHIFTS))
            put64(seg + 40, p)
            put64(seg + 48, lo)
            put64(seg + 56, hi)
            seg += 8 * SEGMENT
            count += 1
    while chunk < f.chunks:
        chunk += 1
        put64(starts + 8 * chunk, count)
    return count


@njit(cache=True, nogil=True, inline="always")
def _same_taps(w: Work, count: int) -> bool:
    """Whether the segments are those of the pixel before, but for their place; keeps them."""
    same = get64(w.pattern) == count
    put64(w.pattern, count)
    for s in range(count):
        seg, kept = w.segments + 8 * SEGMENT * s, w.pattern + 8 + 24 * s
        for k in range(3):
            value = get64(seg + 40 + 8 * k)
            same = same and get64(kept + 8 * k) == value
            put64(kept + 8 * k, value)
    return same


@njit(cache=True, nogil=True, inline="always")
def _start_dot(f: Fixed, w: Work, count: int, bias: int) -> None:
    """Set accumulators to the bias less the zero-point contribution of the segments."""
    if not _same_taps(w, count) or f.bias_rows > 1:
        for c in range(f.padded):
            value = get32(bias + 4 * c)
            for s in range(count):
                seg = w.segments + 8 * SEGMENT * s
                sums = f.zeros + 8 * (get64(seg + 40) * f.taps * f.padded + c)
                for tap in range(get64(seg + 48), get64(seg + 56)):
                    value -= get64(sums + 8 * tap * f.padded)
            put32(w.start + 4 * c, value)
    start32(w.acc32, w.start, f.padded, w.steps_in)


@njit(cache=True, nogil=True, inline="always")
def _start_pixel(f: Fixed, w: Work, count: int, pixel: int) -> None:
    """Set the accumulators of a pixel to what its neurons receive without spikes."""
    size = f.padded * w.steps_in
    bias = f.bias + 4 * f.padded * (pixel % f.bias_rows)
    if f.lookups == 0 and f.zeros != 0:
        _start_dot(f, w, count, bias)
    elif f.lookups == 0:
        start32(w.acc32, bias, f.padded, w.steps_in)
    elif f.wide != 0:
        start32(w.acc32, bias, f.padded, w.steps_in)
        fill16(w.acc16, size, 0)
    else:
        start16(w.acc16, bias, f.padded, w.steps_in)


@njit(cache=True, nogil=True, inline="always")
def _add_currents(f: Fixed, w: Work, place: int) -> None:
    """Add what layers before have summed for pixel `place` of all blocks."""
    for k in range(f.currents):
        row = w.currents + 8 * C_COLUMNS * k
        at = get64(row + 8 * C_ADDR) + place * get64(row + 8 * C_PIXEL)
        count = get64(row + 8 * C_COUNT)
        if get64(row + 8 * C_SIZE) == 4:
            add_vectors32(at, w.acc32, count)
        elif f.wide != 0 or f.lookups == 0:
            add16to32(at, w.acc32, count)
        else:
            add16(at, w.acc16, count)


@njit(cache=True, nogil=True, inline="always")
def _keep_sums(f: Fixed, w: Work, place: int) -> None:
    """Copy the sums of pixel `place` of all blocks for layers that follow."""
    size = f.padded * w.steps
    if f.wide != 0 or f.lookups == 0:
        copy_vectors(w.acc32, w.sums + 128 * size * place, 2 * size)
    else:
        copy_vectors(w.acc16, w.sums + 64 * size * place, size)


@njit(cache=True, nogil=True, inline="always")
def _sum_chunk(f: Fixed, w: Work, chunk: int, segs: int, count: int) -> None:
    """Add the segments of one chunk into the accumulators, shifted where it has exponents."""
    steps, kind = w.steps_in, get64(f.sums + 8 * chunk)
    exponents, kernels = get64(f.exponents + 8 * chunk), f.kernels + 32 * chunk
    acc32 = w.acc32 if exponents == 0 else w.unshifted
    if kind != TILES:
        acc = w.acc16 if kind == LUT else acc32
        sum_pairs(kernels, kind == LUT, acc, segs, count, f.padded // PAIR, steps)
    elif f.hardware != 0:
        sum_tiles(acc32, steps * 128, segs, count, f.padded, steps)
    else:
        sum_blocks(acc32, steps * 128, segs, count, f.padded, steps)
    if exponents != 0 and kind == LUT:
        add_shifted16(w.acc16, w.acc32, exponents, f.padded, steps)
    elif exponents != 0:
        add_shifted32(w.unshifted, w.acc32, exponents, f.padded, steps)
    elif kind == LUT and f.wide != 0:
        widen(w.acc16, w.acc32, f.padded * steps)


@njit(cache=True, nogil=True, inline="always")
def _sum_links(f: Fixed, w: Work) -> None:
    """Add all segments into the accumulators."""
    for chunk in range(f.chunks):
        first = get64(w.starts + 8 * chunk)
        count = get64(w.starts + 8 * (chunk + 1)) - first
        if count > 0:
            _sum_chunk(f, w, chunk, w.segments + 8 * SEGMENT * first, count)


@njit(cache=True, nogil=True)
def _scan_pixel(f: Fixed, w: Work, cur: int, steps_in: int, to: int, block: int, pixel: int) -> int:
    """Scan every channel of a pixel, whose currents are of `steps_in` steps.

    Returns 1 when a potential left its range.
    """
    bits = 16 if cur == w.acc16 else 32
    step = bits * 4 if steps_in == w.steps else 0
    channel = bits * 4 * steps_in
    v0 = f.v0 + 4 * f.padded * (pixel % f.v0_rows)
    rows = f.neurons + 8 * COLUMNS * f.padded * (pixel % f.neuron_rows)
    place = (block * w.height * w.width + pixel) * f.padded * w.steps
    lanes = get64(w.lanes + 8 * block)
    kept, kept_step = w.kept, 0
    if w.flags & KEEPS != 0:
        row = block * w.rows + pixel // w.width - w.top
        kept += 128 * (row * w.width + pixel % w.width) * f.padded * w.steps
        kept_step = 128
    high, low, scan, split = f.high, f.low, f.scan32, f.split32
    if bits == 16:
        scan, split = f.scan16, f.split16
        high, low = min(high, I16_MAX - 1), max(low, -I16_MAX)
    size, channels, group = PAIR, f.padded, 0
    if f.quad_words != 0:
        size, group = QUAD, 4 * LANES * w.steps * f.quad_words
        channels = QUAD * w.out_vectors // (w.steps * f.quad_words)
    else:
        for at in range(to, to + w.out_vectors // w.steps * w.out_group, w.out_group):
            fill16(at, w.steps, 0)
    bad = 0
    for c in range(0, channels, size):
        row = rows + 8 * COLUMNS * c
        bad |= call19(
            split if split != 0 and get64(row + 8 * SPLIT) != 0 else scan,
            cur + c * channel,
            channel,
            step,
            to + c // size * group,
            w.steps,
            row,
            v0 + 4 * c,
            w.counts + place + c * w.steps,
            lanes,
            high,
            low,
            kept + c * kept_step * w.steps,
            kept_step * w.steps,
            kept_step,
            f.zero_word,
            f.doubles,
            f.levels,
            w.units + place + c * w.steps,
            4 * LANES * w.steps * (f.quad_words // 2),
        )
    return bad


@njit(cache=True, nogil=True, inline="always")
def _finish_pixel(f: Fixed, w: Work, block: int, pixel: int) -> int:
    """Turn a pixel's currents into spikes, or copy them out; 1 when a width overflows."""
    size = f.padded * w.steps_in
    to = _out_place(w, block, pixel // w.width, pixel % w.width)
    if f.wide == 0 and f.window == 0 and w.flags == FIRES:
        if f.lookups == 0:
            narrow(w.acc32, w.acc16, size)
        if _scan_pixel(f, w, w.acc16, w.steps_in, to, block, pixel) == 0:
            return 0
    if f.wide == 0 and f.lookups != 0:
        fill32(w.acc32, size, 0)
        widen(w.acc16, w.acc32, size)
    if w.flags & FIRES == 0:
        repeat32(w.acc32, to, f.padded, w.steps_in, w.steps)
        return 0
    if f.window != 0:
        v0 = f.v0 + 4 * f.padded * (pixel % f.v0_rows)
        sizes = (f.padded, w.steps_in, w.steps)
        gather(w.acc32, w.gathered, *sizes, f.gain, f.doubles, v0, f.mirrored)
        return _scan_pixel(f, w, w.gathered, w.steps, to, block, pixel)
    return _scan_pixel(f, w, w.acc32, w.steps_in, to, block, pixel)


@njit(cache=True, nogil=True)
def _run_pixel(f: Fixed, w: Work, block: int, y: int, x: int) -> int:
    """Run a pixel; 1 when a potential left its width."""
    pixel = y * w.width + x
    place = block * w.height * w.width + pixel
    count = _find_segments(f, w, w.segments, block, y, x)
    _start_pixel(f, w, count, pixel)
    _add_currents(f, w, place)
    _sum_links(f, w)
    if w.sums != 0:
        _keep_sums(f, w, place)
    return _finish_pixel(f, w, block, pixel)


@njit(cache=True, nogil=True)
def _run_pairs(f: Fixed, w: Work, block: int, y: int, x: int, pixels: int) -> int:
    """Run some pixels pair by pair; 1 when a potential left the limits of the kernel."""
    size = 8 * SEGMENT * f.piece_count
    for k in range(pixels):
        count = _find_segments(f, w, w.segments + size * k, block, y, x + k)
        put64(w.segment_counts + 8 * k, count)
    place = (block * w.height + y) * w.width + x
    to = _out_place(w, block, y, x)
    if f.quad_words != 0:
        fill32(to, pixels * w.out_vectors, f.zero_word)
    elif f.shared_words != 0:
        fill16(to, pixels * w.out_vectors, 0)
    put64(w.fields + 8 * PIXELS, pixels)
    put64(w.fields + 8 * OUT, to)
    put64(w.fields + 8 * COUNTS, w.counts + place * f.padded * w.steps)
    put64(w.fields + 8 * LANE_MASK, get64(w.lanes + 8 * block))
    if f.currents != 0:
        at = get64(w.currents + 8 * C_ADDR) + place * get64(w.currents + 8 * C_PIXEL)
        put64(w.fields + 8 * ADDED, at)
    if w.sums != 0:
        put64(w.fields + 8 * SUMS, w.sums + 64 * f.padded * w.steps * place)
    bad = 0
    for pair in range(f.padded // PAIR):
        bad |= call2(f.pairs, w.fields, pair)
    return bad


@njit(cache=True, nogil=True)
def run_blocks(f: Fixed, w: Work, blocks: int) -> int:
    """Run rows of a layer on all blocks; 1 when a potential left its width."""
    bad = 0
    if f.hardware != 0:
        open_tiles(w.config)
    for block in range(blocks):
        for y in range(w.top, w.bottom):
            for first in range(0, w.width, w.pixels):
                end = min(w.width, first + w.pixels)
                done = False
                if f.pairs != 0 and w.flags == FIRES:
                    done = _run_pairs(f, w, block, y, first, end - first) == 0
                for x in range(end if done else first, end):
                    bad |= _run_pixel(f, w, block, y, x)
    if f.hardware != 0:
        close_tiles()
    return bad
