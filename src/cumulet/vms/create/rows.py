"""Making a VM's rows: the row, its room on a host, its NIC and addresses, its first line in the journal, all at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from uuid import UUID, uuid4

from sqlalchemy.orm import Session

from cumulet.catalogue import DataCenter, MachineType, Placement, rates_of
from cumulet.db import add_row, names_there
from cumulet.disks import (
    Disk,
    DiskState,
    DiskType,
    add_disk,
    attach,
    find_free_disks,
    home_of,
    rooms_of,
    without,
)
from cumulet.errors import CumuletError, Invalid, NotFound
from cumulet.events import EventName
from cumulet.hosts import QUEUE, Capacity, Requirements, SizeLimits, is_no_capacity, place, those_that_fit
from cumulet.images import Image
from cumulet.operation import Caller
from cumulet.plurals import plural
from cumulet.private_images import PrivateImage, as_image, find_ready_image
from cumulet.projects import keys_of_project, keys_of_user
from cumulet.quotas import lock_allowance
from cumulet.reconcile import Kind, wake
from cumulet.resource import Wanted, log_event, log_request, refuse_taken
from cumulet.vm_record.model import Vm
from cumulet.vm_record.wire import SshKeySource, VmState
from cumulet.vms.create.nics import connect, externals_of
from cumulet.vms.create.passwords import hash_password
from cumulet.vms.create.plan import VmPlan, plan_deadline, plan_vm
from cumulet.vms.create.request import CreateRequest
from cumulet.vms.create.room import (
    Wish,
    check_waiting,
    lock_capacities,
    lock_room,
    possible,
    take_room,
    those_before,
    with_answering_disks,
)
from cumulet.vms.offers import with_cpu_model
from cumulet.vms.wire import CreateVm


def create(db: Session, request: CreateRequest) -> None:
    """Check the request, find it a host and write all its rows; nothing is half done when it is refused."""
    data = request.data
    data_center, machine_type = find_offer(db, request)
    private, image = find_boot_image(db, request, data_center.id)
    keys = source_keys(db, request.caller, request.project_id, data.ssh_key_source)
    plan = plan_vm(
        data,
        machine_type,
        image,
        data_center=data_center,
        gpu_models=request.catalogue.gpu_models,
        keys=keys,
        now=request.now,
    )
    refuse_taken(db, Vm, request.project_id, data.vm_id, field="vmId")
    free = free_for(db, request, plan, machine_type, data_center)
    allowance = lock_allowance(db, request.project_id, request.catalogue.quotas)
    allowance.take(db, taken_by(plan, machine_type, data))
    disks = find_free_disks(db, request.project_id, data.storage_disk_ids)
    check_place(disks, data_center)
    vm = vm_row(request, plan, image, machine_type, data_center)
    asked = Asked(vm, plan.required, disks, rooms_of(db, disks), machine_type, data_center)
    if disks and len(free) == 1 and not asked.is_at_home_on(free[0]):  # it was theirs a moment ago
        free = lock_capacities(db, request.catalogue, machine_type, wish_of(request))
    chosen = choose_host(db, request, asked, with_answering_disks(db, disks, free))
    boot_disk = boot_disk_row(vm, plan, private)
    add_disk(db, boot_disk, field="bootDisk.id", actor=request.caller.email)
    add_row(db, vm)
    for disk in disks:
        attach(db, disk, vm.id, chosen, now=request.now)
    connect(db, request, vm, data_center, allowance)
    log_create(db, request, vm, plan, chosen)
    if chosen:  # last, for whoever gives room back there waits from here on
        take_room(db, vm, boot_disk, chosen, machine_type, now=request.now)
    wake(db, Kind.VM, vm.id, now=request.now)


def free_for(
    db: Session, request: CreateRequest, plan: VmPlan, machine_type: MachineType, data_center: DataCenter
) -> Sequence[Capacity]:
    """Lock what the VM's host is chosen of, and say what is free there."""
    wish, disks = wish_of(request), request.data.storage_disk_ids
    home = home_of(db, request.project_id, disks) if disks else None
    if disks and home is None:  # it goes where the least has to be brought
        return lock_capacities(db, request.catalogue, machine_type, wish)
    packed = data_center.placement is Placement.PACK
    return lock_room(db, request.catalogue, machine_type, wish, plan.required, packed=packed, only=home)


def wish_of(request: CreateRequest) -> Wish:
    """Say what room is looked for, but for its size."""
    return Wish(request.project_id, request.data.metadata, request.data.gpus)


