"""Makes a machine into a host: what `make up`, `cumulet serve` and `cumulet doctor prepare` do first.

Each step looks before it acts, so that on a host that is ready it costs next to nothing and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Final

from cumulet.doctor.bridges import (
    choose_datapath,
    ensure_external_bridge,
    ensure_integration_bridge,
    ensure_mapping,
    external_bridges,
    integration_command,
    propose_chassis,
    read_settings,
    repair_external_bridges,
)
from cumulet.doctor.central import ensure_guard, found, has_databases, is_misplaced, settle
from cumulet.doctor.chassis import ensure_place, forget_earlier_names
from cumulet.doctor.command import require_root
from cumulet.doctor.daemon_specs import NORTHBOUND_SOCKET
from cumulet.doctor.daemons import PATHS, runs_systemd, start_daemons, stop_central
from cumulet.doctor.forwarding import allow_forwarding
from cumulet.doctor.gpus.prepare import keep_gpus
from cumulet.doctor.kvm import KvmVerdict, kvm_worked, kvm_works
from cumulet.doctor.overlay import SOUTHBOUND_PORT, Overlay, is_central, note_overlay, read_overlay
from cumulet.doctor.packages import CENTRAL_PACKAGES, HOST_PACKAGES, find_missing, install_packages
from cumulet.doctor.ports import ensure_ports
from cumulet.doctor.supervisor import Paths
from cumulet.doctor.taps import ensure_deaf_on_taps
from cumulet.doctor.uplink import Reach

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
    """Where OVN's northbound database answers on the host that has it, as OVSDB writes it."""
    installed: tuple[str, ...]
    """The packages that were missing."""
    started: tuple[str, ...]
    """The daemons that did not answer."""


def prepare_host(
    report: Callable[[str], None] = lambda _: None,
    *,
    packages: tuple[str, ...] = (),
    overlay: Overlay | None = None,
    paths: Paths = PATHS,
) -> PreparedHost:
    """Bring this machine to where VMs can run; CommandFailed says which step failed, with its command.

    `report` hears in words what takes time; `packages` are Debian packages needed besides the host's own. `overlay` is its
    place in the network between hosts, None for the one that it has; without any it has OVN's databases itself.
    """
    require_root("preparing a host")
    if overlay:
        note_overlay(overlay)
    installed = find_missing((*host_packages(), *packages))
    if installed:
        install_packages(installed, report)
    kvm = kvm_worked(CACHE) or probe_kvm(report)
    if not runs_systemd():
        keep_gpus()
    datapath = choose_datapath()
    integration = integration_command(datapath, propose_chassis())
    settle_databases(read_overlay(), paths)
    started = start_daemons(
        hide_kvm=not kvm.works, integration=integration, datapath=datapath, paths=paths, report=report
    )
    ensure_bridges(datapath)
    ensure_place(read_overlay())
    settings = read_settings()
    chassis = settings["system-id"]
    if has_databases(read_overlay()):
        forget_earlier_names(chassis, settings["ovn-encap-ip"])
    return PreparedHost(kvm, datapath, chassis, f"unix:{NORTHBOUND_SOCKET}", tuple(installed), tuple(started))


def settle_databases(overlay: Overlay | None, paths: Paths = PATHS) -> None:
    """Have OVN's databases here be those of this host's place."""
    if overlay is None:
        return
    ensure_guard(overlay.members)
    if is_misplaced(overlay):
        stop_central(paths)
        settle(overlay)


def found_cluster(address: str, paths: Paths = PATHS) -> None:
    """Make OVN's databases on this host, that are its own, the first of several, at an address of this host's."""
    stop_central(paths)
    found(address)
    note_overlay(Overlay(address, f"ssl:{address}:{SOUTHBOUND_PORT}", (address,)))
    prepare_host(paths=paths)


def host_packages() -> tuple[str, ...]:
    """The Debian packages that a host needs in its place."""
    return (*HOST_PACKAGES, *CENTRAL_PACKAGES) if is_central(read_overlay()) else HOST_PACKAGES


def probe_kvm(report: Callable[[str], None]) -> KvmVerdict:
    """Run a guest to see whether KVM works."""
    report("starting a test guest to see whether KVM works")
    return kvm_works(remember_in=CACHE)


def ensure_bridges(datapath: str) -> None:
    """Mend how VMs are plugged in: the host deaf on their taps, br-int, their ports, and the bridges that lead out."""
    ensure_deaf_on_taps()
    ensure_integration_bridge(datapath)
    ensure_ports()
    allow_forwarding(external_bridges())
    repair_external_bridges()


def ensure_operators_uplink(bridge: str) -> None:
    """Let OVN use a bridge of the operator's that leads to an external range; Refused when it is not there."""
    ensure_bridges(choose_datapath())
    ensure_mapping(bridge)


def ensure_uplink(bridge: str, gateway: IPv4Interface, *, datapath: str, reach: Reach) -> None:
    """Lead an external range out to the world by a bridge of its own, beside all that VMs are plugged in by."""
    ensure_bridges(datapath)
    ensure_external_bridge(bridge, gateway, datapath=datapath, reach=reach)
