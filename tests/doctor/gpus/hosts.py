"""Hosts with GPUs as trees of plain files, programs that only write down that they were called, and reboots."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.hypervisor.pci_trees import PciTree

from cumulet.doctor.command import CommandFailed
from cumulet.doctor.gpus.plan import GpuPlan, GpuWish, decide
from cumulet.doctor.gpus.prepare import carry_out, give_back, look
from cumulet.doctor.gpus.survey import Survey

RTX = "10de:2684"
H100 = "10de:2330"
RADEON = "1002:744c"
HUGEPAGES = "sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages"


class Host:
    """A Debian with GRUB, systemd and initramfs-tools, unless a test takes one away; its IOMMU is Intel's, and on."""

    def __init__(self, root: Path, **iommu: bool) -> None:
        self.root = root
        self.pci = PciTree(root / "sys", **iommu)
        self.ran: list[tuple[str, ...]] = []
        self.fails: str = ""
        """Lever: the program that fails."""
        for path, text in {
            "proc/cmdline": "BOOT_IMAGE=/vmlinuz root=/dev/sda1 quiet",
            "proc/meminfo": f"MemTotal: {64 << 20} kB",
            "proc/sys/kernel/random/boot_id": "boot 1",
            "etc/default/grub": "",
            "usr/sbin/update-grub": "",
            "run/systemd/system/unit": "",
            "etc/initramfs-tools/modules": "",
            HUGEPAGES: "0",
            "sys/bus/pci/drivers/vfio-pci/bind": "",
            "bin/modprobe": "#!/bin/sh\n",
        }.items():
            self.write(path, text)
        (root / "bin/modprobe").chmod(0o755)

    def write(self, path: str, text: str) -> None:
        """Write a file of the host's own."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def card(self, bus: int, pci_id: str = RTX, driver: str = "", *, audio: str = "", **files: str) -> str:
        """Plug a card in below a port of its own; gives its address."""
        port, address = f"0000:00:{bus:02x}.0", f"0000:{bus:02x}:00.0"
        self.pci.add(port, "8086:460d", "0604", group=str(bus), driver="pcieport")
        self.pci.add(
            f"{port}/{address}",
            pci_id,
            "0300",
            group=str(bus),
            driver=driver,
            **{"reset_method": "bus", **files},
        )
        self.pci.add(f"{port}/{address[:-1]}1", f"{pci_id[:4]}:22ba", "0403", group=str(bus), driver=audio)
        return address

    def read(self, path: str) -> str:
        """Read a file."""
        return (self.root / path).read_text()

    def override(self, address: str) -> str:
        """Which driver alone may take a function."""
        path = self.root / "sys/bus/pci/devices" / address / "driver_override"
        return path.read_text().strip() if path.exists() else ""

    def files(self) -> dict[str, str]:
        """All that is in /etc."""
        return {
            str(path.relative_to(self.root)): path.read_text()
            for path in (self.root / "etc").rglob("*")
            if path.is_file()
        }

    def run(self, argv: tuple[str, ...]) -> None:
        """Write down what is run; shell scripts run indeed."""
        if argv[0] == self.fails:
            raise CommandFailed(f"{argv[0]}: no space left on device")
        if argv[0] == "sh":
            subprocess.run(argv, check=True, env={"PATH": f"{self.root}/bin:/usr/bin:/bin"})
        else:
            self.ran.append(argv)

    def survey(self) -> Survey:
        """Look at it."""
        return look(self.root)

    def plan(self, *addresses: str, hugepages: int | None = None) -> GpuPlan:
        """Plan for it."""
        return decide(self.survey(), GpuWish(addresses, hugepages))

    def prepare(
        self, *addresses: str, hugepages: int | None = None, report: Callable[[str], None] = lambda _: None
    ) -> GpuPlan:
        """Prepare it."""
        return carry_out(GpuWish(addresses, hugepages), self.root, self.run, report)

    def undo(self) -> list[str]:
        """Take back what was done."""
        return give_back(self.root, self.run, lambda _: None)

    def reboot(self, *command_line: str) -> None:
        """Start it anew: nothing is overridden, and no driver has been found yet."""
        self.write("proc/sys/kernel/random/boot_id", f"{self.read('proc/sys/kernel/random/boot_id')}+")
        if command_line:
            self.write("proc/cmdline", " ".join(command_line))
        for path in (self.root / "sys/bus/pci/devices").glob("*/driver_override"):
            path.unlink()

    def drive(self, address: str, driver: str) -> None:
        """Let a driver take a function, or none."""
        path = self.root / "sys/bus/pci/devices" / address / "uevent"
        lines = [line for line in path.read_text().splitlines() if not line.startswith("DRIVER=")]
        path.write_text("\n".join([*([f"DRIVER={driver}"] if driver else []), *lines]))


def step(plan: GpuPlan, name: str):
    """The one step of that name."""
    (found,) = [one for one in plan.steps if one.name == name]
    return found