@dataclass(frozen=True, slots=True)
class Asked:
    """A VM's row and what it needs of a host."""

    vm: Vm
    required: Requirements
    disks: Sequence[Disk]
    """Storage disks that it is to have."""
    rooms: Mapping[UUID, int]
    """How much room each of them has, in GiB."""
    machine_type: MachineType
    data_center: DataCenter

    @property
    def whole(self) -> Requirements:
        """What it needs with its storage disks, which go where it goes."""
        sizes: dict[str, int] = defaultdict(int)
        for disk in self.disks:
            sizes[disk.pool] += self.rooms[disk.id]
        return replace(self.required, beside=sizes)

    def place(self, free: Sequence[Capacity]) -> Capacity:
        """Choose a host of these, first of all one to which the least has to be brought; Invalid (code 3: no capacity) tells why none fits."""
        free = [without(self.disks, self.rooms, one) for one in free]
        fitting = those_that_fit(self.whole, free) if self.disks else ()
        least = min(map(self.brought_to, fitting), default=0)
        return place(
            self.whole,
            [one for one in fitting if self.brought_to(one) == least] or free,
            sizes=sizes_of(self.machine_type, disk_gib=self.vm.image_gib),
            packed=self.data_center.placement is Placement.PACK,
        )

    def is_at_home_on(self, host: Capacity) -> bool:
        """Whether it fits on a host with all its disks, of which none has to be brought there."""
        there = without(self.disks, self.rooms, host)
        return not self.brought_to(host) and bool(those_that_fit(self.whole, [there]))

    def brought_to(self, host: Capacity) -> int:
        """How many GiB of its disks would have to be brought to a host."""
        away = (disk for disk in self.disks if disk.is_made and not host.reaches(disk.host_id, disk.pool))
        return sum(self.rooms[disk.id] for disk in away)


def choose_host(
    db: Session, request: CreateRequest, asked: Asked, free: Sequence[Capacity]
) -> Capacity | None:
    """Choose the VM's host; None where it is to wait for room, which there could be; Invalid otherwise."""
    vm = asked.vm
    try:
        chosen = asked.place(free)
    except Invalid as full:
        if not request.data.queue or not is_no_capacity(full):
            raise
        could = possible(db, request.catalogue, asked.machine_type, asked.whole)
        if not could:
            raise
        waiting = those_before(db, vm.data_center_id, None)
        check_waiting(waiting, vm.created_by, most=request.catalogue.limits.waiting_vms_per_user)
        vm.host_id, vm.waits_until = could[0].host_id, plan_deadline(request.data, now=request.now)
        vm.waits_for = in_line(len(waiting) + 1, full)
        return None
    vm.host_id = chosen.host_id
    return chosen


def log_create(db: Session, request: CreateRequest, vm: Vm, plan: VmPlan, chosen: Capacity | None) -> None:
    """Tell of a new VM, and if it waits for room have it looked at whether there is some by now."""
    model = request.catalogue.find_gpu_model(vm.gpu_model_id).model_name if vm.gpus else ""
    gpus = f", {plural(vm.gpus, f'{model} GPU')}" if vm.gpus else ""
    size = f"{plural(vm.vcpus, 'vCPU')}, {vm.memory_gib} GiB memory{gpus}, {plan.boot_disk_gib} GiB disk"
    text = f"{size} from image {vm.image_id}"
    log_request(db, request.caller, vm, EventName.VM_CREATE_REQUESTED, text, now=request.now)
    if chosen is None:
        waits = f"waits for room until {vm.waits_until:%Y-%m-%d %H:%M:%S} UTC, {vm.waits_for}"
        log_event(db, vm, EventName.VM_QUEUED, waits, now=request.now)
        wake(db, Kind.QUEUE, QUEUE, now=request.now)


def find_offer(db: Session, request: CreateRequest) -> tuple[DataCenter, MachineType]:
    """Find the data center and the machine type that are asked for; Invalid names the ones there are."""
    with Invalid.reference("dataCenterId"):
        data_center = request.catalogue.find_data_center(request.data.data_center_id)
    with Invalid.reference("machineType"):
        found = request.catalogue.find_machine_type(data_center.id, request.data.machine_type)
    return data_center, with_cpu_model(db, found) if request.data.cpu_model else found


def taken_by(plan: VmPlan, machine_type: MachineType, data: CreateVm) -> dict[str, int]:
    """Say what a VM takes of its project's quotas; its storage disks and its networks have theirs already."""
    return {
        "vms": 1,
        "vcpus": data.vcpus,
        "memory_gib": data.memory_gib,
        "disk_gib": plan.boot_disk_gib,
        "external_addresses": len(externals_of(data.nics)),
        "gpus": data.gpus,
        f"gpus.{machine_type.gpu_model_id}": data.gpus,
    }


def find_boot_image(
    db: Session, request: CreateRequest, data_center_id: str
) -> tuple[PrivateImage | None, Image]:
    """Find the image to boot from: a project's own comes before a public one of the same id."""
    id = request.data.boot_disk_image_id
    private = find_ready_image(db, request.project_id, id, data_center_id)
    if private is not None:
        return private, as_image(private, request.images)
    with Invalid.reference("bootDiskImageId"):
        try:
            return None, request.images.find(request.catalogue.image_id(id))
        except NotFound:
            raise NotFound.named("image", id, image_ids(db, request, data_center_id)) from None


