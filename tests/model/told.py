"""What an owner knows: what they were told is theirs, and what speaks against asking for more.

`Told.VERB` gives the reasons against asking for that verb now: it must be accepted when there are none, else refused for one
of them. They are written here anew, from the contract and from what the API shows, and share nothing with the tables of the product.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select
from tests.made_up import Cloud

from cumulet.disks import Disk, Snapshot
from cumulet.errors import NotFound
from cumulet.gpus import GpuState
from cumulet.gpus import operations as gpu_operations
from cumulet.hosts.model import Host
from cumulet.networks import Network
from cumulet.private_images import PrivateImage
from cumulet.vm_record import Vm

Against = set[str]
COUNTED = {
    "vms": (Vm, lambda _: 1),
    "memory_gib": (Vm, lambda vm: vm.memory_gib),
    "gpus": (Vm, lambda vm: vm.gpus),
    "disk_gib": (Disk, lambda disk: disk.size_gib),
    "snapshots": (Snapshot, lambda _: 1),
    "images": (PrivateImage, lambda _: 1),
}
"""Of which table's rows quotas are, and how much each is of it."""
AT_REST = ("ACTIVE", "STOPPED")
GONE_OR_GOING = {"NotFound", "NETWORK_NOT_READY", "DISK_NOT_READY", "DISK_NOT_IN_USE", "VM_NOT_STOPPED"}
VM_NEEDS = {
    "start": ("VM_NOT_STOPPED", "STOPPED"),
    "stop": ("VM_NOT_ACTIVE", "ACTIVE", "FAILED"),
    "reboot": ("VM_NOT_ACTIVE", "ACTIVE"),
    "terminate": (
        "",
        *AT_REST,
        "PENDING",
        "STARTING",
        "STOPPING",
        "SUSPENDED",
        "FAILED",
        "UNKNOWN",
        "DELETING",
    ),
}


@dataclass
class VmRecord:
    """A VM."""

    image: str
    networks: set[str]
    groups: set[str]
    memory_gib: int
    gpus: int = 0
    power: set[str] = field(default_factory=lambda: {"ACTIVE"})
    """In which states it may settle: a guest that powers itself off may do so before it is told otherwise, or after."""
    labels: dict[str, str] = field(default_factory=dict)
    ends: datetime | None = None
    protected: bool = False
    came: int = 0
    """The how manieth that was created; of those that wait the first comes first."""
    waits: datetime | None = None
    """Until when it waits for room, or has done so; None when it has some."""


@dataclass
class DiskRecord:
    """A disk."""

    size_gib: int
    vm: str
    """The VM that is to have it; "" for none."""
    snapshots: dict[str, int] = field(default_factory=dict)
    """Their sizes in GiB."""
    protected: bool = False


def when(**reasons: bool) -> Against:
    """Give those that are so."""
    return {reason for reason, so in reasons.items() if so}


