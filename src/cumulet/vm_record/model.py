"""A VM's row: what its project wants, what we last saw, and the facts its first boot needs."""

from __future__ import annotations

import enum
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import JSON, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from cumulet.catalogue import CommitmentTerm
from cumulet.due import Kind
from cumulet.events import VmData
from cumulet.hypervisor import Firmware
from cumulet.resource import Resource, Wanted
from cumulet.vm_record.accepts import PASSING
from cumulet.vm_record.wire import SshKeySource, VmState

MOST_LABELS: Final = 64
"""That a VM has, or is looked for by."""
THOSE_WAITING: Final = text("waits_until IS NOT NULL")


class Move(enum.Enum):
    """How a VM goes to another host."""

    COLD = "COLD"
    """Shut down."""
    LIVE = "LIVE"
    """While it runs, with its memory; shut down if it is that by itself meanwhile."""
    BACK = "BACK"
    """It was going live and is to stay, if it still can."""


class Vm(Resource):
    """A virtual machine."""

    kind = Kind.VM
    called = "VM"
    INTENT = (
        "wanted",
        "moving_to",
        "move",
        "reboots_asked",
        "expire_time",
        "deletion_protection",
        "commitment_end_time",
    )

    __tablename__ = "vm"
    __table_args__ = (
        UniqueConstraint("project_id", "name"),
        Index("ix_vm_sums", "project_id", "vcpus", "memory_gib", "gpus", "gpu_model_id"),
        Index("ix_vm_waiting", "create_time", sqlite_where=THOSE_WAITING, postgresql_where=THOSE_WAITING),
    )

    project_id: Mapped[str] = mapped_column(ForeignKey("project.id"))
    data_center_id: Mapped[str]
    machine_type: Mapped[str]
    host_id: Mapped[UUID] = mapped_column(ForeignKey("host.id"), index=True)
    term: Mapped[int] = mapped_column(default=0)
    """How often it changed its host: no host starts a machine of a lower one than it knows."""
    moving_to: Mapped[UUID | None]
    """Where it is being moved: nobody starts it meanwhile."""
    move: Mapped[Move | None]
    """How it is being moved."""
    waits_until: Mapped[datetime | None]
    """Nothing is reserved for it yet, and its host is only one where there could be room: until then it waits for that."""
    waits_for: Mapped[str] = mapped_column(default="")
    """Its place among those that wait, and what it lacks, in words for its owner."""
    create_time: Mapped[datetime]
    created_by: Mapped[str]
    expire_time: Mapped[datetime | None]
    deletion_protection: Mapped[bool] = mapped_column(default=False)
    """Nobody ends it before that is lifted; its time, when that is over, only then."""

    state: Mapped[VmState]

    vcpus: Mapped[int]
    memory_gib: Mapped[int]
    gpus: Mapped[int] = mapped_column(default=0)
    """How many it was promised; those that are reserved for it say so themselves."""
    gpu_model_id: Mapped[str] = mapped_column(default="")
    sockets: Mapped[int]
    cores: Mapped[int]
    threads: Mapped[int]
    """The topology asked for; all 0 for none."""
    image_id: Mapped[str]
    image_name: Mapped[str]
    image_sha256: Mapped[str]
    image_format: Mapped[str]
    image_gib: Mapped[int]
    image_firmware: Mapped[Firmware] = mapped_column(default=Firmware.BIOS)
    image_cloud_init: Mapped[bool] = mapped_column(default=True)
    boot_disk_id: Mapped[UUID]
    labels: Mapped[dict[str, Any]] = mapped_column("metadata", JSON)

    ssh_key_source: Mapped[SshKeySource]
    ssh_keys: Mapped[str]
    """The keys it is to let in, one a line."""
    keys_in_guest: Mapped[str]
    """Those of them that the guest has: by its seed, or because its agent took them."""
    password_hash: Mapped[str]
    password_in_guest: Mapped[str]
    """The hash that the guest has, likewise."""
    start_script: Mapped[str]

    commitment_term: Mapped[CommitmentTerm] = mapped_column(default=CommitmentTerm.NONE)
    commitment_end_time: Mapped[datetime | None]
    """Until then it is neither ended nor made smaller, and has the rates of its term."""
    vcpu_price: Mapped[Decimal]
    memory_price: Mapped[Decimal]
    gpu_price: Mapped[Decimal]
    ipv4_price: Mapped[Decimal]
    ipv4_addresses: Mapped[int] = mapped_column(default=0)
    """How many external addresses it was promised."""

    started: Mapped[int] = mapped_column(default=0)
    """The hypervisor's token of the run we last saw; 0 when it was off."""
    started_at: Mapped[datetime | None]
    """When we saw that run begin."""
    power_asked_at: Mapped[datetime | None]
    """Since when shutdown requested from the guest."""
    resumed_at: Mapped[datetime | None]
    """When its machine was last told to go on, after its host had failed to write."""
    reboots_asked: Mapped[int] = mapped_column(default=0)
    reboots_done: Mapped[int] = mapped_column(default=0)
    crashes: Mapped[int] = mapped_column(default=0)
    """Ends that the guest did not ask for, since it last ran well."""
    agent_at: Mapped[datetime | None]
    """When the guest's agent first answered in this run."""
    first_boot_at: Mapped[datetime | None]
    """When the guest was first seen to have finished its first boot."""
    start_script_status: Mapped[int | None]
    seed_spent_at: Mapped[datetime | None]
    """When its seed on the host was rewritten without secrets."""
    boot_stage: Mapped[str] = mapped_column(default="")
    """Where its first boot was when we last looked, in the guest's word for it."""
    boot_problems: Mapped[str] = mapped_column(default="")
    """What its cloud-init complained of, one a line."""
    boot_log: Mapped[str] = mapped_column(default="")
    """The last lines of its first boot's log."""
    panic: Mapped[str] = mapped_column(default="")
    """The last words of its kernel when it panicked, with their time, which tells one panic from another."""
    panic_at: Mapped[datetime | None]
    """When we saw that, if it was in this run."""
    guest_silent: Mapped[bool] = mapped_column(default=False)
    """It said nothing for so long that we stopped asking."""

    def event_data(self) -> VmData:
        """Describe its size, its state and its rates."""
        return VmData(
            name=self.name,
            data_center_id=self.data_center_id,
            machine_type=self.machine_type,
            state=self.state.value,
            vcpus=self.vcpus,
            memory_gib=self.memory_gib,
            vcpu_price=self.vcpu_price,
            memory_gib_price=self.memory_price,
            ipv4_price=self.ipv4_price,
            gpus=self.gpus,
            gpu_model_id=self.gpu_model_id,
            gpu_price=self.gpu_price,
            ipv4_addresses=self.ipv4_addresses,
            labels=self.labels,
            commitment_term=self.commitment_term.value if self.commitment_end_time else "",
            commitment_end_time=self.commitment_end_time,
        )

    def is_committed(self, now: datetime) -> bool:
        """Whether it is in the term that its owner committed it to."""
        return self.commitment_end_time is not None and self.commitment_end_time > now

    @property
    def is_waiting(self) -> bool:
        """It may still get room: nobody gave it up."""
        return self.waits_until is not None and self.state is VmState.PENDING

    @property
    def is_passing(self) -> bool:
        """It leaves its state by itself soon: who waits for room may do so for hours."""
        return self.state in PASSING and not self.is_waiting

    @property
    def ends_at(self) -> datetime | None:
        """When it is terminated by itself: not while it is protected, nor in the term that it is committed to."""
        if self.expire_time is None or self.deletion_protection:
            return None
        return max(self.expire_time, self.commitment_end_time or self.expire_time)

    @property
    def reboot_pending(self) -> bool:
        """A restart was asked for and has not happened."""
        return self.reboots_asked > self.reboots_done

    def want_off(self) -> None:
        """Have it off from now on: a restart that has not happened is overtaken by that and ends."""
        self.wanted, self.reboots_done = Wanted.STOPPED, self.reboots_asked

    @property
    def credentials_pending(self) -> bool:
        """A password or keys were asked for that the guest does not have yet."""
        return (self.keys_in_guest, self.password_in_guest) != (self.ssh_keys, self.password_hash)
