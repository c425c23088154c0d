"""What devices hold, with sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

DeviceName: TypeAlias = Literal[
    "ecp5-25k", "ecp5-45k", "ecp5-85k", "artix7-35t", "artix7-100t", "zynq-7020"
]


@dataclass(frozen=True, slots=True)
class Device:
    """What a device holds.

    Attributes:
        luts: Look-up tables; of 4 inputs in ECP5, of 6 in 7 series.
        registers: Flip-flops.
        blocks: Block memories of 18 kbit.
        multipliers: DSP slices.
        source: Where the figures come from.
    """

    luts: int
    registers: int
    blocks: int
    multipliers: int
    source: str


_ECP5 = "Lattice FPGA-DS-02012, ECP5 and ECP5-5G Family Data Sheet, table 1.1"
_SERIES7 = "AMD DS180, 7 Series FPGAs Data Sheet: Overview"
_ZYNQ = "AMD DS190, Zynq-7000 SoC Data Sheet: Overview"

DEVICES: dict[DeviceName, Device] = {
    "ecp5-25k": Device(24_000, 24_000, 56, 28, _ECP5),
    "ecp5-45k": Device(44_000, 44_000, 108, 72, _ECP5),
    "ecp5-85k": Device(84_000, 84_000, 208, 156, _ECP5),
    "artix7-35t": Device(20_800, 41_600, 100, 90, _SERIES7),
    "artix7-100t": Device(63_400, 126_800, 270, 240, _SERIES7),
    "zynq-7020": Device(53_200, 106_400, 280, 220, _ZYNQ),
}
"""Devices by name; 7 series' blocks of 36 kbit count as two."""
