"""Machines as libvirt's persistent domains, found again by the VM's id, which is the domain's UUID.

Persistent, because a transient domain whose QEMU dies while libvirtd is away vanishes without a trace. The domain's
id is no mark of a start: a new libvirtd counts from one again; so each start gets a random number of its own, written
on the domain before it.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Final
from uuid import UUID

import libvirt
import libvirt_qemu
import msgspec

from cumulet.hypervisor import Domain, DomainSpec, HypervisorError, MachineOff, OffReason, Power, spec_digest
from cumulet.hypervisor.libvirt.connection import Connection, has_code
from cumulet.hypervisor.libvirt.domain_xml import NAMESPACE, Mark, domain_xml, read_mark, with_start
from cumulet.hypervisor.libvirt.going_down import goes_down
from cumulet.hypervisor.libvirt.passthrough import check_there, give_gpus, refusal_in_words
from cumulet.hypervisor.libvirt.paths import HostPaths

POWERS: Final = {
    libvirt.VIR_DOMAIN_SHUTOFF: Power.OFF,
    libvirt.VIR_DOMAIN_CRASHED: Power.OFF,
    libvirt.VIR_DOMAIN_PAUSED: Power.PAUSED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: Power.PAUSED,
}
"""Everything else runs."""
PAUSED_ON_IO_ERROR: Final = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR)
IN_MOVE: Final = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION)
PAUSED_WITHOUT_WORD: Final = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_UNKNOWN)
"""libvirt has no word for what QEMU calls an internal error: a device's, or that of a processor that KVM cannot work."""
INTERNAL_ERROR: Final = "internal-error"
OFF_REASONS: Final = {
    libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN: OffReason.GUEST_SHUTDOWN,
    libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED: OffReason.DESTROYED,
    libvirt.VIR_DOMAIN_SHUTOFF_CRASHED: OffReason.CRASHED,
    libvirt.VIR_DOMAIN_SHUTOFF_DAEMON: OffReason.CRASHED,
    libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED: OffReason.MOVED,
    libvirt.VIR_DOMAIN_SHUTOFF_FAILED: OffReason.NONE,  # to start
}
UNDEFINE: Final = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
)
LARGEST_START: Final = 2**31 - 1
UNDER_WAY: Final = (libvirt.VIR_DOMAIN_JOB_BOUNDED, libvirt.VIR_DOMAIN_JOB_UNBOUNDED)
LOOK_SECONDS: Final = 0.05
JOB_ENDS_SECONDS: Final = 30.0
"""In which QEMU has let go of what it was at, once that was aborted."""


class Status(msgspec.Struct):
    """What QEMU is doing: `running`, `paused` or `internal-error`, among others."""

    status: str


class StatusAnswer(msgspec.Struct):
    """QEMU's answer to the question for it."""

    reply: Status = msgspec.field(name="return")


def list_domains(link: libvirt.virConnect, paths: HostPaths) -> Mapping[UUID, Domain]:
    """All our domains."""
    found = {}
    # asked after libvirt was: before it asks guests to power off, the system says so
    asked_once = cache(goes_down)
    for domain, stats in link.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE):
        if paths.is_ours(domain.name()):
            with absent_is_fine():
                seen = look_at(domain, paths, stats["state.state"], stats["state.reason"], asked_once)
                found[seen.id] = seen
    return found


def list_ids(link: libvirt.virConnect, paths: HostPaths) -> list[UUID]:
    """Our domains' VMs."""
    return [UUID(bytes=domain.UUID()) for domain in link.listAllDomains() if paths.is_ours(domain.name())]


def look_up(link: libvirt.virConnect, vm_id: UUID, paths: HostPaths) -> Domain | None:
    """One domain as it is, or None."""
    with absent_is_fine():
        domain = link.lookupByUUID(vm_id.bytes)
        state, reason = domain.state()
        return look_at(domain, paths, state, reason, goes_down)
    return None


