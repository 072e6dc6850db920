"""What the journal can tell: the name of every event, and the data that each carries for programs.

The names are the API's: they stand in timelines, so clients match them. The data is what a bill, a graph or an
explanation is made of later: sizes, rates and states as they were at that moment.
"""

from __future__ import annotations

import enum
from datetime import datetime
from decimal import Decimal
from typing import Final

import msgspec


class EventName(enum.StrEnum):
    """`<kind of resource>.<what happened>`; `…_requested` is what its owner asked for, the others what came of it."""

    VM_CREATE_REQUESTED = "vm.create_requested"
    VM_QUEUED = "vm.queued"
    VM_PLACED = "vm.placed"
    VM_QUEUE_ENDED = "vm.queue_ended"
    VM_START_REQUESTED = "vm.start_requested"
    VM_STOP_REQUESTED = "vm.stop_requested"
    VM_REBOOT_REQUESTED = "vm.reboot_requested"
    VM_TERMINATE_REQUESTED = "vm.terminate_requested"
    VM_RESIZE_REQUESTED = "vm.resize_requested"
    VM_EXPIRY_REQUESTED = "vm.expiry_requested"
    VM_PROTECTED = "vm.protected"
    VM_UNPROTECTED = "vm.unprotected"
    VM_COMMITTED = "vm.committed"
    VM_COMMITMENT_ENDED = "vm.commitment_ended"
    VM_PASSWORD_REQUESTED = "vm.password_requested"  # noqa: S105 - an event's name
    VM_KEYS_REQUESTED = "vm.keys_requested"
    VM_DISK_ATTACH_REQUESTED = "vm.disk_attach_requested"
    VM_DISK_DETACH_REQUESTED = "vm.disk_detach_requested"
    VM_DISK_RESIZE_REQUESTED = "vm.disk_resize_requested"
    VM_SNAPSHOT_REQUESTED = "vm.snapshot_requested"
    VM_IMAGE_REQUESTED = "vm.image_requested"
    VM_CONSOLE_REQUESTED = "vm.console_requested"
    VM_METADATA_CHANGED = "vm.metadata_changed"
    VM_GROUP_ATTACHED = "vm.group_attached"
    VM_GROUP_DETACHED = "vm.group_detached"
    VM_MOVE_REQUESTED = "vm.move_requested"
    VM_MOVE_ABORTED = "vm.move_aborted"
    VM_MOVED = "vm.moved"
    VM_STARTED = "vm.started"
    VM_STOPPED = "vm.stopped"
    VM_SHUTDOWN_SENT = "vm.shutdown_sent"
    VM_FORCED_OFF = "vm.forced_off"
    VM_CRASHED = "vm.crashed"
    VM_PANICKED = "vm.panicked"
    VM_PAUSED_ON_IO_ERROR = "vm.paused_on_io_error"
    VM_FAULTED = "vm.faulted"
    VM_RESUMED = "vm.resumed"
    VM_BOOT_STAGE = "vm.boot_stage"
    VM_FIRST_BOOT_DONE = "vm.first_boot_done"
    VM_AGENT_CONNECTED = "vm.agent_connected"
    VM_GUEST_SILENT = "vm.guest_silent"
    VM_AGENT_IGNORED = "vm.agent_ignored"
    VM_PASSWORD_SET = "vm.password_set"  # noqa: S105 - an event's name
    VM_PASSWORD_REFUSED = "vm.password_refused"  # noqa: S105 - an event's name
    VM_KEYS_SET = "vm.keys_set"
    VM_KEYS_REFUSED = "vm.keys_refused"
    VM_DISK_ATTACHED = "vm.disk_attached"
    VM_DISK_DETACHED = "vm.disk_detached"
    VM_DISK_LOST = "vm.disk_lost"
    VM_GPU_FAULT = "vm.gpu_fault"
    VM_GPU_BACK = "vm.gpu_back"
    VM_IMAGE_READY = "vm.image_ready"
    VM_IMAGE_FAILED = "vm.image_failed"
    VM_EXPIRED = "vm.expired"
    VM_DELETED = "vm.deleted"

    DISK_CREATE_REQUESTED = "disk.create_requested"
    DISK_DELETE_REQUESTED = "disk.delete_requested"
    DISK_SNAPSHOT_REQUESTED = "disk.snapshot_requested"
    DISK_PROTECTED = "disk.protected"
    DISK_UNPROTECTED = "disk.unprotected"
    DISK_CREATED = "disk.created"
    DISK_ASSIGNED = "disk.assigned"
    DISK_RELEASED = "disk.released"
    DISK_MOVED = "disk.moved"
    DISK_CHANGED = "disk.changed"
    DISK_LOST = "disk.lost"
    DISK_FOUND = "disk.found"
    DISK_DELETED = "disk.deleted"

    SNAPSHOT_CREATED = "snapshot.created"
    SNAPSHOT_DELETE_REQUESTED = "snapshot.delete_requested"
    SNAPSHOT_DELETED = "snapshot.deleted"

    NETWORK_CREATE_REQUESTED = "network.create_requested"
    NETWORK_DELETE_REQUESTED = "network.delete_requested"
    NETWORK_START_REQUESTED = "network.start_requested"
    NETWORK_STOP_REQUESTED = "network.stop_requested"
    NETWORK_ACTIVE = "network.active"
    NETWORK_STOPPED = "network.stopped"
    NETWORK_DELETED = "network.deleted"

    SECURITY_GROUP_CREATED = "security_group.created"
    SECURITY_GROUP_CHANGED = "security_group.changed"
    SECURITY_GROUP_DELETE_REQUESTED = "security_group.delete_requested"
    SECURITY_GROUP_DELETED = "security_group.deleted"

    PRIVATE_IMAGE_CREATE_REQUESTED = "private_image.create_requested"
    PRIVATE_IMAGE_DELETE_REQUESTED = "private_image.delete_requested"
    PRIVATE_IMAGE_READY = "private_image.ready"
    PRIVATE_IMAGE_FAILED = "private_image.failed"
    PRIVATE_IMAGE_DELETED = "private_image.deleted"

    USER_INVITED = "user.invited"
    USER_JOINED = "user.joined"
    USER_SUSPENDED = "user.suspended"
    USER_RESUMED = "user.resumed"
    USER_REMOVED = "user.removed"
    USER_ROLE_CHANGED = "user.role_changed"
    USER_CREATED_PROJECT = "user.created_project"
    USER_CHANGED_PROJECT = "user.changed_project"
    USER_DELETED_PROJECT = "user.deleted_project"
    USER_SET_QUOTA = "user.set_quota"
    USER_SET_SPEND_LIMIT = "user.set_spend_limit"
    PROJECT_SPEND_WARNED = "project.spend_warned"
    PROJECT_SPEND_REACHED = "project.spend_reached"
    USER_ADDED_API_KEY = "user.added_api_key"
    USER_REMOVED_API_KEY = "user.removed_api_key"
    USER_SIGNED_IN = "user.signed_in"
    USER_SET_PASSWORD = "user.set_password"  # noqa: S105 - an event's name
    USER_ADDED_SECOND_FACTOR = "user.added_second_factor"
    USER_REMOVED_SECOND_FACTOR = "user.removed_second_factor"
    USER_RESET = "user.reset"
    USER_SIGNED_OUT = "user.signed_out"
    USER_ADDED_SSH_KEY = "user.added_ssh_key"
    USER_REMOVED_SSH_KEY = "user.removed_ssh_key"

    MEMBER_ADDED = "member.added"
    MEMBER_CHANGED = "member.changed"
    MEMBER_REMOVED = "member.removed"

    GPU_APPEARED = "gpu.appeared"
    GPU_CHANGED = "gpu.changed"
    GPU_ABSENT = "gpu.absent"
    GPU_FORGOTTEN = "gpu.forgotten"
    GPU_HELD = "gpu.held"
    GPU_RETURNED = "gpu.returned"
    GPU_FAULTED = "gpu.faulted"
    GPU_CLEAN_REQUESTED = "gpu.clean_requested"
    GPU_PROOF_REQUESTED = "gpu.proof_requested"
    GPU_PROVED = "gpu.proved"
    GPU_CLEANED = "gpu.cleaned"
    GPU_QUARANTINED = "gpu.quarantined"
    GPU_WITHDRAWN = "gpu.withdrawn"
    GPU_OFFERED = "gpu.offered"

    HOST_ADDING = "host.adding"
    HOST_UP = "host.up"
    HOST_CORDONED = "host.cordoned"
    HOST_DRAINING = "host.draining"
    HOST_MAINTENANCE = "host.maintenance"
    HOST_SILENT = "host.silent"
    HOST_LOST = "host.lost"
    HOST_POWER_FAILED = "host.power_failed"
    HOST_LABELLED = "host.labelled"
    HOST_CENTRAL = "host.central"
    HOST_REMOVED = "host.removed"
    HOST_EXAMINED = "host.examined"
    HOST_STRAYS = "host.strays"
    HOST_LEFTOVERS_REMOVED = "host.leftovers_removed"

    FABRIC_CORRECTED = "fabric.corrected"
    FABRIC_LEFTOVERS_REMOVED = "fabric.leftovers_removed"

    WEBHOOK_CREATED = "webhook.created"
    WEBHOOK_ENABLED = "webhook.enabled"
    WEBHOOK_TEST_REQUESTED = "webhook.test_requested"
    WEBHOOK_PAUSED = "webhook.paused"
    WEBHOOK_MISSED = "webhook.missed"
    WEBHOOK_DELETED = "webhook.deleted"

    WORK_OVERDUE = "work.overdue"


