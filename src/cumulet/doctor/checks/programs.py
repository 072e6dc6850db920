"""The programs: whether they are installed, in which version, and whether the daemons answer."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from cumulet.doctor.command import CommandFailed, output_of
from cumulet.doctor.findings import Finding, broken, ok

PREPARE: Final = "cumulet doctor prepare"
PROGRAMS: Final = {
    "QEMU": ("qemu-system-x86_64", ()),
    "libvirt": ("libvirtd", ("virtlogd", "libvirtd")),
    "Open vSwitch": ("ovs-vswitchd", ("ovsdb-server", "ovs-vswitchd")),
    "OVN": ("ovn-controller", ("ovn-nb", "ovn-sb", "ovn-northd", "ovn-controller")),
}
"""For each: the program that tells its version, and the daemons that must answer."""
VERSION: Final = re.compile(r"\d+\.\d+(\.\d+)?")


def read_version(printed: str) -> str:
    """The first version number in what a program prints about itself."""
    found = VERSION.search(printed)
    return found[0] if found else "of unknown version"


def ask_version(program: str) -> str | None:
    """A program's version; None when it is not installed or cannot tell."""
    try:
        return read_version(output_of(program, "--version"))
    except CommandFailed:
        return None


def judge_program(name: str, version: str | None, silent: Collection[str]) -> Finding:
    """One of PROGRAMS, given its version and those of all daemons that do not answer."""
    if version is None:
        return broken(name, "not installed", cure=PREPARE)
    missed = [daemon for daemon in PROGRAMS[name][1] if daemon in silent]
    if missed:
        return broken(name, f"{version}, but {', '.join(missed)} not running", cure=PREPARE)
    return ok(name, f"{version}, running" if PROGRAMS[name][1] else version)


def judge_packages(missing: Collection[str]) -> Finding:
    """Whether all packages of a host are there."""
    if missing:
        return broken("packages", f"missing: {' '.join(missing)}", cure=PREPARE)
    return ok("packages", "all installed")
