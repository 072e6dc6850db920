"""Runs the proof guest (`proof_guest`) with a GPU: a machine that libvirt forgets when it ends, or with our connection."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from time import monotonic, sleep
from typing import Final

import libvirt

from cumulet.hypervisor import GpuSpec, HypervisorError, PciGpu, Proof
from cumulet.hypervisor.libvirt.connection import Connection
from cumulet.hypervisor.libvirt.domains import absent_is_fine
from cumulet.hypervisor.libvirt.elements import element, render
from cumulet.hypervisor.libvirt.gpu_xml import card, root_port
from cumulet.hypervisor.libvirt.paths import HostPaths
from cumulet.hypervisor.libvirt.pools import make_passable
from cumulet.hypervisor.proof_guest import CARD_BUS, MEMORY_MIB, MODULES, proof_script, read_proof

GRUB: Final = Path("/usr/lib/grub/i386-pc")
DISK_BYTES: Final = 1 << 20
"""More than GRUB fills: it reads whole tracks, and stops where one ends early."""
SECONDS: Final = 40.0
"""Under KVM it takes two, and some ten where everything is emulated twice; who waits for it may do so for a minute."""
LOOK_SECONDS: Final = 0.2


def run_proof_guest(gpu: PciGpu, *, connection: Connection, paths: HostPaths) -> Proof:
    """Start the guest with a GPU that is bound for VMs, wait for its end and read what it told."""
    functions = tuple(one.address for one in gpu.functions)
    with tempfile.TemporaryDirectory(prefix="proof-", dir=paths.root) as name:
        folder = Path(name)
        make_passable(folder)
        disk, report = folder / "disk", folder / "report"
        write_disk(disk, proof_script({number: one.pci_id for number, one in enumerate(gpu.functions)}))
        xml = proof_xml(functions, disk, report, paths)
        connection.call(lambda link: run(link, xml))
        return read_proof(report.read_text(errors="replace"))


def write_disk(disk: Path, script: str) -> None:
    """Write GRUB with the script in it, as a BIOS starts it: its first sector, and behind that the rest of it."""
    early, core = disk.with_name("script"), disk.with_name("core")
    early.write_text(script)
    words = ("grub-mkimage", "-d", GRUB, "-O", "i386-pc", "-p", "/", "-c", early, "-o", core, *MODULES)
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError as missing:
        raise HypervisorError("the host has no GRUB: install grub-common and grub-pc-bin") from missing
    if done.returncode != 0:
        raise HypervisorError(f"grub-mkimage: {done.stderr.strip()} (it needs grub-pc-bin)")
    whole = (GRUB / "boot.img").read_bytes() + core.read_bytes()
    disk.write_bytes(whole.ljust(DISK_BYTES, b"\0"))


def proof_xml(functions: tuple[str, ...], disk: Path, report: Path, paths: HostPaths) -> str:
    """Describe the guest: little memory, a disk, the card. What firmware the card has is left out, for it may never end."""
    cards = list(card(GpuSpec(functions, None), CARD_BUS))
    for each in cards:
        each.append(element("rom", enabled="no"))
    root = element(
        "domain",
        element("name", f"proof-of-{functions[0].replace(':', '-')}-{paths.name}"),
        element("memory", str(MEMORY_MIB), unit="MiB"),
        element("vcpu", "1"),
        element("os", element("type", "hvm", arch="x86_64", machine="q35"), element("boot", dev="hd")),
        element("features", element("acpi"), element("apic")),
        element("cpu", mode="host-passthrough" if paths.kvm else "maximum"),
        element("on_poweroff", "destroy"),
        element("on_reboot", "destroy"),
        element("on_crash", "destroy"),
        element(
            "devices",
            element("controller", type="usb", model="none"),
            element("controller", type="pci", model="pcie-root"),
            root_port(CARD_BUS, 0, slot=0),
            element("controller", type="pci", model="pcie-root-port"),
            *cards,
            element(
                "disk",
                element("driver", name="qemu", type="raw"),
                element("source", file=str(disk)),
                element("target", dev="vda", bus="virtio"),
                element("readonly"),
                type="file",
                device="disk",
            ),
            element("serial", element("source", path=str(report)), type="file"),
            element("memballoon", model="none"),
        ),
        type="kvm" if paths.kvm else "qemu",
    )
    return render(root)


def run(link: libvirt.virConnect, xml: str) -> None:
    """Run a guest to its end, which comes in its time or at once."""
    domain = link.createXML(xml, libvirt.VIR_DOMAIN_START_AUTODESTROY)
    until = monotonic() + SECONDS
    with absent_is_fine():
        while domain.isActive():
            if monotonic() > until:
                domain.destroy()
            sleep(LOOK_SECONDS)
