"""The verbs that change what a VM is and who may enter it: size, labels, end, password, keys.

What concerns the guest is only written down here. Its reconciler does it and knows by the row what is still to do, so a
change outlives the server, and no request waits for a guest.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy.orm import Session

from cumulet.catalogue import Catalogue, MachineType
from cumulet.db import forget
from cumulet.disks import refuse_moved
from cumulet.errors import Invalid
from cumulet.events import EventName
from cumulet.gpus import Asker, hold_just
from cumulet.hosts import Capacity, Requirements, capacity_with_own, place, reserved, wake_queue
from cumulet.operation import Access, Caller, operation
from cumulet.plurals import plural
from cumulet.quotas import lock_allowance
from cumulet.resource import log_request
from cumulet.vm_record.accepts import Verb, accept, accept_credentials, accepts
from cumulet.vm_record.end import accept_end, accept_less, accept_room, accept_stay
from cumulet.vm_record.find import find_vm, find_vm_to_change
from cumulet.vm_record.model import Vm
from cumulet.vms.create.passwords import hash_password
from cumulet.vms.create.plan import (
    check_gpus,
    check_labels,
    check_password,
    check_size,
    plan_expiry,
    plan_keys,
    resized_topology,
)
from cumulet.vms.create.room import with_gpu_rooms
from cumulet.vms.create.rows import sizes_of, source_keys
from cumulet.vms.views.vm import vm_view
from cumulet.vms.wire import (
    ResizeVmResponse,
    UpdateVmAuthorizedSshKeys,
    UpdateVmDeletionProtection,
    UpdateVmExpireTime,
    UpdateVmExpireTimeResponse,
    UpdateVmMetadata,
    UpdateVmMetadataResponse,
    UpdateVmPassword,
)
from cumulet.wire import Empty


class Size(NamedTuple):
    """What a VM can have more or less of."""

    vcpus: int
    memory_gib: int
    gpus: int

    def __str__(self) -> str:
        gpus = f", {plural(self.gpus, 'GPU')}" if self.gpus else ""
        return f"{plural(self.vcpus, 'vCPU')}, {self.memory_gib} GiB memory{gpus}"


@operation("POST /v1/projects/{projectId}/vms/{id}/resize", access=Access.EDITOR)
def resize_vm(
    db: Session,
    caller: Caller,
    *,
    catalogue: Catalogue,
    now: datetime,
    project_id: str,
    id: str,
    vcpus: int = 0,
    memory_gib: int = 0,
    gpus: int = 0,
    validate_only: bool = False,
) -> ResizeVmResponse:
    """Change the vCPUs, memory or number of GPUs of a stopped virtual machine, effective at its next start; what is unset stays.

    It stays on its host, which must have the capacity, and keeps GPUs that it has where it can. With `validateOnly` only
    check and price it, also of one that runs.
    """
    seen = find_vm(db, project_id=project_id, id=id)
    accept_room(seen)
    machine_type = catalogue.find_machine_type(seen.data_center_id, seen.machine_type)
    # The host is locked before the VM, as by whoever looks at a whole host, and the project between them.
    capacity = capacity_with_own(db, seen.id, vcpus_per_cpu=machine_type.vcpus_per_core)
    allowance = lock_allowance(db, project_id, catalogue.quotas)
    vm = find_vm_to_change(db, now=now, project_id=project_id, id=id)
    if not (validate_only and accepts(Verb.STOP, vm.state)):
        accept(Verb.RESIZE, vm.state, vm.name)
    refuse_moved(vm, capacity.host_id)
    size = Size(vcpus or vm.vcpus, memory_gib or vm.memory_gib, gpus or vm.gpus)
    if size == (vm.vcpus, vm.memory_gib, vm.gpus):
        accepted = f"at least one must change; VM {id!r} has {size}"
        raise Invalid.together(["vcpus", "memoryGib", "gpus"], accepted)
    check_size(machine_type, vcpus=size.vcpus, memory_gib=size.memory_gib)
    check_gpus(machine_type, gpus=size.gpus, vcpus=size.vcpus)
    if any(new < old for new, old in zip(size, (vm.vcpus, vm.memory_gib, vm.gpus), strict=True)):
        accept_less(vm, "shrink", now)
    allowance.take(db, taken_beyond(vm, size))
    if size.gpus != vm.gpus:
        (capacity,) = with_gpu_rooms(
            db, catalogue, machine_type, [capacity], gpus=size.gpus, asker=Asker(vm.project_id, vm.id)
        )
    take_size(db, vm, size, capacity=capacity, machine_type=machine_type, now=now)
    log_request(db, caller, vm, EventName.VM_RESIZE_REQUESTED, f"resize to {size} requested", now=now)
    view = vm_view(db, catalogue, project_id=project_id, id=id)
    if validate_only:
        forget(db)
    return ResizeVmResponse(vm=view)


def taken_beyond(vm: Vm, size: Size) -> dict[str, int]:
    """Say what another size takes of the project's quotas beyond what the VM has."""
    more = {"vcpus": size.vcpus - vm.vcpus, "memory_gib": size.memory_gib - vm.memory_gib}
    gpus = size.gpus - vm.gpus
    return {**more, "gpus": gpus, f"gpus.{vm.gpu_model_id}": gpus}


