"""The Debian packages that a host needs: which are missing, and installing them without a question asked."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterable
from typing import Final

from cumulet.doctor.command import CommandFailed, output_of

HOST_PACKAGES: Final = (
    "qemu-system-x86",
    "qemu-utils",
    "ovmf",
    "libvirt-daemon-system",
    "libvirt-daemon-driver-qemu",
    "libvirt-clients",
    "openvswitch-switch",
    "ovn-host",
    "nftables",
    "iproute2",
    "ethtool",
    "kmod",
    "openssh-client",
    "openssl",
    "tini",
)
"""Named alike in Debian 12 and in Ubuntu 24.04."""
CENTRAL_PACKAGES: Final = ("ovn-central",)
"""What the host needs besides that has OVN's databases."""
PROOF_PACKAGES: Final = ("grub-common", "grub-pc-bin")
"""What the guest is made of that proves a GPU; neither changes how the host boots."""


def find_missing(packages: Iterable[str]) -> list[str]:
    """Those of `packages` that are not installed; CommandFailed where Debian's tools are missing."""
    if shutil.which("dpkg-query") is None or shutil.which("apt-get") is None:
        raise CommandFailed("this is neither Debian nor Ubuntu: packages cannot be checked or installed")
    installed = parse_installed(
        output_of("dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\\n")
    )
    return [package for package in packages if package not in installed]


def parse_installed(listing: str) -> set[str]:
    """The names in dpkg-query's lines of name and status that are wholly installed."""
    lines = (line.partition(" ") for line in listing.splitlines())
    return {name for name, _, status in lines if status == "installed"}


def install_command(packages: Iterable[str]) -> tuple[str, ...]:
    """How an operator would install them."""
    return ("apt-get", "install", "--yes", "--no-install-recommends", *packages)


def install_packages(packages: list[str], report: Callable[[str], None]) -> None:
    """Install packages, telling each as it is set up; whether they start daemons is left to the host's policy.

    CommandFailed has apt's last words.
    """
    report(f"installing {len(packages)} packages: {' '.join(packages)}")
    try:
        run_apt(install_command(packages), report)
    except CommandFailed:
        report("refreshing the package lists")
        run_apt(("apt-get", "update"), report)
        run_apt(install_command(packages), report)


def run_apt(argv: tuple[str, ...], report: Callable[[str], None]) -> None:
    """Run apt-get, waiting for whoever holds its lock."""
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_MODE": "l", "LC_ALL": "C"}
    patient = (argv[0], "--quiet", "--option=DPkg::Lock::Timeout=300", "--option=Dpkg::Use-Pty=0", *argv[1:])
    said: list[str] = []
    with subprocess.Popen(
        patient,
        env=os.environ | quiet,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        for line in process.stdout or ():
            said.append(line)
            if line.startswith("Setting up "):
                report(line.removeprefix("Setting up ").rstrip(" .\n"))
    if process.returncode != 0:
        raise CommandFailed(f"{shlex.join(argv)}: {''.join(said[-15:])}")
