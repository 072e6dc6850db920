"""The machine itself: KVM, whether it is a VM in turn, its init, control groups, confinement, memory and disk."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final

from cumulet.doctor.findings import Finding, broken, degraded, ok
from cumulet.doctor.kvm import KvmVerdict
from cumulet.hypervisor.mounts import NotMounted, find_device, holders_of

GIB: Final = 1 << 30
LITTLE_MEMORY: Final = 2 * GIB
LITTLE_DISK: Final = 10 * GIB
NO_DISK: Final = GIB
LIBVIRTS_PROFILE: Final = re.compile(r"^(/usr/sbin/)?libvirtd \(enforce\)$", re.MULTILINE)
"""In AppArmor's list of what is loaded."""


def judge_kvm(verdict: KvmVerdict, *, nested: bool, device: bool) -> Finding:
    """Whether guests run on the processor or are emulated."""
    if verdict.works:
        return ok("KVM", "works, nested in another hypervisor's VM" if nested else "works")
    if not device:
        cure = "enable VT-x or AMD-V in the firmware, then: modprobe -a kvm_intel kvm_amd"
    elif nested:
        cure = "only whoever runs this machine as a VM can fix that: by enabling nested virtualisation"
    else:
        cure = "see why: dmesg | grep -i kvm"
    cost = "guests are emulated (TCG): the same functions, 5 to 20 times slower"
    return degraded("KVM", verdict.reason, cost=cost, cure=cure)


def is_virtual(cpuinfo: str) -> bool:
    """Whether the processor says, in /proc/cpuinfo, that it is a hypervisor's."""
    flags = (line for line in cpuinfo.splitlines() if line.startswith("flags"))
    return "hypervisor" in next(flags, "").split()


def judge_init(*, systemd: bool, tini: bool) -> Finding:
    """Who keeps the daemons running."""
    if systemd:
        return ok("init", "systemd: the system's own units run the daemons")
    if tini:
        return ok("init", "no systemd: Cumulet's supervisor runs the daemons")
    return broken("init", "neither systemd nor tini to run the daemons under", cure="apt-get install tini")


def judge_control_groups(mounts: str) -> Finding:
    """Which control groups /proc/self/mounts shows."""
    types = {fields[2] for fields in map(str.split, mounts.splitlines())}
    if "cgroup" in types:
        return ok("control groups", "v1")
    if "cgroup2" in types:
        return ok("control groups", "v2")
    cost = "VMs share the processors without weights or limits"
    return degraded("control groups", "not mounted", cost=cost)


def judge_confinement(*, apparmor: str, profiles: bool, loaded: str, selinux: str) -> Finding:
    """What keeps a QEMU that its guest took over from the other guests: what the kernel says of each, `""` for nothing.

    `profiles` says whether libvirt's own for AppArmor are there, `loaded` which ones the kernel has: libvirt confines guests
    only where its own is among them.
    """
    name, cost = "confinement", "a guest that takes over its QEMU can read and write the disks of all others"
    if selinux.strip() == "1":
        return ok(name, "SELinux")
    if selinux.strip() == "0":
        return degraded(name, "SELinux only warns", cost=cost, cure="setenforce 1")
    if apparmor.strip() != "Y":
        cure = "apt-get install apparmor, and boot with: apparmor=1 security=apparmor"
        return degraded(name, "neither AppArmor nor SELinux", cost=cost, cure=cure)
    if not profiles:
        cure = "apt-get install --reinstall -o Dpkg::Options::=--force-confmiss libvirt-daemon-system"
        return degraded(name, "AppArmor, without libvirt's profiles", cost=cost, cure=cure)
    if not LIBVIRTS_PROFILE.search(loaded):
        cure = "apt-get install apparmor && systemctl restart apparmor libvirtd, then stop and start each VM"
        return degraded(name, "AppArmor, but libvirt's profile is not loaded", cost=cost, cure=cure)
    return ok(name, "AppArmor")


def read_if_there(path: Path) -> str:
    """What a file of the kernel's says; `""` when it is not there."""
    return path.read_text() if path.exists() else ""


def judge_memory(meminfo: str) -> Finding:
    """How much memory VMs may still have, of /proc/meminfo."""
    fields = dict(line.split(":", 1) for line in meminfo.splitlines() if ":" in line)
    total, free = (int(fields[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    text = f"{free / GIB:.1f} of {total / GIB:.1f} GiB free"
    if free < LITTLE_MEMORY:
        return degraded("memory", text, cost="only very small VMs fit")
    return ok("memory", text)


def judge_disk(path: Path, *, free: int, total: int) -> Finding:
    """How much room images and disks have; sizes in bytes."""
    text = f"{free // GIB} of {total // GIB} GiB free at {path}"
    if free < NO_DISK:
        return broken("disk", text, cure=f"free space at {path}, or point CUMULET_DATA_DIR to a larger disk")
    if free < LITTLE_DISK:
        return degraded("disk", text, cost="only a few small disks fit")
    return ok("disk", text)


def measure_disk(path: Path) -> Finding:
    """Look at the disk below a path that need not be there yet."""
    usage = shutil.disk_usage(nearest(path))
    return judge_disk(path, free=usage.free, total=usage.total)


def measure_pool(pool: str, path: Path, *, data_dir: Path) -> Finding:
    """Look at a disk pool that is to be a file system of its own, neither the root's nor that of Cumulet's data."""
    name = f"disk pool {pool}"
    try:
        find_device(path, holders_of(nearest(data_dir), Path("/")))
    except NotMounted:
        cost = "it takes no disks, and VMs with disks in it do not start"
        return degraded(
            name, f"nothing is mounted at {path}", cost=cost, cure=f"mount its file system at {path}"
        )
    usage = shutil.disk_usage(path)
    return ok(name, f"{usage.free // GIB} of {usage.total // GIB} GiB free at {path}")


def nearest(path: Path) -> Path:
    """Give what is there of a path."""
    return next(place for place in (path, *path.parents) if place.exists())