def take_size(
    db: Session, vm: Vm, size: Size, *, capacity: Capacity, machine_type: MachineType, now: datetime
) -> None:
    """Reserve another size where there is room for it, and have the row say so; Invalid with the nearest that fits.

    GPUs are chosen anew only for another number of them.
    """
    vm.sockets, vm.cores, vm.threads = resized_topology((vm.sockets, vm.cores, vm.threads), size.vcpus)
    reservation = reserved(db, vm.id)
    kept = vm.gpus if size.gpus == vm.gpus else 0
    required = Requirements(vcpus=size.vcpus, memory_mib=size.memory_gib * 1024, gpus=size.gpus - kept)
    place(required, [capacity], sizes=sizes_of(machine_type, disk_gib=0, kept_gpus=kept))
    if required.gpus:
        hold_just(db, vm.id, capacity.gpus_for(size.gpus), now=now)
    reservation.vcpus, reservation.memory_mib = required.vcpus, required.memory_mib
    vm.vcpus, vm.memory_gib, vm.gpus = size
    wake_queue(db, now=now)


@operation("POST /v1/projects/{projectId}/vm/{id}/metadata", access=Access.EDITOR)
def update_vm_metadata(
    db: Session, caller: Caller, *, now: datetime, project_id: str, id: str, data: UpdateVmMetadata
) -> UpdateVmMetadataResponse:
    """Change a virtual machine's metadata: with `merge` add to it, otherwise replace it."""
    vm = find_vm_to_change(db, now=now, project_id=project_id, id=id)
    labels = {**vm.labels, **data.metadata} if data.merge else data.metadata
    check_labels(labels)
    if labels != vm.labels:
        vm.labels = labels
        log_request(db, caller, vm, EventName.VM_METADATA_CHANGED, "metadata changed", now=now)
    return UpdateVmMetadataResponse(metadata=labels)


@operation("POST /v1/projects/{projectId}/vm/{id}/expire-time", access=Access.EDITOR)
def update_vm_expire_time(
    db: Session, caller: Caller, *, now: datetime, project_id: str, id: str, data: UpdateVmExpireTime
) -> UpdateVmExpireTimeResponse:
    """Set when a virtual machine is terminated, at a time or after a span from now."""
    vm = find_vm_to_change(db, now=now, project_id=project_id, id=id)
    accept_stay(vm)
    expire_time = plan_expiry(data.expire_time, data.ttl, now=now)
    if expire_time is None:
        raise Invalid.together(["expireTime", "ttl"], "one of them is required")
    accept_end(vm, expire_time)
    vm.expire_time = expire_time
    text = f"expires at {expire_time:%Y-%m-%d %H:%M:%S} UTC"
    log_request(db, caller, vm, EventName.VM_EXPIRY_REQUESTED, text, now=now)
    return UpdateVmExpireTimeResponse(expire_time=expire_time)


@operation("POST /v1/projects/{projectId}/vm/{id}/deletion-protection", access=Access.EDITOR)
def update_vm_deletion_protection(
    db: Session, caller: Caller, *, now: datetime, project_id: str, id: str, data: UpdateVmDeletionProtection
) -> Empty:
    """Protect a virtual machine from deletion, or lift that.

    One that is protected outlives its expiry, and is terminated at once when that is over and its protection is lifted.
    """
    vm = find_vm_to_change(db, now=now, project_id=project_id, id=id)
    accept_stay(vm)
    if data.deletion_protection is not vm.deletion_protection:
        vm.deletion_protection = data.deletion_protection
        name = EventName.VM_PROTECTED if vm.deletion_protection else EventName.VM_UNPROTECTED
        text = "protected from deletion" if vm.deletion_protection else "no longer protected from deletion"
        log_request(db, caller, vm, name, text, now=now)
    return Empty()


@operation("POST /v1/projects/{projectId}/vm/{id}/password", access=Access.EDITOR)
def update_vm_password(
    db: Session, caller: Caller, *, now: datetime, project_id: str, id: str, data: UpdateVmPassword
) -> Empty:
    """Change root's password in a running virtual machine; its guest agent sets it a moment later.

    It works at the console, and for SSH if the guest accepts passwords, as it does when it was created with one.
    """
    vm = find_vm_to_enter(db, Verb.SET_PASSWORD, now=now, project_id=project_id, id=id)
    if not data.password:
        raise Invalid.missing("password")
    check_password(data.password)
    vm.password_hash = hash_password(data.password)
    log_request(db, caller, vm, EventName.VM_PASSWORD_REQUESTED, "new password requested", now=now)
    return Empty()


@operation("POST /v1/projects/{projectId}/vm/{id}/authorized-ssh-keys", access=Access.EDITOR)
def update_vm_authorized_ssh_keys(
    db: Session, caller: Caller, *, now: datetime, project_id: str, id: str, data: UpdateVmAuthorizedSshKeys
) -> Empty:
    """Set the SSH keys that may log in to a running virtual machine; its guest agent changes them a moment later.

    Keys that came from the cloud and are not among these are removed; those that its owner added themselves stay.
    """
    vm = find_vm_to_enter(db, Verb.AUTHORIZE, now=now, project_id=project_id, id=id)
    keys = plan_keys(source_keys(db, caller, project_id, data.ssh_key_source), data.custom_ssh_keys)
    vm.ssh_key_source, vm.ssh_keys = data.ssh_key_source, "\n".join(keys)
    log_request(db, caller, vm, EventName.VM_KEYS_REQUESTED, f"{len(keys)} SSH keys requested", now=now)
    return Empty()


def find_vm_to_enter(db: Session, verb: Verb, *, now: datetime, project_id: str, id: str) -> Vm:
    """Find a VM whose guest can be told who may enter; NotFound, Forbidden, Refused."""
    vm = find_vm_to_change(db, now=now, project_id=project_id, id=id)
    accept(verb, vm.state, vm.name)
    accept_credentials(
        vm.name, agent=vm.agent_at is not None, booted=vm.first_boot_at is not None or vm.guest_silent
    )
    return vm