@dataclass
class Told:
    """All of one project."""

    cloud: Cloud
    vms: dict[str, VmRecord] = field(default_factory=dict)
    ending: dict[str, VmRecord] = field(default_factory=dict)
    """Those whose end was asked for, or whose time was over: they have their groups until they are gone."""
    disks: dict[str, DiskRecord] = field(default_factory=dict)
    images: dict[str, int] = field(default_factory=dict)
    networks: dict[str, str] = field(default_factory=dict)
    groups: set[str] = field(default_factory=set)
    limits: dict[str, int | None] = field(default_factory=dict)
    """The project's quotas."""

    # What the API shows
    def state(self, vm_id) -> str:
        """Say how a VM is shown; "" when there is none."""
        try:
            return self.cloud.vm(vm_id).state.value
        except NotFound:
            return ""

    def there(self, table, name) -> bool:
        """Say whether something is, or is still, there."""
        with self.cloud.database.reading() as db:
            return db.scalar(select(table.id).where(table.name == name)) is not None

    def no_room(self) -> Against:
        """Say whether room may be refused: what a host that did not answer has is not given out."""
        with self.cloud.database.reading() as db:
            silent = db.scalar(select(Host.id).where(Host.unheard_since.is_not(None)))
        return when(Invalid=silent is not None)

    def line(self) -> list[str]:
        """Name those that wait for room, in the order in which they came, and forget that those wait who have some."""
        line = sorted((vm.came, id) for id, vm in self.vms.items() if vm.waits)
        shown = {id: self.cloud.vm(id) for _, id in line if self.state(id)}
        entered = [id for id, vm in shown.items() if vm.queue_deadline is None]
        waiting = [id for id, vm in shown.items() if vm.queue_deadline and vm.state.value == "PENDING"]
        for id in entered:
            earlier = [one for one in waiting if self.vms[one].came < self.vms[id].came]
            assert not earlier, f"{id} overtook {earlier}"
            self.vms[id].waits = None
        return waiting

    def must_wait(self, gpus) -> bool:
        """Say whether there is no room for one more: nobody comes before who waits, on the only host."""
        return bool(self.line()) or gpus > self.free_gpus()

    def plugged(self, disk_id) -> str:
        """Say which VM still has a disk; "" for none."""
        try:
            return self.cloud.disk(disk_id).vm_id
        except NotFound:
            return ""

    def has(self, quota) -> int:
        """Say how much there is of what a quota is about; what is going counts as long as it is there."""
        table, amount = COUNTED[quota]
        with self.cloud.database.reading() as db:
            return sum(amount(row) for row in db.scalars(select(table)))

    def beyond(self, **asked) -> Against:
        """Say whether so much more of each is more than the project may have."""
        limited = {
            quota: more for quota, more in asked.items() if more > 0 and self.limits.get(quota) is not None
        }
        return when(Exhausted=any(self.has(one) + more > self.limits[one] for one, more in limited.items()))

    def used(self) -> dict[str, int]:
        """Say how much the project has of what its quotas are about, as its owner knows it."""
        return {
            "vms": len(self.vms),
            "memory_gib": sum(vm.memory_gib for vm in self.vms.values()),
            "gpus": sum(vm.gpus for vm in self.vms.values()),
            "disk_gib": sum(disk.size_gib for disk in self.disks.values()),
            "snapshots": sum(len(disk.snapshots) for disk in self.disks.values()),
            "images": len(self.images),
        }

    def free_gpus(self) -> int:
        """Say how many GPUs can be had."""
        gpus = self.cloud.call(gpu_operations.list_gpus).gpus
        return sum(gpu.state is GpuState.FREE for gpu in gpus)

    def vm_is(self, vm_id, reason, *states) -> Against:
        """Want a VM in one of these states."""
        state = self.state(vm_id)
        return when(NotFound=not state) or when(**{reason: state not in states})

    # What speaks against each verb
    def create_vm(self, id, *, gpus, **words):
        return self.queue_vm(id, gpus=gpus, **words) | when(Invalid=self.must_wait(gpus))

    def queue_vm(self, id, *, image, disks, networks, group, gpus, **_):
        known = [self.disks.get(disk) for disk in disks]
        return when(
            AlreadyExists=id in self.vms,
            Invalid=not {image} <= {"micro", *self.images}
            or None in known
            or not set(networks) <= self.networks.keys()
            or not {group} <= {"", *self.groups},
            IMAGE_NOT_READY=not {image} <= {"micro", *self.images},
            DISK_IN_USE=any(disk and disk.vm for disk in known),
            DISK_NOT_READY=None in known,
            NETWORK_NOT_READY=any(self.networks.get(one) != "ACTIVE" for one in networks),
        ) | self.beyond(vms=1, memory_gib=4, gpus=gpus, disk_gib=self.images.get(image, 1))

    def vm(self, verb, id):
        kept = verb == "terminate" and id in self.vms and self.vms[id].protected
        return self.vm_is(id, *VM_NEEDS[verb]) | when(ERROR_REASON_UNSPECIFIED=kept)

    def protect(self, id, **_on):
        return when(NotFound=not self.state(id), VM_NOT_READY=id not in self.vms)

    def protect_disk(self, id, **_on):
        return when(NotFound=not self.there(Disk, id), DISK_NOT_READY=id not in self.disks)

    def limit(self, _name, _most):
        return set()

    def resize_vm(self, id, memory_gib):
        same = id in self.vms and self.vms[id].memory_gib == memory_gib
        more = memory_gib - self.vms[id].memory_gib if id in self.vms else 0
        against = self.vm_is(id, "VM_NOT_STOPPED", "STOPPED") | when(Invalid=same)
        return against | self.beyond(memory_gib=more)

    def resize_gpus(self, id, gpus):
        own = self.vms[id].gpus if id in self.vms else 0
        wrong = own in {0, gpus} or gpus > own + self.free_gpus()
        against = self.vm_is(id, "VM_NOT_STOPPED", "STOPPED") | when(Invalid=wrong)
        return against | self.beyond(gpus=gpus - own)

    def set_password(self, id):
        against = self.vm_is(id, "VM_NOT_ACTIVE", "ACTIVE")
        if against:
            return against
        row = self.cloud.row(id)
        return when(VM_NOT_READY=not row.agent_at or not (row.first_boot_at or row.guest_silent))

    set_keys = set_password

    def label(self, id, _value):
        return when(NotFound=not self.state(id))

    def expire(self, id, _seconds):
        kept = id in self.vms and self.vms[id].protected
        return when(
            NotFound=not self.state(id), VM_NOT_READY=id not in self.vms, ERROR_REASON_UNSPECIFIED=kept
        )

    def create_disk(self, id, size_gib):
        return when(AlreadyExists=id in self.disks) | self.beyond(disk_gib=size_gib)

    def delete_disk(self, id):
        disk = self.disks.get(id)
        return when(
            NotFound=not self.there(Disk, id),
            DISK_IN_USE=disk is not None and disk.vm != "",
            ERROR_REASON_UNSPECIFIED=disk is not None and disk.protected,
        )

    def attach(self, id, vm_id):
        disk = self.disks.get(id)
        against = self.vm_is(vm_id, "VM_NOT_ACTIVE_OR_STOPPED", *AT_REST)
        return against | (when(DISK_IN_USE=disk.vm != "") if disk else GONE_OR_GOING)

    def detach(self, id):
        holder = self.plugged(id)
        if holder:
            return self.vm_is(holder, "VM_NOT_ACTIVE_OR_STOPPED", *AT_REST, "FAILED")
        return {"DISK_NOT_IN_USE", "NotFound"}

    def grow(self, vm_id, id, size_gib):
        against = self.vm_is(vm_id, "VM_NOT_ACTIVE_OR_STOPPED", *AT_REST)
        disk = self.disks.get(id)
        return (
            against
            | when(
                NotFound=disk is None or self.plugged(id) != vm_id,
                DISK_NOT_READY=disk is None,
                Invalid=disk is not None and size_gib < disk.size_gib,
            )
            | self.beyond(disk_gib=size_gib - disk.size_gib if disk else 0)
        )

    def snapshot(self, verb, id, name):
        disk = self.disks.get(id)
        taken = disk is not None and name in disk.snapshots
        return self._change_disk(id) | (
            when(AlreadyExists=taken) | self.beyond(snapshots=1)
            if verb == "take"
            else when(NotFound=not taken)
        )

    def _change_disk(self, id):
        if id not in self.disks:
            return GONE_OR_GOING
        holder = self.plugged(id)
        if holder:
            return self.vm_is(holder, "VM_NOT_STOPPED", "STOPPED")
        return when(DISK_NOT_READY=not self.cloud.disk_row(id).is_made)

    def take_image(self, vm_id, id):
        against = self.vm_is(vm_id, "VM_NOT_ACTIVE_OR_STOPPED", *AT_REST)
        return against | when(AlreadyExists=id in self.images) | self.beyond(images=1)

    def delete_image(self, id):
        used = any(vm.image == id for vm in self.vms.values())
        return when(NotFound=not self.there(PrivateImage, id), IMAGE_IN_USE=used)

    def network(self, verb, id):
        if verb == "create":
            return when(AlreadyExists=id in self.networks)
        if verb == "delete":
            used = any(id in vm.networks for vm in self.vms.values())
            return when(NotFound=not self.there(Network, id), ERROR_REASON_UNSPECIFIED=used)
        needed = {"start": "STOPPED", "stop": "ACTIVE"}[verb]
        return when(NETWORK_NOT_READY=self.networks[id] != needed) if id in self.networks else GONE_OR_GOING

    def group(self, verb, id):
        if verb == "create":
            return when(AlreadyExists=id in self.groups)
        used = any(id in vm.groups for vm in self.vms.values())
        return when(NotFound=id not in self.groups, SECURITY_GROUP_IN_USE=used and verb == "delete")

    def attach_group(self, id, vm_id):
        return when(NotFound=id not in self.groups or not self.state(vm_id))

    def detach_group(self, id, vm_id):
        vm = self.vms.get(vm_id) or self.ending.get(vm_id)
        has = vm is not None and id in vm.groups
        return self.attach_group(id, vm_id) | when(SECURITY_GROUP_NOT_IN_USE=not has)
