"""A Debian of its own that can be a host: systemd, its own kernel and disk, and KVM, for the processor that QEMU emulates has SVM.

It lies beside the machines of the ground (`tests/lab/ground.py`), on the same two networks:

    debian 10.98.0.21    SSH, OVN's databases
           10.97.0.21    Geneve

Its image is made as the product makes `debian-12`, with the packages that a host needs baked in: a private host has no way
to Debian's archive. It is kept between runs.
"""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest
from tests.fabric.guests import run
from tests.lab.ground import LINE, SUBNETS
from tests.nested.boot_files import KEPT, KERNEL
from tests.waiting import eventually

import cumulet
from cumulet.doctor.packages import CENTRAL_PACKAGES, HOST_PACKAGES
from cumulet.hypervisor import Seed
from cumulet.hypervisor.libvirt.nocloud import seed_image
from cumulet.images.build import files_for_all
from cumulet.images.recipes import HOST_PACKAGES as IMAGE_PACKAGES
from cumulet.images.recipes import debian
from cumulet.line.wire import PACKAGES

IMAGE: Final = KEPT / "debian-host.qcow2"
SERVERS: Final = ("apparmor", "python3")
"""What Debian's installer puts on every machine, beside its own kernel, and images of clouds leave out."""
BAKED_IN: Final = tuple(
    sorted(
        {*debian.PACKAGES, *SERVERS, *HOST_PACKAGES, *CENTRAL_PACKAGES, *PACKAGES, *IMAGE_PACKAGES, KERNEL}
        - {"linux-image-cloud-amd64"}
    )
)
SHOWN: Final = {
    "src": Path(cumulet.__file__).parents[1],
    "packages": Path(sysconfig.get_path("purelib")),
    "units": Path(__file__).parents[2] / "systemd",
    "images": Path("/var/cache/cumulet-test/images"),
}
"""What of this machine can be mounted there; nobody writes to it."""
PLACES: Final = {
    "src": "/opt/cumulet/src",
    "packages": "/opt/cumulet/packages",
    "units": "/mnt/units",
    "images": "/mnt/images",
}
PROGRAM: Final = "/opt/cumulet/bin/cumulet"
NAME: Final = "debian"
NUMBER: Final = 21
PROCESSOR: Final = "qemu64,svm=on,npt=on"
BOOTS: Final = 600.0
"""Seconds in which it has booted, emulated on a busy machine."""
BY_CLOUD_INIT: Final = """\
#cloud-config
bootcmd:
{}  - systemctl restart systemd-networkd
"""
NIC: Final = """\
  - printf '[Match]\\nName=eth{number}\\n[Network]\\nAddress={subnet}.{host}/24\\n' >/etc/systemd/network/10-eth{number}.network
"""


def build() -> None:
    """Build the image from Debian's packages: minutes."""
    KEPT.mkdir(parents=True, exist_ok=True)
    unready = IMAGE.with_suffix(".part")
    with files_for_all():
        debian.write_disk(unready, lambda *_: None, BAKED_IN)
    unready.replace(IMAGE)


