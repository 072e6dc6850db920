"""The files by which a host keeps GPUs for VMs from its next boot on. All are ours by name: no other is ever written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from cumulet.hypervisor import PciGpu

BINDER: Final = "etc/cumulet/bind-gpus"
UNIT: Final = "etc/systemd/system/cumulet-gpus.service"
WANTED: Final = "etc/systemd/system/sysinit.target.d/cumulet-gpus.conf"
INITRAMFS_TOOLS: Final = "etc/initramfs-tools"
INITRAMFS: Final = f"{INITRAMFS_TOOLS}/scripts/init-top/cumulet-gpus"
BLACKLIST: Final = "etc/modprobe.d/cumulet-gpus.conf"
GRUB: Final = "etc/default/grub.d/cumulet-gpus.cfg"
MEMLOCK: Final = "etc/systemd/system/libvirtd.service.d/cumulet-gpus.conf"
ALL: Final = (BINDER, UNIT, WANTED, INITRAMFS, BLACKLIST, GRUB, MEMLOCK)
WRITTEN_IN: Final = "run/cumulet/gpus-written-in"
"""Says in which boot any of these was last written."""
PROGRAMS: Final = frozenset({BINDER, INITRAMFS})
RENEW: Final = ("update-initramfs", "-u")
FOLLOW_UPS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = MappingProxyType(
    {
        UNIT: (("systemctl", "daemon-reload"),),
        WANTED: (("systemctl", "daemon-reload"),),
        INITRAMFS: (RENEW,),
        BLACKLIST: (RENEW,),
        GRUB: (("update-grub",),),
        MEMLOCK: (("systemctl", "daemon-reload"), ("systemctl", "try-restart", "libvirtd.service")),
    }
)
"""What makes the host heed a file that was written or removed."""
HEAD: Final = "# Written by `cumulet gpu prepare`; `cumulet gpu prepare --undo` removes it.\n"
KEEP: Final = r"""
# Keeps cards for VMs before the host's drivers take them: each at its address, so that its twin stays the host's,
# and only while it is the card that it was. The first argument is where sysfs is; with `release` as the second,
# early at boot, functions beside the GPU itself are taken from drivers that are part of the kernel.
[ "$1" = prereqs ] && exit 0
sys=${1:-/sys}
early=$2

keep() {
    device=$sys/bus/pci/devices/$1
    grep -q "^PCI_ID=$2\$" "$device/uevent" 2>/dev/null || {
        echo "$1 is not $2 any more: left to the host" >&2
        return
    }
    echo vfio-pci > "$device/driver_override"
    case "$3 $early $(readlink "$device/driver")" in
        *"/vfio-pci") ;;
        "release release "?*) echo "$1" > "$device/driver/unbind" ;;
    esac
    [ -e "$device/driver" ] || echo "$1" > "$sys/bus/pci/drivers_probe"
}

modprobe vfio-pci 2>/dev/null
"""
KEPT: Final = re.compile(r"^keep (\S+) (\S+)", re.MULTILINE)
UNIT_TEXT: Final = f"""{HEAD}[Unit]
Description=Keep GPUs for VMs before the host's drivers take them
DefaultDependencies=no
Before=systemd-modules-load.service systemd-udev-trigger.service libvirtd.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/{BINDER} /sys release
"""
WANTED_TEXT: Final = f"{HEAD}[Unit]\nWants=cumulet-gpus.service\n"
MEMLOCK_TEXT: Final = f"{HEAD}[Service]\nLimitMEMLOCK=infinity\n"
WORDS: Final = re.compile(r'^GRUB_CMDLINE_LINUX="\$GRUB_CMDLINE_LINUX (.*)"$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class HostFile:
    """A file as it is to be."""

    path: str
    """From the root, without the first slash."""
    text: str


def binder(gpus: Iterable[PciGpu]) -> str:
    """Write the script that keeps cards for VMs, all functions of each."""
    return f"#!/bin/sh\n{HEAD}{KEEP}{''.join(line for gpu in gpus for line in _keep(gpu))}exit 0\n"


def _keep(gpu: PciGpu) -> Iterable[str]:
    first, *others = gpu.functions
    yield f"keep {first.address} {first.pci_id.upper()}\n"
    yield from (f"keep {one.address} {one.pci_id.upper()} release\n" for one in others)


def kept_by(script: str) -> dict[str, str]:
    """Read which functions that script keeps: their ids by address."""
    return {address: id.lower() for address, id in KEPT.findall(script)}


def blacklist(drivers: Sequence[str]) -> str:
    """Write what keeps drivers that nothing of the host needs from being loaded."""
    return HEAD + "".join(f"blacklist {driver}\n" for driver in drivers)


def grub(words: Sequence[str]) -> str:
    """Write what adds words to the kernel's command line."""
    return f'{HEAD}GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {" ".join(words)}"\n'


def words_of(text: str) -> tuple[str, ...]:
    """Read which words that adds."""
    found = WORDS.search(text)
    return tuple(found[1].split()) if found else ()