COST_BEGINS: Final = frozenset(
    {
        EventName.VM_STARTED,
        EventName.VM_STOPPED,
        EventName.DISK_CREATE_REQUESTED,
        EventName.DISK_CREATED,
        EventName.SNAPSHOT_CREATED,
        EventName.PRIVATE_IMAGE_READY,
        EventName.NETWORK_ACTIVE,
    }
)
"""From the first of these on a resource costs what its data say; a boot disk from the one that says it is there."""
COST_CHANGES: Final = frozenset(
    {
        EventName.VM_RESIZE_REQUESTED,
        EventName.VM_METADATA_CHANGED,
        EventName.VM_COMMITTED,
        EventName.VM_COMMITMENT_ENDED,
        EventName.DISK_CHANGED,
        EventName.DISK_ASSIGNED,
        EventName.DISK_RELEASED,
        EventName.DISK_LOST,
        EventName.DISK_FOUND,
    }
)
"""What costs already costs from then on what their data say."""
COST_ENDS: Final = frozenset(
    {
        EventName.VM_TERMINATE_REQUESTED,
        EventName.VM_EXPIRED,
        EventName.VM_DELETED,
        EventName.DISK_DELETE_REQUESTED,
        EventName.DISK_DELETED,
        EventName.SNAPSHOT_DELETE_REQUESTED,
        EventName.SNAPSHOT_DELETED,
        EventName.PRIVATE_IMAGE_DELETE_REQUESTED,
        EventName.PRIVATE_IMAGE_DELETED,
        EventName.NETWORK_DELETE_REQUESTED,
        EventName.NETWORK_DELETED,
    }
)
"""Nobody pays for the time that it takes to remove what is no longer wanted."""
BILLABLE: Final = COST_BEGINS | COST_CHANGES | COST_ENDS
"""Events that usage is computed of: each says all that its resource costs from then on."""