class DebianHost:
    """The machine, which root of the ground's key may enter."""

    name: Final = NAME
    address: Final = f"{SUBNETS[LINE]}.{NUMBER}"
    destination: Final = f"root@{address}"

    def __init__(self, folder: Path, key: Path) -> None:
        if not IMAGE.exists():
            pytest.fail("build the image first: python -m tests.nested.debian_host")
        folder.mkdir(parents=True)
        self._folder = folder
        self._key = key

    def switch_on(self) -> None:
        """Begin to boot it for the first time."""
        disk, seed = self._folder / "disk.qcow2", self._folder / "seed.iso"
        run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", IMAGE, disk, "16G")
        nics = "".join(
            NIC.format(number=number, subnet=subnet, host=NUMBER)
            for number, subnet in enumerate(SUBNETS.values())
        )
        public = self._key.with_suffix(".pub").read_text().strip()
        told = Seed(uuid4(), NAME, NAME, (public,), "", BY_CLOUD_INIT.format(nics))
        seed.write_bytes(seed_image(told))
        with (self._folder / "qemu.log").open("wb") as log:
            self._process = subprocess.Popen(
                self._argv(disk, seed), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def wait_until_booted(self) -> None:
        """Plug its cables in, and return when it answers SSH and its first boot is over."""
        for network in SUBNETS:
            eventually(lambda tap=f"{NAME}-{network}": self._is_on() and Path("/sys/class/net", tap).exists())
            run("ip", "link", "set", f"{NAME}-{network}", "master", network, "up")
        eventually(self._answers, within=BOOTS)

    def _argv(self, disk: Path, seed: Path) -> Iterator[str]:
        yield from ("qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi,tb-size=512")
        yield from ("-cpu", PROCESSOR, "-smp", "2", "-m", "3072", "-nodefaults", "-display", "none")
        yield from ("-serial", f"file:{self._folder}/console")
        yield from ("-drive", f"file={disk},if=virtio,format=qcow2,cache=unsafe")
        yield from ("-drive", f"file={seed},if=virtio,format=raw,readonly=on")
        for tag, place in SHOWN.items():
            share = f"local,path={place},mount_tag={tag},security_model=none,readonly=on,multidevs=remap"
            yield from ("-virtfs", share)
        for number, network in enumerate(SUBNETS):
            # Without the header of virtio in its frames, which Open vSwitch in user space does not read, it leaves no sum to others.
            yield from (
                "-netdev",
                f"tap,id={network},ifname={NAME}-{network},script=no,downscript=no,vnet_hdr=off",
            )
            mac = f"02:00:00:00:{NUMBER:02x}:{number:02x}"
            yield from ("-device", f"virtio-net-pci,netdev={network},mac={mac}")

    def switch_off(self) -> None:
        """Take its power."""
        self._process.kill()
        self._process.wait()

    def run(self, *argv: object, within: float = 300) -> str:
        """Have a command succeed there, and return what it printed."""
        done = self._ssh(*argv, within=within)
        assert done.returncode == 0, (
            f"{NAME}: {argv} ended with {done.returncode}: {done.stdout}{done.stderr}"
        )
        return done.stdout

    def open_tunnels(self) -> None:
        """Have its tunnels end at its own address for them, as an operator does it: the kernel's datapath sends by any NIC."""
        there = f"{SUBNETS['tunnels']}.{NUMBER}"
        self.run("ovs-vsctl", "set", "Open_vSwitch", ".", f"external_ids:ovn-encap-ip={there}")

    def install(self) -> None:
        """Have Cumulet with its libraries in /opt/cumulet, as far as its units know, and images to copy at /mnt."""
        for tag, place in PLACES.items():
            self.run("mkdir", "-p", place)
            options = "trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro"
            self.run("mount", "-t", "9p", "-o", options, tag, place)
        script = f'#!/bin/sh\nPYTHONPATH={PLACES["src"]}:{PLACES["packages"]} exec /usr/bin/python3 -m cumulet "$@"\n'
        self.run(
            "sh",
            "-c",
            f"mkdir /opt/cumulet/bin && printf %s {shlex.quote(script)} >{PROGRAM} && chmod 755 {PROGRAM}",
        )

    def _ssh(self, *argv: object, within: float) -> subprocess.CompletedProcess[str]:
        options = (
            "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=5", "BatchMode=yes",
        )  # fmt: skip
        words = [word for option in options for word in ("-o", option)]
        command = ("ssh", "-F", "/dev/null", "-i", str(self._key), *words, self.destination)
        return subprocess.run(
            (*command, shlex.join(map(str, argv))),
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )

    def _is_on(self) -> bool:
        log = self._folder / "qemu.log"
        assert self._process.poll() is None, f"{NAME} ended: {log.read_text()}"
        return True

    def _answers(self) -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired):
            booted = ("test", "-e", "/run/cloud-init/result.json")
            return self._is_on() and self._ssh(*booted, within=30).returncode == 0
        return False


@contextmanager
def running(folder: Path, key: Path) -> Iterator[DebianHost]:
    """Have the machine for as long as the block lasts."""
    machine = DebianHost(folder, key)
    machine.switch_on()
    try:
        machine.wait_until_booted()
        yield machine
    finally:
        machine.switch_off()


if __name__ == "__main__" and not IMAGE.exists():
    build()
