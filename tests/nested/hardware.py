"""Stand-ins for what real hosts have in their slots, each for what it cannot do as much as for what it can."""

from __future__ import annotations

from typing import Final

from tests.nested.machine import VTD


def root_port(name: str, slot: int, *devices: str) -> tuple[str, ...]:
    """Put functions of one card behind a root port of their own."""
    port = f"pcie-root-port,id={name},bus=pcie.0,chassis={slot},addr={slot:#x}"
    together = ",multifunction=on" if len(devices) > 1 else ""
    functions = (f"{device},bus={name},addr=0.{number}{together}" for number, device in enumerate(devices))
    return with_devices(port, *functions)


def with_devices(*devices: str) -> tuple[str, ...]:
    """Name devices as QEMU wants it."""
    return tuple(word for device in devices for word in ("-device", device))


BOARD: Final = with_devices("VGA,bus=pcie.0,addr=0x7")
"""The board's own screen, so that none of the cards is it."""
CARD: Final = root_port("card", 8, "ati-vga", "intel-hda", "edu")
"""A GPU with its audio, and a part that copies memory to where it is told to, as GPUs do: `0000:01:00`."""
NIC: Final = root_port("nic", 9, "e1000e")
"""A device that reports errors as PCI Express has it: `0000:02:00`."""
FIXED: Final = with_devices("ati-vga,bus=pcie.0,addr=0xb")
"""A GPU that nothing resets: `0000:00:0b`."""
SHARED: Final = with_devices(
    "pcie-pci-bridge,id=shared,bus=pcie.0,addr=0xc", "ati-vga,bus=shared,addr=1", "edu,bus=shared,addr=2"
)
"""A GPU and a stranger in one IOMMU group."""
NODES: Final = (
    *("-object", "memory-backend-ram,id=near,size=768M", "-numa", "node,nodeid=0,cpus=0,memdev=near"),
    *("-object", "memory-backend-ram,id=far,size=256M", "-numa", "node,nodeid=1,cpus=1,memdev=far"),
)
SWITCH: Final = with_devices(
    "pxb-pcie,id=socket,bus=pcie.0,bus_nr=0x80,numa_node=1,addr=0xd",
    "pcie-root-port,id=uplink,bus=socket,chassis=128",
    "x3130-upstream,id=switch,bus=uplink",
    *(
        f"xio3130-downstream,id=down{number},bus=switch,chassis={129 + number},slot={number}"
        for number in (0, 1)
    ),
    "ati-vga,bus=down0",
    "ati-vga,bus=down1",
)
"""Two GPUs behind a switch on the second node."""
DISK: Final = root_port("disk", 14, "nvme,serial=disk")
"""A device that can reset itself."""
ALL: Final = (*VTD, *NODES, *BOARD, *CARD, *NIC, *FIXED, *SHARED, *SWITCH, *DISK)
