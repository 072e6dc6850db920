"""A kernel that does with a made-up PCI tree what is written into it: binds, resets, and lets VFIO be opened."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.hypervisor.pci_trees import PciTree

from cumulet.hypervisor import vfio

CONFIG_AT = 1 << 30
"""Where in the file of an open device its configuration space is."""


def busy(path: str) -> OSError:
    return OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)


class MadeUpKernel:
    """What it does to a tree below `root`, with levers."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Add to the tree what is written into, and listen from now on; `root` is where /sys and /dev are."""
        self.root, self.pci, self.vfio = root, root / "sys/bus/pci", root / "dev/vfio"
        self.written: list[str] = []
        """`FILE=TEXT`, the file below its device's or the bus's folder with the device's address before."""
        self.refusals: dict[str, int] = {}
        """What is not done, as in `written` up to the `=`, with the error that it gives instead."""
        self.in_use: set[str] = set()
        """IOMMU groups that a machine has open."""
        self.on_reset: Callable[[], None] = lambda: None
        """What comes of a reset."""
        self.registers: list[int] = []
        """What the GPU's register answers, one look after the other; the last one for good."""
        self.open_devices: dict[int, str] = {}
        self.module_is_there = True
        self._write, self._open, self._close = os.write, os.open, os.close
        self._furnish()
        monkeypatch.setattr(os, "write", self._on_write)
        monkeypatch.setattr(os, "open", self._on_open)
        monkeypatch.setattr(os, "close", self._on_close)
        monkeypatch.setattr(os, "pread", self._on_pread)
        monkeypatch.setattr(
            os, "pwrite", lambda _file, data, at: self.written.append(f"{at:#x}={data.hex()}")
        )
        monkeypatch.setattr(fcntl, "ioctl", self._on_ioctl)
        monkeypatch.setattr(subprocess, "run", self._on_run)

    def driver_of(self, address: str) -> str:
        """Name who has a function."""
        lines = (self.pci / "devices" / address / "uevent").read_text().splitlines()
        return next((line[7:] for line in lines if line.startswith("DRIVER=")), "")

    def break_off(self, address: str) -> None:
        """Have a function fall off the bus."""
        self.change(address, "config", b"\xff" * 64)

    def change(self, address: str, name: str, content: bytes) -> None:
        """Have another content in a function's file."""
        (self.pci / "devices" / address / name).write_bytes(content)

    def files_open(self, group: str) -> int:
        """Count how often this process has a group open."""
        return sum(
            link.readlink() == self.vfio / group for link in Path("/proc/self/fd").iterdir() if link.exists()
        )

    def _furnish(self) -> None:
        for folder in (self.pci / "drivers/vfio-pci", self.vfio):
            folder.mkdir(parents=True)
        for path in (self.pci / "drivers_probe", self.vfio / "vfio"):
            path.touch()
        for device in (self.pci / "devices").iterdir():
            (device / "driver_override").touch()
            (device / "reset").touch()
            if "PCI_CLASS=60400" in (device / "uevent").read_text():
                (device / "reset_subordinate").touch()
            if driver := self.driver_of(device.name):
                (self.pci / "drivers" / driver).mkdir(exist_ok=True)
                (self.pci / "drivers" / driver / "unbind").touch()
            if (device / "iommu_group").exists():
                (self.vfio / (device / "iommu_group").readlink().name).touch()

    def _on_write(self, file: int, data: bytes) -> int:
        path = Path(f"/proc/self/fd/{file}").readlink()
        if not path.is_relative_to(self.root):
            return self._write(file, data)
        where, text = f"{path.parent.name}/{path.name}", data.decode()
        if where in self.refusals:
            raise OSError(self.refusals[where], os.strerror(self.refusals[where]))
        self.written.append(f"{where}={text}")
        self._act(path, text)
        return len(data)

    def _act(self, path: Path, text: str) -> None:
        match path.name:
            case "driver_override" | "reset_method":
                path.write_text(text)
            case "unbind":
                assert self.driver_of(text) == path.parent.name
                self.let_go(text)
            case "drivers_probe" if not self.driver_of(text):
                self._probe(self.pci / "devices" / text)
            case "reset" | "reset_subordinate":
                self.on_reset()

    def let_go(self, address: str) -> None:
        """Have no driver for a function."""
        uevent = self.pci / "devices" / address / "uevent"
        uevent.write_text("\n".join(line for line in uevent.read_text().splitlines() if "DRIVER" not in line))

    def _probe(self, device: Path) -> None:
        if (device / "driver_override").read_text() == "vfio-pci" and "probe" not in self.refusals:
            (device / "uevent").write_text(f"DRIVER=vfio-pci\n{(device / 'uevent').read_text()}")

    def _on_open(self, path: os.PathLike[str] | str, flags: int, *rest: int, **named: int) -> int:
        if Path(path).parent == self.vfio and Path(path).name in self.in_use:
            raise busy(str(path))
        return self._open(path, flags, *rest, **named)

    def _on_close(self, file: int) -> None:
        self.open_devices.pop(file, None)
        self._close(file)

    def _on_pread(self, file: int, size: int, at: int) -> bytes:
        assert file in self.open_devices
        if at >= CONFIG_AT:
            return bytes(size)
        value = self.registers.pop(0) if len(self.registers) > 1 else self.registers[0]
        self.written.append(f"{self.open_devices[file]}/{at:#x}")
        return struct.pack("<I", value)

    def _on_ioctl(self, file: int, request: int, argument: bytearray | int = 0) -> int:
        name = Path(f"/proc/self/fd/{file}").readlink().name
        match request:
            case vfio.GROUP_GET_DEVICE_FD if "device" in self.refusals:
                raise OSError(self.refusals["device"], os.strerror(self.refusals["device"]))
            case vfio.GROUP_GET_DEVICE_FD:
                device = self._open(self.vfio / "vfio", os.O_RDWR)
                self.open_devices[device] = bytes(argument).rstrip(b"\0").decode()
                return device
            case vfio.DEVICE_GET_REGION_INFO:
                region = struct.unpack_from("=I", argument, 8)[0]
                struct.pack_into("=Q", argument, 24, CONFIG_AT if region == vfio.CONFIG else 0)
            case vfio.DEVICE_PCI_HOT_RESET:
                size, flags, count = struct.unpack_from("=III", argument)
                assert (size, flags, len(argument)) == (12 + 4 * count, 0, size)
                files = struct.unpack_from(f"={count}i", argument, 12)
                groups = sorted(Path(f"/proc/self/fd/{one}").readlink().name for one in files)
                if "hot_reset" in self.refusals:
                    raise OSError(self.refusals["hot_reset"], os.strerror(self.refusals["hot_reset"]))
                self.written.append(f"hot reset of {self.open_devices[file]} with groups {' '.join(groups)}")
                self.on_reset()
            case vfio.GROUP_SET_CONTAINER:
                assert Path(f"/proc/self/fd/{struct.unpack('i', argument)[0]}").readlink().name == "vfio"
            case vfio.SET_IOMMU:
                assert (name, argument) == ("vfio", vfio.TYPE1V2_IOMMU)
            case _:
                assert request == vfio.GROUP_UNSET_CONTAINER
        return 0

    def _on_run(self, argv: tuple[str, ...], **_: object) -> subprocess.CompletedProcess[str]:
        assert argv == ("modprobe", "vfio-pci")
        if not self.module_is_there:
            return subprocess.CompletedProcess(argv, 1, "", "FATAL: Module vfio-pci not found.\n")
        (self.pci / "drivers/vfio-pci").mkdir()
        return subprocess.CompletedProcess(argv, 0, "", "")


def a_card(root: Path, *, pci_id: str = "10de:2204", audio: bool = True, **files: str) -> PciTree:
    """A host with one GPU below a port of its own, for VMs already; `files` are the GPU's."""
    tree, port = PciTree(root / "sys"), "0000:00:01.0"
    tree.add(port, "8086:460d", "0604", group="1", driver="pcieport")
    files = {"reset_method": "bus", **files}
    for number, kind in enumerate(("0300", "0403") if audio else ("0300",)):
        tree.add(
            f"{port}/0000:01:00.{number}",
            pci_id if number == 0 else "10de:1aef",
            kind,
            group="1",
            driver="vfio-pci",
            **(files if number == 0 else {}),
        )
    return tree