def look_at(
    domain: libvirt.virDomain, paths: HostPaths, state: int, reason: int, host_goes_down: Callable[[], bool]
) -> Domain:
    """Say of a domain what the cloud wants to know; one to be defined anew for the host's sake shows no digest."""
    mark = mark_of(domain)
    power = power_of(domain, state, reason)
    if power is Power.PAUSED and mark.digest and not mark.started:
        power = Power.ARRIVED
    return Domain(
        id=UUID(bytes=domain.UUID()),
        power=power,
        off_reason=off_reason(state, reason, mark, host_goes_down) if power is Power.OFF else OffReason.NONE,
        started=0 if power is Power.OFF else mark.started,
        spec_digest=mark.digest if mark.host == paths.traits else "",
        gpus=mark.gpus,
        term=mark.term,
    )


def power_of(domain: libvirt.virDomain, state: int, reason: int) -> Power:
    """Whether a domain in that state runs; where libvirt does not know why not, its QEMU is asked."""
    if (state, reason) == PAUSED_ON_IO_ERROR:
        return Power.PAUSED_ON_IO_ERROR
    if (state, reason) == IN_MOVE:
        return Power.IN_MOVE
    if (state, reason) == PAUSED_WITHOUT_WORD and qemu_status(domain) == INTERNAL_ERROR:
        return Power.FAULTED
    return POWERS.get(state, Power.RUNNING)


def qemu_status(domain: libvirt.virDomain) -> str:
    """What a domain's QEMU says it is doing; nothing when it has just ended, or is too busy to answer."""
    try:
        answer = libvirt_qemu.qemuMonitorCommand(domain, '{"execute": "query-status"}', 0)
    except libvirt.libvirtError as error:
        if has_code(error, libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_OPERATION_TIMEOUT):
            return ""
        raise
    return msgspec.json.decode(answer, type=StatusAnswer).reply.status


def off_reason(state: int, reason: int, mark: Mark, host_goes_down: Callable[[], bool]) -> OffReason:
    """Why a domain is off; libvirt forgets that when it restarts, and says the same of one that never ran."""
    if state == libvirt.VIR_DOMAIN_CRASHED:
        return OffReason.CRASHED
    if not mark.started:
        return OffReason.NONE
    found = OFF_REASONS.get(reason, OffReason.UNKNOWN)
    is_the_hosts = found is OffReason.GUEST_SHUTDOWN and host_goes_down()
    return OffReason.HOST_SHUTDOWN if is_the_hosts else found


def define(link: libvirt.virConnect, spec: DomainSpec, paths: HostPaths) -> None:
    """Define the domain with its disks where they lie now, unless it is defined just so; GpuMissing without its GPUs."""
    started = 0
    with absent_is_fine():
        mark = mark_of(link.lookupByUUID(spec.id.bytes))
        if (mark.digest, mark.host) == (spec_digest(spec), paths.traits):
            return
        started = mark.started
    check_there(spec)
    disks = {id: paths.pools.find_disk(id) for id in (spec.boot_disk, *spec.disks)}
    link.defineXML(domain_xml(spec, paths, disks=disks, started=started))


def start(link: libvirt.virConnect, vm_id: UUID) -> None:
    """Start the domain unless it runs, with its GPUs given to it."""
    domain = find_domain(link, vm_id)
    if domain.isActive():
        return
    give_gpus(link, domain)
    renewed = with_start(
        read_metadata(domain, libvirt.VIR_DOMAIN_AFFECT_CONFIG), secrets.randbelow(LARGEST_START) + 1
    )
    domain.setMetadata(
        libvirt.VIR_DOMAIN_METADATA_ELEMENT, renewed, "cumulet", NAMESPACE, libvirt.VIR_DOMAIN_AFFECT_CONFIG
    )
    try:
        domain.create()
    except libvirt.libvirtError as error:
        if has_code(error, libvirt.VIR_ERR_OPERATION_INVALID) and domain.isActive():
            return  # somebody else has just started it
        if refusal := refusal_in_words(error):
            raise refusal from error
        raise


def resume(link: libvirt.virConnect, vm_id: UUID) -> None:
    """Let the domain go on if it is paused on an I/O error."""
    domain = find_domain(link, vm_id)
    if power_of(domain, *domain.state()) is Power.PAUSED_ON_IO_ERROR:
        with off_is_fine():
            domain.resume()


