"""A guest that is a script of GRUB's: what it sees of a card that it was given, and how far that reaches. Pure.

    0xcf8, 0xcfc ──▶ ids, BARs, bus mastering of each function ──▶ serial console ──▶ `read_proof`

GRUB starts from the first sector of a disk, in less than a second, and reads and writes ports and memory by commands of
its own, so that there is nothing to compile and no kernel to carry along.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

from cumulet.hypervisor.errors import HypervisorError
from cumulet.hypervisor.gpus import Proof, SeenDma, SeenFunction

CARD_BUS: Final = 1
"""Of the first root port: firmware counts so."""
MODULES: Final = ("biosdisk", "serial", "iorw", "memrw", "regexp", "echo", "halt", "sleep")
"""GRUB's, that the script needs."""
MEMORY_MIB: Final = 64

# Registers of a function's configuration space.
IDS: Final = 0x00
COMMAND: Final = 0x04
BARS: Final = tuple(range(0x10, 0x28, 4))
NOTHING: Final = 0xFFFFFFFF
"""What is read where there is no function."""
MEMORY: Final = 2
BUS_MASTER: Final = 4

# QEMU's edu, a device that copies memory when it is told to: registers above its one BAR, and its own memory.
EDU: Final = "1234:11e8"
SOURCE, TARGET, COUNT, START = "080", "088", "090", "098"
INTO_DEVICE: Final = 1
OUT_OF_DEVICE: Final = 3
DEVICE_MEMORY: Final = 0x40000
PATTERN: Final = 0x5A5A0001
HERE: Final = 0x50000
"""Memory below 640 KiB that GRUB has no use for."""
THERE: Final = HERE + 0x10
BACK: Final = HERE + 0x20
OUTSIDE: Final = 0x0F000000
"""Above the guest's memory, and within the 28 bits that the device can name."""


def proof_script(functions: Mapping[int, str]) -> str:
    """Write what the guest does; of each function by its number, the host knows vendor and device."""
    lines = [
        "serial --unit=0 --speed=115200",
        "terminal_output serial",
        "echo begin",
        *(line for number in functions for line in look_at(number)),
        *(line for number, pci_id in functions.items() if pci_id == EDU for line in try_dma(number)),
        "echo end",
        "halt",
    ]
    return "".join(f"{line}\n" for line in lines)


def look_at(function: int) -> Iterator[str]:
    """Tell what a function's registers hold, once it was allowed to reach memory."""
    yield from (select(function, COMMAND), f"outl 0xcfc {MEMORY | BUS_MASTER:#x}")
    for register in (IDS, COMMAND, *BARS):
        yield from (
            select(function, register),
            "inl -v value 0xcfc",
            f"echo config {function} {register} ${{value}}",
        )


def select(function: int, register: int) -> str:
    """Choose the register that 0xcfc then is."""
    return f"outl 0xcf8 {1 << 31 | CARD_BUS << 16 | function << 8 | register:#x}"


def try_dma(function: int) -> Iterator[str]:
    """Have the device copy from the guest's memory to elsewhere in it; and from, and to, where the guest has none."""
    yield from (select(function, BARS[0]), "inl -v bar 0xcfc", "regexp --set 1:base '(.*)...' ${bar}")
    yield f"write_dword {HERE:#x} {PATTERN:#x}"
    yield from (*copy(HERE, DEVICE_MEMORY, INTO_DEVICE), *copy(DEVICE_MEMORY, THERE, OUT_OF_DEVICE))
    yield from (f"read_dword -v value {THERE:#x}", "echo dma inside ${value}")
    yield from (*copy(OUTSIDE, DEVICE_MEMORY, INTO_DEVICE), *copy(DEVICE_MEMORY, BACK, OUT_OF_DEVICE))
    yield from (f"read_dword -v value {BACK:#x}", "echo dma outside ${value}")
    yield from (*copy(HERE, DEVICE_MEMORY, INTO_DEVICE), *copy(DEVICE_MEMORY, OUTSIDE, OUT_OF_DEVICE))


def copy(source: int, target: int, direction: int) -> Iterator[str]:
    """Have the device copy four bytes, which takes it a tenth of a second."""
    for register, value in ((SOURCE, source), (TARGET, target), (COUNT, 4), (START, direction)):
        yield f"write_dword 0x${{base}}{register} {value:#x}"
    yield "sleep 1"


def read_proof(report: str) -> Proof:
    """Read what the guest told; HypervisorError when it did not come to its end."""
    registers: dict[int, dict[int, int]] = defaultdict(dict)
    dma: dict[str, int] = {}
    words = [line.split() for line in report.splitlines()]
    for line in words:
        match line:
            case ["config", function, register, value]:
                registers[int(function)][int(register)] = int(value, 16)
            case ["dma", where, value]:
                dma[where] = int(value, 16)
    if ["end"] not in words:
        raise HypervisorError(
            f"the proof guest did not come to its end; it said: {report.strip() or 'nothing'}"
        )
    return Proof(
        functions=tuple(seen_function(found) for found in registers.values()),
        dma=SeenDma(inside=dma["inside"] == PATTERN, outside=dma["outside"]) if dma else None,
    )


def seen_function(registers: Mapping[int, int]) -> SeenFunction:
    """Say what the registers mean."""
    ids = registers[IDS]
    return SeenFunction(
        pci_id=f"{ids & 0xFFFF:04x}:{ids >> 16:04x}",
        bars=tuple(registers[bar] for bar in BARS),
        masters_bus=ids != NOTHING and bool(registers[COMMAND] & BUS_MASTER),
    )