def image_ids(db: Session, request: CreateRequest, data_center_id: str) -> list[str]:
    """Name all that a VM of this project can boot from in a data center."""
    public = request.images.ids()
    aliases = [alias for alias, id in request.catalogue.image_aliases.items() if id in public]
    of_project = (
        PrivateImage.project_id == request.project_id,
        PrivateImage.data_center_id == data_center_id,
    )
    return [*public, *aliases, *names_there(db, PrivateImage.name, *of_project)]


def sizes_of(machine_type: MachineType, *, disk_gib: int, kept_gpus: int = 0) -> SizeLimits:
    """Say which sizes a machine type has, with a disk of at least so much, beside GPUs that are not asked for anew."""
    vcpus = max(machine_type.min_vcpu, ceil(kept_gpus * machine_type.min_vcpu_per_gpu))
    memory_mib = machine_type.min_memory_gib * 1024
    return SizeLimits(
        least=Requirements(vcpus=vcpus, memory_mib=memory_mib, disk_gib=disk_gib),
        least_vcpus_per_gib=machine_type.min_vcpu_per_memory_gib,
        most_vcpus_per_gib=machine_type.max_vcpu_per_memory_gib,
        least_vcpus_per_gpu=machine_type.min_vcpu_per_gpu,
        most_vcpus_per_gpu=machine_type.max_vcpu_per_gpu,
    )


def source_keys(db: Session, caller: Caller, project_id: str, source: SshKeySource) -> tuple[str, ...]:
    """Give the SSH keys of the source that a request names."""
    match source:
        case SshKeySource.PROJECT:
            return keys_of_project(db, project_id)
        case SshKeySource.USER:
            return keys_of_user(db, caller.user_id)
    return ()


def in_line(position: int, full: CumuletError) -> str:
    """Say which place a VM has among those that wait in its data center, and what it lacks."""
    return f"place {position} in line: {full.message}"


def check_place(disks: Sequence[Disk], data_center: DataCenter) -> None:
    """Refuse storage disks of another data center."""
    for disk in disks:
        if disk.data_center_id != data_center.id:
            elsewhere = f"disks of that data center; {disk.name!r} is in {disk.data_center_id!r}"
            raise Invalid.field("storageDiskIds", ", ".join(one.name for one in disks), elsewhere)


def vm_row(
    request: CreateRequest, plan: VmPlan, image: Image, machine_type: MachineType, data_center: DataCenter
) -> Vm:
    """Put the plan into a row; its host is chosen after."""
    data = request.data
    rates = rates_of(machine_type, data_center, data.commitment_term)
    password_hash = hash_password(data.password) if data.password else ""
    return Vm(
        id=uuid4(),
        project_id=request.project_id,
        name=data.vm_id,
        data_center_id=data_center.id,
        machine_type=machine_type.id,
        create_time=request.now,
        created_by=request.caller.email,
        expire_time=plan.expire_time,
        deletion_protection=data.deletion_protection,
        wanted=Wanted.ACTIVE,
        state=VmState.PENDING,
        vcpus=data.vcpus,
        memory_gib=data.memory_gib,
        gpus=data.gpus,
        gpu_model_id=machine_type.gpu_model_id,
        sockets=plan.topology.sockets,
        cores=plan.topology.cores,
        threads=plan.topology.threads,
        image_id=image.id,
        image_name=image.name,
        image_sha256=image.sha256,
        image_format=image.format,
        image_gib=image.size_gib,
        image_firmware=image.firmware,
        image_cloud_init=image.cloud_init,
        boot_disk_id=uuid4(),
        labels=data.metadata,
        ssh_key_source=data.ssh_key_source,
        ssh_keys="\n".join(plan.ssh_keys),
        keys_in_guest="\n".join(plan.ssh_keys),
        password_hash=password_hash,
        password_in_guest=password_hash,
        start_script=data.start_script,
        commitment_term=data.commitment_term,
        commitment_end_time=plan.commitment_end,
        vcpu_price=rates.vcpu,
        memory_price=rates.memory_gib,
        gpu_price=rates.gpu,
        ipv4_price=rates.ipv4,
        ipv4_addresses=len(externals_of(data.nics)),
    )


def boot_disk_row(vm: Vm, plan: VmPlan, private: PrivateImage | None) -> Disk:
    """Put the plan of its boot disk into a row."""
    return Disk(
        id=vm.boot_disk_id,
        project_id=vm.project_id,
        name=plan.boot_disk_name,
        type=DiskType.BOOT,
        data_center_id=vm.data_center_id,
        host_id=vm.host_id,
        size_gib=plan.boot_disk_gib,
        storage_class=plan.storage_class,
        pool=plan.pool.id,
        gib_price=plan.pool.disk_gib_price_hr,
        create_time=vm.create_time,
        wanted=Wanted.KEPT,
        state=DiskState.INIT,
        vm_id=vm.id,
        attached_at=vm.create_time,
        private_image_id=private.id if private else None,
    )