def request_shutdown(link: libvirt.virConnect, vm_id: UUID) -> None:
    """Ask the guest by ACPI to power off, if it runs."""
    with off_is_fine():
        find_domain(link, vm_id).shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)


def force_off(link: libvirt.virConnect, vm_id: UUID) -> None:
    """End the domain's QEMU if it runs."""
    with off_is_fine():
        find_domain(link, vm_id).destroy()


def undefine(link: libvirt.virConnect, vm_id: UUID) -> None:
    """Forget the domain and all that libvirt keeps of it, if it is there."""
    with absent_is_fine():
        domain = link.lookupByUUID(vm_id.bytes)
        with off_is_fine():
            domain.destroy()
        domain.undefineFlags(UNDEFINE)


def find_domain(link: libvirt.virConnect, vm_id: UUID) -> libvirt.virDomain:
    """A domain that must be there."""
    with absent_is_fine():
        return link.lookupByUUID(vm_id.bytes)
    raise HypervisorError(f"the host has no machine for VM {vm_id}")


def find_running(link: libvirt.virConnect, vm_id: UUID) -> libvirt.virDomain | None:
    """A domain if it is there and runs."""
    with absent_is_fine():
        domain = link.lookupByUUID(vm_id.bytes)
        return domain if domain.isActive() else None
    return None


def end_job(host: Connection, vm_id: UUID) -> None:
    """Have a machine end what it is at, a backup or its leaving, and wait until nothing of it is left.

    HypervisorError when it is still at it after `JOB_ENDS_SECONDS`.
    """
    until = time.monotonic() + JOB_ENDS_SECONDS
    while host.call(lambda link: abort_job(link, vm_id)):
        if time.monotonic() > until:
            raise HypervisorError(
                f"the machine of VM {vm_id} did not end in {JOB_ENDS_SECONDS:g} s what it was at"
            )
        time.sleep(LOOK_SECONDS)


def abort_job(link: libvirt.virConnect, vm_id: UUID) -> bool:
    """Abort what a machine is at, a backup or its leaving; says whether there is such a thing, which may end only later."""
    domain = find_running(link, vm_id)
    if domain is not None:
        with absent_is_fine(), off_is_fine():
            if domain.jobStats()["type"] not in UNDER_WAY:
                return False
            with off_is_fine():  # nor can what is all but done be aborted
                domain.abortJob()
            return True
    return False


def mark_of(domain: libvirt.virDomain) -> Mark:
    """Our mark on a domain's definition; one that somebody undefined while it runs has it without a digest."""
    try:
        return read_mark(read_metadata(domain, libvirt.VIR_DOMAIN_AFFECT_CONFIG))
    except libvirt.libvirtError as error:
        if not has_code(error, libvirt.VIR_ERR_OPERATION_INVALID):
            raise
    return replace(read_mark(read_metadata(domain, libvirt.VIR_DOMAIN_AFFECT_LIVE)), digest="")


def read_metadata(domain: libvirt.virDomain, which: int) -> str:
    """Our element of a domain's definition or of what runs; an empty one when somebody has edited it away."""
    try:
        return str(domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, NAMESPACE, which))
    except libvirt.libvirtError as error:
        if not has_code(error, libvirt.VIR_ERR_NO_DOMAIN_METADATA):
            raise
        return "<vm/>"


@contextlib.contextmanager
def absent_is_fine() -> Iterator[None]:
    """Leave the block quietly when the domain is not there, or goes away meanwhile."""
    try:
        yield
    except libvirt.libvirtError as error:
        if not has_code(error, libvirt.VIR_ERR_NO_DOMAIN):
            raise


@contextlib.contextmanager
def off_is_fine() -> Iterator[None]:
    """Leave the block quietly when the domain does not run."""
    try:
        yield
    except libvirt.libvirtError as error:
        if not has_code(error, libvirt.VIR_ERR_OPERATION_INVALID):
            raise


@contextlib.contextmanager
def needs_power(vm_id: UUID) -> Iterator[None]:
    """Tell a machine that is off from other refusals."""
    try:
        yield
    except libvirt.libvirtError as error:
        if has_code(error, libvirt.VIR_ERR_OPERATION_INVALID):
            raise MachineOff(f"the machine of VM {vm_id} is off") from error
        raise
