"""Makes a machine into a host: what `make up`, `cumulet serve` and `cumulet doctor prepare` do first.

Each step looks before it acts, so that on a host that is ready it costs next to nothing and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cumulet.doctor.bridges import choose_datapath, ensure_integration_bridge, integration_command, read_chassis
from cumulet.doctor.daemons import NORTHBOUND_SOCKET, PATHS, start_daemons
from cumulet.doctor.kvm import KvmVerdict, kvm_works
from cumulet.doctor.supervisor import Paths

CACHE: Final = Path("/var/cache/cumulet")


@dataclass(frozen=True, slots=True)
class PreparedHost:
    """What the layers above must know of the host that they build on."""

    kvm: KvmVerdict
    datapath: str
    """`system` (the kernel's) or `netdev` (userspace: guests must not offload checksums)."""
    chassis: str
    """The host's name in OVN."""
    northbound: str
    """Where OVN's northbound database answers, as OVSDB writes it."""
    started: tuple[str, ...]
    """The daemons that had to be started."""


def prepare_host(tell: Callable[[str], None] = lambda _: None, *, paths: Paths = PATHS) -> PreparedHost:
    """Bring this machine to where VMs can run; CommandFailed says which step failed, with its command.

    `tell` hears in words what takes time.
    """
    paths.run_dir.mkdir(parents=True, exist_ok=True)
    tell("looking whether KVM works")
    kvm = kvm_works(remember_in=CACHE)
    datapath, chassis = choose_datapath(), read_chassis()
    tell("starting libvirt, Open vSwitch and OVN")
    started = start_daemons(hide_kvm=not kvm.works, integration=integration_command(datapath, chassis), paths=paths)
    ensure_integration_bridge(datapath)
    return PreparedHost(kvm, datapath, chassis, f"unix:{NORTHBOUND_SOCKET}", tuple(started))
