"""What the compiled driver works on: a layer and one run of it, as addresses and sizes."""

from __future__ import annotations

from typing import NamedTuple

# Columns of the int64 rows of links and pieces.
L_ADDR, L_BLOCK, L_ROW, L_PIXEL, L_HEIGHT, L_WIDTH, L_DOWN, L_RIGHT, L_COLUMNS = range(9)
(
    P_LINK,
    P_DY,
    P_DX,
    P_WORDS,
    P_TABLE,
    P_PAIR,
    P_GROUPS,
    P_SHIFTS,
    P_CHUNK,
    P_TAPS,
    P_TAP_BYTES,
    P_LAST_BYTES,
    P_COLUMNS,
) = range(13)
C_ADDR, C_PIXEL, C_COUNT, C_SIZE, C_COLUMNS = range(5)
"""Columns of a current (int64): its address, bytes of a pixel, how many vectors to add, and bytes
of an element."""
FIRES, KEEPS = 1, 2
"""Flags of a run: neurons fire (else currents are the result); potentials are kept."""


class Fixed(NamedTuple):
    """What a compiled layer is, whatever it runs on; names of arrays stand for their addresses."""

    lookups: int
    """Whether its links are lookup words; else they are bytes or halves."""
    wide: int
    """Sums, thresholds or initial potentials may leave 16 bits."""
    chunks: int
    sums: int
    """int64 kind of sums of each chunk: LUT, DOT, TILES or WIDE."""
    exponents: int
    """int64 address of the weight exponents of each chunk (channel,), int64; 0 for none."""
    kernels: int
    """int64 addresses of the code that sums 1, 2, 4 and 8 steps of each chunk (`tile_kernels`)."""
    scan16: int
    split16: int
    scan32: int
    split32: int
    """Addresses of the code that scans neurons; `split`: of pairs whose spikes of both signs go to
    words of their own, 0 where there are none."""
    hardware: int
    """Whether sums of kind TILES run in hardware."""
    rule: int
    """What is sent: UNIT, POWERS or WHOLE."""
    levels: int
    """Of POWERS."""
    window: int
    """Neurons integrate all steps before they fire."""
    gain: int
    """What a window multiplies the sum of its currents by: more than 1 where one stands for all."""
    doubles: int
    """What gathered currents and thresholds are shifted by from step to step."""
    mirrored: int
    """Whether v0 of a window counts away from 0 where its sum is negative."""
    quad_words: int
    """Words of four channels of the result: of bytes 1, of halves 2; 0 for lookup words."""
    zero_word: int
    """The output word that stands for no spikes."""
    low: int
    high: int
    """Smallest and largest potential of the declared width."""
    padded: int
    """Channels, rounded up to whole register tiles."""
    pieces: int
    piece_count: int
    zeros: int
    """int64 zero-point contributions (piece, tap, channel)."""
    taps: int
    bias: int
    bias_rows: int
    """int32 (pixel or 1, channel)."""
    v0: int
    v0_rows: int
    neurons: int
    """int64 (pixel or 1, channel, column)."""
    neuron_rows: int
    currents: int
    """How many sums of layers before are added."""
    pairs: int
    """Address of the code that runs channel pairs from spikes to spikes; 0 where there is none."""
    shared_words: int
    """Whether several pairs write the same lookup words."""


class Work(NamedTuple):
    """One run of a layer: its input, results and scratch; arrays by address."""

    links: int
    lanes: int
    """int64 bit mask of the samples in each block."""
    flags: int
    steps: int
    steps_in: int
    height: int
    width: int
    out: int
    """Words (block, y, x, group, t, lane), or currents (block, y, x, channel, t, lane)."""
    out_vectors: int
    """Vectors of a pixel of `out`."""
    out_block: int
    out_row: int
    out_pixel: int
    out_group: int
    """Bytes of `out` from one to the next."""
    counts: int
    """How many samples fired (block, pixel, channel, t), bytes."""
    units: int
    """How many samples sent a payload of 1 or -1, as `counts`; unused by unit spikes."""
    currents: int
    """int64 rows of the sums that are added."""
    sums: int
    """What neurons receive (block, pixel, channel, t, lane), for layers that follow; or 0."""
    kept: int
    """Potentials (block, row - top, x, channel, t, lane) of `rows` rows, or one dummy vector."""
    rows: int
    top: int
    bottom: int
    """Output rows to run: from `top` to before `bottom`."""
    acc16: int
    acc32: int
    """Accumulators of a pixel (channel, t, lane)."""
    unshifted: int
    """As acc32, zero but while a chunk with exponents is summed."""
    gathered: int
    """Currents of a pixel (channel, t, lane) for neurons with a window, int32."""
    start: int
    """What the accumulators of a pixel start with (channel), int32."""
    pixels: int
    """How many pixels are run at a time."""
    segments: int
    segment_counts: int
    """int64 of each of these pixels."""
    fields: int
    """int64 fields of `pairs`."""
    starts: int
    config: int
    """Operand of LDTILECFG."""
    pattern: int
    """int64: how many segments the pixel before had, then piece and taps of each."""
