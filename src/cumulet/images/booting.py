"""What a disk starts by, read from its first sectors as a firmware reads them: pure.

0           MBR: code that a BIOS runs, four entries, a signature
512         GPT: a header, which says where its entries are; a UEFI starts from one that is an EFI system partition
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from cumulet.errors import Invalid
from cumulet.hypervisor import Firmware

SECTOR: Final = 512
LOOKED_AT: Final = 1 << 20
"""Bytes from the beginning, in which partition tables lie."""
BOOT_CODE: Final = slice(440)
MBR_ENTRIES: Final = slice(446, 510)
SIGNATURE: Final = slice(510, 512), b"\x55\xaa"
GPT_HEADER: Final = struct.Struct("<8s64xQII")
GPT_MAGIC: Final = b"EFI PART"
GPT_ENTRY: Final = struct.Struct("<16s16xQQ")
MOST_ENTRIES: Final = 1024
LARGEST_ENTRY: Final = 4096
PROTECTIVE: Final = 0xEE
"""The type of an MBR's entry that stands for a GPT."""
ESP_ON_MBR: Final = 0xEF
ESP: Final = UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b").bytes_le


@dataclass(frozen=True, slots=True)
class Partition:
    """An entry of a partition table."""

    end: int
    """The first byte after it."""
    is_esp: bool
    """An EFI system partition, in which a UEFI finds what it starts."""


def firmware_of(start: bytes, size: int) -> Firmware:
    """Tell what starts a disk of that many bytes, from its first `LOOKED_AT`; a BIOS where both could.

    Raises Invalid: nothing does, or a partition reaches over its end.
    """
    place, signature = SIGNATURE
    if start[place] != signature:
        raise Invalid("the disk is not bootable: it has no boot signature; it is empty or holds only data")
    partitions = [*mbr_partitions(start), *gpt_partitions(start)]
    end = max((partition.end for partition in partitions), default=0)
    if end > size:
        raise Invalid(f"the disk is truncated: its partitions reach to byte {end}, it has {size}")
    if any(start[BOOT_CODE]):
        return Firmware.BIOS
    if any(partition.is_esp for partition in partitions):
        return Firmware.UEFI
    raise Invalid("the disk is not bootable: it has neither code for a BIOS nor an EFI system partition")


def mbr_partitions(start: bytes) -> Iterator[Partition]:
    """Read the old table, without the entry that only stands for a GPT."""
    for kind, first, count in struct.iter_unpack("<4xB3xII", start[MBR_ENTRIES]):
        if kind not in {0, PROTECTIVE}:
            yield Partition((first + count) * SECTOR, is_esp=kind == ESP_ON_MBR)


def gpt_partitions(start: bytes) -> Iterator[Partition]:
    """Read the new table, if there is one."""
    header = start[SECTOR : SECTOR + GPT_HEADER.size]
    if not header.startswith(GPT_MAGIC):
        return
    _, first_entry, count, entry_size = GPT_HEADER.unpack(header)
    if count > MOST_ENTRIES or not GPT_ENTRY.size <= entry_size <= LARGEST_ENTRY:
        raise Invalid("the disk's partition table is damaged")
    for index in range(count):
        place = first_entry * SECTOR + index * entry_size
        entry = start[place : place + GPT_ENTRY.size]
        if len(entry) == GPT_ENTRY.size and any(entry[:16]):
            kind, _, last = GPT_ENTRY.unpack(entry)
            yield Partition((last + 1) * SECTOR, is_esp=kind == ESP)