class EventData(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an event says for programs: how its resource was at that moment. What does not concern it is left out."""


class VmData(EventData, frozen=True, kw_only=True):
    """A VM, with its rates an hour, and what an event of it is about besides."""

    name: str
    data_center_id: str
    machine_type: str
    state: str
    vcpus: int
    memory_gib: int
    vcpu_price: Decimal
    memory_gib_price: Decimal
    ipv4_price: Decimal
    gpus: int = 0
    gpu_model_id: str = ""
    gpu_price: Decimal = Decimal(0)
    """Of each GPU."""
    ipv4_addresses: int = 0
    """External ones."""
    labels: dict[str, str] = {}
    """Its metadata."""
    commitment_term: str = ""
    """Which the rates are for."""
    commitment_end_time: datetime | None = None
    disk_id: str = ""
    """The owner's name of the disk, snapshot or image that the event is about."""
    snapshot_id: str = ""
    image_id: str = ""


class DiskData(EventData, frozen=True, kw_only=True):
    """A disk, with the rate of a GiB an hour that it was made at."""

    name: str
    data_center_id: str
    type: str
    storage_class: str
    pool: str
    size_gib: int
    gib_price: Decimal
    state: str
    vm_id: str = ""
    """The UUID of the VM that has it."""
    snapshot_id: str = ""


class SnapshotData(EventData, frozen=True, kw_only=True):
    """A snapshot, with the rate of a GiB an hour that it was taken at."""

    name: str
    disk_id: str
    """The owner's name of its disk."""
    data_center_id: str
    size_gib: int
    gib_price: Decimal


class NetworkData(EventData, frozen=True, kw_only=True):
    """A network."""

    name: str
    data_center_id: str
    range: str
    price: Decimal
    state: str


class SecurityGroupData(EventData, frozen=True, kw_only=True):
    """A security group."""

    name: str
    data_center_id: str
    rules: int
    state: str


class PrivateImageData(EventData, frozen=True, kw_only=True):
    """A project's own image."""

    name: str
    data_center_id: str
    size_gib: int
    gib_price: Decimal
    state: str


class GpuData(EventData, frozen=True, kw_only=True):
    """A GPU of a host."""

    host: str
    address: str
    pci_id: str
    state: str
    problems: list[str]
    """What is wrong with it."""
    project_id: str = ""
    """Of the VM that holds it, if one does, as is the next."""
    vm_id: str = ""


class HostData(EventData, frozen=True, kw_only=True):
    """A host."""

    name: str
    data_center_id: str
    state: str
    was: str
    """Its state before."""
    why: str


class MemberData(EventData, frozen=True, kw_only=True):
    """A member of a project."""

    email: str
    role: str


class SpendData(EventData, frozen=True, kw_only=True):
    """What a project has spent in a month, and may."""

    month: str
    spent: Decimal
    limit: Decimal


class WebhookData(EventData, frozen=True, kw_only=True):
    """A webhook; where it leads is its owners' secret."""

    name: str
    state: str
    missed: int = 0
    """How many events it was never told."""


class OverdueData(EventData, frozen=True, kw_only=True):
    """Work that has not settled."""

    kind: str
    minutes: int
