"""Looks at a host and says in words what it found; changes nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

from cumulet.doctor.bridges import Bridge, choose_datapath, external_bridges
from cumulet.doctor.central import read_cluster
from cumulet.doctor.checks.between import judge_certificate, judge_cluster
from cumulet.doctor.checks.ceph import ask_ceph
from cumulet.doctor.checks.devices import judge_gpus, judge_preparation
from cumulet.doctor.checks.machine import (
    is_virtual,
    judge_confinement,
    judge_control_groups,
    judge_init,
    judge_kvm,
    judge_memory,
    measure_disk,
    measure_pool,
    read_if_there,
)
from cumulet.doctor.checks.packets import (
    judge_datapath,
    judge_firewalls,
    judge_forwarding,
    judge_taps,
    judge_uplink,
    list_chains,
)
from cumulet.doctor.checks.programs import PROGRAMS, ask_version, judge_packages, judge_program
from cumulet.doctor.command import CommandFailed, require_root
from cumulet.doctor.daemons import find_silent, runs_systemd
from cumulet.doctor.findings import Finding, broken
from cumulet.doctor.forwarding import FOR_VMS_ALONE, FORWARDING
from cumulet.doctor.gpus.survey import survey_gpus
from cumulet.doctor.kvm import DEVICE, kvm_works
from cumulet.doctor.overlay import Proof, is_central, read_certificate, read_overlay
from cumulet.doctor.packages import find_missing
from cumulet.doctor.prepare import CACHE, host_packages
from cumulet.hypervisor.ceph import CEPH_PACKAGES, CephPool
from cumulet.hypervisor.ceph_client import CephClient

PROC: Final = Path("/proc")
APPARMOR: Final = Path("/sys/module/apparmor/parameters/enabled")
LOADED: Final = Path("/sys/kernel/security/apparmor/profiles")
SELINUX: Final = Path("/sys/fs/selinux/enforce")
NO_POOLS: Final[Mapping[str, Path]] = MappingProxyType({})
NO_CEPH: Final[Mapping[str, CephPool]] = MappingProxyType({})
PROFILES: Final = Path("/etc/apparmor.d/libvirt/TEMPLATE.qemu")


def examine(
    data_dir: Path,
    *,
    packages: tuple[str, ...] = (),
    pools: Mapping[str, Path] = NO_POOLS,
    ceph: Mapping[str, CephPool] = NO_CEPH,
) -> list[Finding]:
    """Look at everything a host needs.

    `packages` are those needed besides the host's own, `pools` the disk pools that are to be mounted, and where, and
    `ceph` those that lie in Ceph.
    Takes some 0.3 s, and 4 s where KVM hangs: the guest is always run, whatever is remembered.
    """
    require_root("examining a host")
    return [
        *examine_machine(data_dir),
        *examine_programs((*packages, *(CEPH_PACKAGES if ceph else ()))),
        *examine_packets(),
        *examine_network(),
        *examine_devices(),
        *examine_pools(data_dir, pools),
        *(ask_ceph(id, CephClient(pool)) for id, pool in ceph.items()),
    ]


def examine_machine(data_dir: Path) -> list[Finding]:
    """KVM, init, control groups, confinement, memory and disk."""
    nested = is_virtual((PROC / "cpuinfo").read_text())
    return [
        judge_kvm(kvm_works(remember_in=CACHE), nested=nested, device=DEVICE.exists()),
        judge_init(systemd=runs_systemd(), tini=shutil.which("tini") is not None),
        judge_control_groups((PROC / "self/mounts").read_text()),
        judge_confinement(
            apparmor=read_if_there(APPARMOR),
            profiles=PROFILES.exists(),
            loaded=read_if_there(LOADED),
            selinux=read_if_there(SELINUX),
        ),
        judge_memory((PROC / "meminfo").read_text()),
        measure_disk(data_dir),
    ]


def examine_programs(packages: tuple[str, ...]) -> list[Finding]:
    """Packages, and each program with its daemons."""
    silent = find_silent()
    programs = [judge_program(name, ask_version(program), silent) for name, (program, _) in PROGRAMS.items()]
    return [look_for_packages((*host_packages(), *packages)), *programs]


def look_for_packages(packages: tuple[str, ...]) -> Finding:
    """Whether all packages are there."""
    try:
        return judge_packages(find_missing(packages))
    except CommandFailed as elsewhere:
        return broken("packages", elsewhere.message, cure="use Debian 12 or Ubuntu 24.04")


def examine_packets() -> list[Finding]:
    """Datapath, what guests reach of the host, forwarding, and others' firewalls."""
    chains, bridges = list_chains(), ours()
    return [
        judge_datapath(choose_datapath()),
        judge_taps(chains),
        judge_forwarding(FORWARDING.read_text(), for_vms_alone=FOR_VMS_ALONE.exists(), chains=chains),
        *(judge_uplink(name, bridge.reach, chains) for name, bridge in bridges.items()),
        judge_firewalls(chains, tuple(bridges)),
    ]


def examine_network() -> list[Finding]:
    """The host's place between hosts: certificates, and OVN's databases where it has them together with others."""
    now = datetime.now(UTC)
    held = {proof: certified for proof in Proof if (certified := read_certificate(proof))}
    if not is_central(read_overlay()):
        held.pop(Proof.CENTRAL, None)
    cluster = read_cluster()
    return [
        *(judge_certificate(proof, certified, now) for proof, certified in held.items()),
        *([judge_cluster(cluster, list_chains())] if cluster else []),
    ]


def examine_devices() -> list[Finding]:
    """GPUs, the IOMMU, and what else GPUs need."""
    survey = survey_gpus(release=os.uname().release)
    return [*judge_gpus(survey.host), *judge_preparation(survey)]


def ours() -> dict[str, Bridge]:
    """The external bridges that Cumulet made here; none while OVS does not answer."""
    try:
        return external_bridges()
    except CommandFailed:
        return {}


def examine_pools(data_dir: Path, pools: Mapping[str, Path]) -> list[Finding]:
    """The disk pools that are to be mounted here."""
    return [measure_pool(id, path, data_dir=data_dir) for id, path in pools.items()]
