"""Hosts, what is reserved on them, and what they have left: that the database itself keeps, so that it cannot drift."""

from __future__ import annotations

from datetime import datetime
from math import lcm
from typing import Final
from uuid import UUID

from sqlalchemy import JSON, BigInteger, Double, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from cumulet.db import Row
from cumulet.hosts.state import HostState, HostWanted, Standing

CORE: Final = 2 * lcm(*range(1, 33))
"""The parts of a core in which is counted what is left: a vCPU weighs a whole number of them, however many share a core."""


class Installation(Row):
    """The one row that says who we are: our name on every host and fabric we share with others."""

    __tablename__ = "installation"

    one: Mapped[int] = mapped_column(primary_key=True, default=1)
    id: Mapped[str]
    """Eight hexadecimal digits, made at the first start."""
    members: Mapped[list[str]] = mapped_column(JSON, server_default="[]")
    """The addresses of the hosts that have OVN's databases, as the last look saw them; [] for the server's own machine alone."""


class Host(Row):
    """A machine that runs VMs, with its size as last seen."""

    __tablename__ = "host"
    __table_args__ = (UniqueConstraint("name"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    data_center_id: Mapped[str]
    uri: Mapped[str]
    cpus: Mapped[int]
    memory_mib: Mapped[int]
    disk_gib: Mapped[dict[str, int]] = mapped_column(JSON)
    """By disk pool."""
    shared_pools: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)
    """By pool that hosts share, the identity of the directory that was seen there last; `""` for none yet."""
    cpu_model: Mapped[str]
    cpu_group: Mapped[str]
    """The same on hosts between which a machine can be moved while it runs."""
    accelerator: Mapped[str]
    version: Mapped[str]
    boot_id: Mapped[str]
    """The kernel's, made anew at each boot: another one proves that nothing runs on from before."""
    labels: Mapped[dict[str, str]] = mapped_column(JSON)
    """The operator's, by which machine types choose hosts."""
    wanted: Mapped[HostWanted]
    reason: Mapped[str]
    state: Mapped[HostState]
    since: Mapped[datetime]
    why: Mapped[str]
    unheard_since: Mapped[datetime | None]
    """These six are its `Standing`."""
    drain_restarts: Mapped[bool] = mapped_column(default=False)
    """VMs that run there may be shut down for a drain, and started again elsewhere."""
    stays: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)
    """Of one that is drained: VMs that cannot go, as `PROJECT:VM`, and why."""
    findings: Mapped[list[dict[str, str]]] = mapped_column(JSON, default=list)
    """What its doctor found the last time that is not well, as `doctor.Finding` has it."""
    examined_at: Mapped[datetime | None]
    strays: Mapped[dict[str, list[str]]] = mapped_column(JSON, default=dict)
    """By kind, the ids of what is ours there and was never known to this database: it is kept."""
    seen_at: Mapped[datetime]
    routes: Mapped[list[str]] = mapped_column(JSON)
    """Ranges that it reaches by routes of its own."""
    central: Mapped[bool] = mapped_column(default=False)
    """It is to have OVN's databases."""
    is_central: Mapped[bool] = mapped_column(default=False)
    """It had them at the last look."""
    proved_until: Mapped[datetime | None]
    """When the first of the certificates ends by which OVN knows it; None where it needs none."""

    @property
    def is_here(self) -> bool:
        """It is the machine that the server is on, which no line leads to."""
        return not self.uri.startswith("ssh://")

    @property
    def standing(self) -> Standing:
        """How it stands."""
        return Standing(self.wanted, self.reason, self.state, self.since, self.why, self.unheard_since)


class Reservation(Row):
    """What a VM or a disk takes of its host; comes with the row of its holder and goes with it."""

    __tablename__ = "reservation"
    __table_args__ = (
        Index(
            "ix_reservation_sums",
            "host_id",
            "vcpus_per_core",
            "pool",
            "vcpus",
            "memory_mib",
            "disk_gib",
        ),
    )

    holder_id: Mapped[UUID] = mapped_column(primary_key=True)
    project_id: Mapped[str]
    """Whose its holder is."""
    host_id: Mapped[UUID] = mapped_column(ForeignKey("host.id"))
    vcpus: Mapped[int] = mapped_column(default=0)
    vcpus_per_core: Mapped[int] = mapped_column(default=1)
    """How many of them weigh a core of the host: as many as the VM's machine type promises."""
    memory_mib: Mapped[int] = mapped_column(default=0)
    disk_gib: Mapped[int] = mapped_column(default=0)
    pool: Mapped[str] = mapped_column(default="")
    """The disk pool in which that is; empty for what holds no disk."""


class HostRoom(Row):
    """What a host has left for VMs, less than nothing when it has shrunk; kept by triggers on hosts and reservations.

    Its first columns are the host's: by the index the best host is found without a look at the others.
    """

    __tablename__ = "host_room"
    __table_args__ = (
        Index("ix_host_room_best", "data_center_id", "free_memory_share", "free_core_parts", "name"),
    )

    host_id: Mapped[UUID] = mapped_column(ForeignKey("host.id", ondelete="CASCADE"), primary_key=True)
    data_center_id: Mapped[str]
    name: Mapped[str] = mapped_column(String().with_variant(String(collation="C"), "postgresql"))
    memory_mib: Mapped[int]
    free_core_parts: Mapped[int] = mapped_column(BigInteger)
    """Of which a core has `CORE`."""
    free_memory_mib: Mapped[int]
    """Without what the host keeps for itself."""
    free_memory_share: Mapped[float] = mapped_column(Double)
    """Of all that it has."""


class PoolRoom(Row):
    """What is taken of a host's disk pool; kept likewise. None where nothing was ever taken."""

    __tablename__ = "pool_room"

    host_id: Mapped[UUID] = mapped_column(ForeignKey("host.id", ondelete="CASCADE"), primary_key=True)
    pool: Mapped[str] = mapped_column(primary_key=True)
    taken_gib: Mapped[int]
