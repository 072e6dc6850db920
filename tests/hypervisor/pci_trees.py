"""PCI trees as the kernel shows them in /sys, made of plain files."""

from __future__ import annotations

from pathlib import Path

UNUSED_LINE = "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
LINES = 13
MEMORY = 0x14220C
PORTS = 0x40101


class PciTree:
    """A host's tree, with an IOMMU that is on unless it is said otherwise."""

    def __init__(self, root: Path, *, table: bool = True, iommu: bool = True, remapping: bool = True) -> None:
        self.root = root
        for folder in (
            "bus/pci/devices",
            "class/iommu",
            "firmware/acpi/tables",
            "kernel/irq/1",
            "kernel/irq/16",
        ):
            (root / folder).mkdir(parents=True)
        if table:
            (root / "firmware/acpi/tables/DMAR").touch()
        if iommu:
            (root / "class/iommu/dmar0").mkdir()
        (root / "kernel/irq/1/chip_name").write_text("IR-IO-APIC\n" if remapping else "IO-APIC\n")
        (root / "kernel/irq/16/chip_name").write_text("DMAR-MSI\n")

    def add(
        self,
        path: str,
        pci_id: str,
        kind: str,
        *,
        group: str = "",
        driver: str = "",
        bars: tuple[int, ...] = (),
        subsystem: str = "0000:0000",
        config: bytes = b"\xde\x10",
        **files: str,
    ) -> None:
        """Add a function below bridges: `0000:00:01.0/0000:01:00.0`; `files` are further ones and what is in them."""
        address = path.rpartition("/")[2]
        folder = self.root / "devices/pci0000:00" / path
        folder.mkdir(parents=True, exist_ok=True)
        lines = [f"DRIVER={driver}"] if driver else []
        lines += [
            f"PCI_CLASS={int(kind, 16):X}00",
            f"PCI_ID={pci_id.upper()}",
            f"PCI_SUBSYS_ID={subsystem.upper()}",
            f"PCI_SLOT_NAME={address}",
        ]
        vendor, device = subsystem.split(":")
        files = {
            "uevent": "\n".join(lines),
            "subsystem_vendor": f"0x{vendor}",
            "subsystem_device": f"0x{device}",
            "revision": "0xa1",
            "resource": resource(bars),
            **files,
        }
        for name, content in files.items():
            (folder / name).write_text(f"{content}\n")
        (folder / "config").write_bytes(config + bytes(62))
        link = self.root / "bus/pci/devices" / address
        link.symlink_to(Path("../../../devices/pci0000:00") / path)
        if group:
            members = self.root / "kernel/iommu_groups" / group / "devices"
            members.mkdir(parents=True, exist_ok=True)
            (members / address).symlink_to(folder)
            (folder / "iommu_group").symlink_to(members.parent)


def resource(bars: tuple[int, ...]) -> str:
    """As the kernel tells of BARs: ports first, because those do not count, then memory, unused ones and the ROM."""
    lines, at = [f"{0x3000:#018x} {0x307F:#018x} {PORTS:#018x}\n"], 0x3800_0000_0000
    for size in bars:
        at = -(-at // size) * size
        lines.append(f"{at:#018x} {at + size - 1:#018x} {MEMORY:#018x}\n")
        at += size
    lines += [UNUSED_LINE] * (6 - len(lines))
    rom = f"{0xFB000000:#018x} {0xFB07FFFF:#018x} {0x46200:#018x}\n"
    return "".join([*lines, rom, *[UNUSED_LINE] * (LINES - 7)])


def consumer_card(root: Path) -> PciTree:
    """A desktop with one card, which has audio and USB, is the screen, and belongs to the host's drivers."""
    tree = PciTree(root)
    port = "0000:00:01.0"
    tree.add("0000:00:00.0", "8086:4650", "0600", group="0")
    tree.add(port, "8086:460d", "0604", group="1", driver="pcieport")
    tree.add(
        f"{port}/0000:01:00.0",
        "10de:2684",
        "0300",
        group="1",
        driver="nouveau",
        subsystem="1043:889d",
        bars=(16 << 20, 32 << 30, 32 << 20),
        boot_vga="1",
        numa_node="-1",
        reset_method="bus",
    )
    tree.add(f"{port}/0000:01:00.1", "10de:22ba", "0403", group="1", driver="snd_hda_intel")
    tree.add(f"{port}/0000:01:00.2", "10de:1ad8", "0c03", group="1", driver="xhci_hcd")
    tree.add("0000:00:1f.3", "8086:7ad0", "0403", group="9", driver="snd_hda_intel")
    return tree


def hgx_board(root: Path, *, gpus: int = 8, others: int = 0) -> PciTree:
    """GPUs behind switches, two to each, half of them on either NUMA node; and the board's own screen."""
    tree = PciTree(root)
    tree.add("0000:00:1c.0/0000:02:00.0", "1a03:2000", "0300", group="200", driver="ast", boot_vga="1")
    for number in range(gpus):
        switch, port = divmod(number, 2)
        base = 0x10 * (switch + 1)
        above = f"0000:00:{switch + 2:02x}.0/0000:{base:02x}:00.0/0000:{base + 1:02x}:{port:02x}.0"
        tree.add(
            f"{above}/0000:{base + 2 + port:02x}:00.0",
            "10de:2330",
            "0302",
            group=str(100 + number),
            driver="vfio-pci",
            subsystem="10de:16c1",
            bars=(16 << 20, 128 << 30, 32 << 20),
            numa_node=str(number * 2 // gpus),
            reset_method="flr bus",
            sriov_numvfs="0",
        )
    for number in range(others):
        tree.add(f"0000:f{number >> 8:x}:{number >> 3 & 31:02x}.{number & 7}", "8086:0b25", "0880", group="7")
    return tree
