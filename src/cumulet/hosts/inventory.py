"""Which hosts there are, what they have, and what of it is still free."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Network
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid4, uuid5

from sqlalchemy import Row, bindparam, delete, select
from sqlalchemy.orm import Session

from cumulet.db import dialect_of, fetch_columns, insert_into, insert_row, update_row
from cumulet.errors import NotFound
from cumulet.hosts.model import CORE, Host, HostRoom, Installation, PoolRoom, Reservation
from cumulet.hosts.place import Capacity, Requirements, has_labels
from cumulet.hosts.standing import values_of
from cumulet.hosts.state import HostState, HostWanted, Standing, why_closed
from cumulet.hosts.waiting import wake_queue
from cumulet.hypervisor import HostFacts

HOST_MEMORY_MIB: Final = 1024
"""Kept for the host itself: its kernel, libvirt, OVN and Cumulet. `HostRoom`'s triggers know it too."""
HOST_DISK_GIB: Final = 4
"""Kept in each disk pool; in the own one for logs and image copies in the making."""
CPU_MODELS: Final = select(Host.labels, Host.cpu_model).where(
    Host.data_center_id == bindparam("data_center_id"), Host.state != HostState.ADDING
)
SHARED_POOLS: Final = select(Host.shared_pools).where(Host.id == bindparam("host_id"))
SIZES: Final = select(
    Host.id,
    Host.name,
    Host.labels,
    Host.cpu_group,
    Host.state,
    Host.unheard_since,
    Host.cpus,
    Host.memory_mib,
    Host.disk_gib,
    Host.shared_pools,
)
HOSTS: Final = SIZES.where(Host.data_center_id == bindparam("data_center_id")).order_by(Host.name)
STANDING: Final = select(Host.state, Host.unheard_since).where(Host.id == bindparam("host_id"))
ADDRESSES: Final = select(Host.id, Host.name, Host.data_center_id, Host.uri, Host.state).order_by(Host.name)
LOCK_HOSTS: Final = HOSTS.with_for_update()
ONE_HOST: Final = SIZES.where(Host.id == bindparam("host_id"))
ROOMS: Final = select(HostRoom.host_id, HostRoom.free_core_parts, HostRoom.free_memory_mib)
ROOM: Final = ROOMS.where(HostRoom.host_id == bindparam("host_id"))
TAKEN_DISK: Final = select(PoolRoom.host_id, PoolRoom.pool, PoolRoom.taken_gib)
TAKEN_DISK_ON_ONE: Final = TAKEN_DISK.where(PoolRoom.host_id == bindparam("host_id"))
OF_ALL: Final = select(
    Host.id, Host.cpus, Host.memory_mib, HostRoom.free_core_parts, HostRoom.free_memory_mib
).join(HostRoom, HostRoom.host_id == Host.id)


class Away(NamedTuple):
    """Why a host cannot be asked."""

    lost: bool
    """It is proved that nothing of what ran there runs on."""
    why: str


def installation_id(db: Session) -> str:
    """Say who we are; the first start decides it, once for however many servers start together."""
    db.execute(
        insert_into(dialect_of(db), Installation).values(one=1, id=uuid4().hex[:8]).on_conflict_do_nothing()
    )
    return db.get_one(Installation, 1).id


def central_addresses(db: Session) -> Sequence[str]:
    """List the addresses of the hosts that have OVN's databases; none while the server's own machine has them alone."""
    return db.get_one(Installation, 1).members


def register_host(db: Session, facts: HostFacts, *, data_center_id: str, uri: str, now: datetime) -> Host:
    """Take a host into the inventory, or bring its facts up to date; known by its name."""
    db.get(Installation, 1, with_for_update=True)  # servers that start together take turns
    host = db.scalar(select(Host).where(Host.name == facts.name))
    if host is None:
        standing = Standing(HostWanted.UP, reason="", state=HostState.UP, since=now, why="")
        host = Host(id=uuid4(), name=facts.name, labels={}, **values_of(standing))
        db.add(host)
    host.data_center_id, host.uri = data_center_id, uri
    for name, value in _noted(facts, now, host.shared_pools or {}).items():
        setattr(host, name, value)
    db.flush()
    return host


def new_host(id: str, data_center_id: str, uri: str, *, labels: dict[str, str], now: datetime) -> Host:
    """Make the row of a host of which nothing is known yet but where it is."""
    standing = Standing(
        HostWanted.UP, reason="", state=HostState.ADDING, since=now, why="waiting for its turn"
    )
    nothing = HostFacts(
        id, 0, 0, {}, cpu_model="", cpu_group="", accelerator="", version="", routes=(), boot_id=""
    )
    return Host(
        id=uuid4(), name=id, data_center_id=data_center_id, uri=uri, labels=labels, **values_of(standing),
        **_noted(nothing, now, {}),
    )  # fmt: skip


def list_hosts(db: Session) -> Sequence[Row[*tuple[Any, ...]]]:
    """Say of each host how it is reached: its id, name, data_center_id, uri and state."""
    return fetch_columns(db, ADDRESSES)


def note_facts(db: Session, host_id: UUID, facts: HostFacts, *, now: datetime) -> None:
    """Write down what a host has that answers."""
    ((known,),) = fetch_columns(db, SHARED_POOLS, host_id=host_id)
    update_row(db, Host, host_id, **_noted(facts, now, known))


def _noted(facts: HostFacts, now: datetime, known: Mapping[str, str]) -> dict[str, object]:
    """Name what a host has as columns; a shared pool that is not mounted just now is still the one that it was."""
    return {
        "cpus": facts.cpus,
        "memory_mib": facts.memory_mib,
        "disk_gib": dict(facts.disk_gib),
        "shared_pools": {
            pool: identity or known.get(pool, "") for pool, identity in facts.shared_pools.items()
        },
        "cpu_model": facts.cpu_model,
        "cpu_group": facts.cpu_group,
        "accelerator": facts.accelerator,
        "version": facts.version,
        "routes": [str(route) for route in facts.routes],
        "boot_id": facts.boot_id,
        "seen_at": now,
    }


def host_routes(db: Session, data_center_id: str) -> frozenset[IPv4Network]:
    """List what the hosts of a data center reach by routes of their own."""
    tables = db.scalars(select(Host.routes).where(Host.data_center_id == data_center_id))
    return frozenset(IPv4Network(route) for table in tables for route in table)


def cpu_model(db: Session, data_center_id: str, labels: Mapping[str, str]) -> str:
    """Say which processor the hosts of a data center with these labels report; `""` when they differ."""
    hosts = fetch_columns(db, CPU_MODELS, data_center_id=data_center_id)
    models = {host.cpu_model for host in hosts if has_labels(host.labels, labels)}
    return models.pop() if len(models) == 1 else ""


def capacities(
    db: Session, data_center_id: str, *, vcpus_per_cpu: int, lock: bool = False, empty: bool = False
) -> Sequence[Capacity]:
    """Compute the free capacity of each host of a data center; `lock` keeps others from placing there meanwhile.

    With `empty` what they would have if nothing were reserved.
    """
    found = fetch_columns(db, LOCK_HOSTS if lock else HOSTS, data_center_id=data_center_id)
    rooms = {host.id: _whole(host) for host in found} if empty else _rooms(db)
    together = _those_that_share(found)
    for pool, groups in together.items():
        for group in groups:
            in_all = sum(rooms[host_id].taken_gib.get(pool, 0) for host_id in group)
            for host_id in group:
                rooms[host_id].taken_gib[pool] = in_all
    return [_capacity(host, rooms[host.id], vcpus_per_cpu, _sharing(host, together)) for host in found]


def capacity_of(db: Session, host_id: UUID, *, vcpus_per_cpu: int) -> Capacity:
    """Compute the same of one host alone, which the caller has locked; what others took of a pool they share does not count."""
    (host,) = fetch_columns(db, ONE_HOST, host_id=host_id)
    return _capacity(host, _room_of(db, host_id), vcpus_per_cpu, {})


def lock_hosts(db: Session, host_ids: Collection[UUID]) -> None:
    """Keep others from placing on these hosts, and from changing how they stand, until the transaction ends."""
    these = select(Host.id).where(Host.id.in_(host_ids)).order_by(Host.name)
    db.execute(these.with_for_update()).all()


def lock_pool(db: Session, data_center_id: str, host_id: UUID, pool: str) -> Capacity:
    """Keep others from taking room of a host's disk pool until the transaction ends, and compute what is free there.

    That takes the host's lock alone, or those of all where it shares the pool with others.
    """
    ((shared,),) = fetch_columns(db, SHARED_POOLS, host_id=host_id)
    if shared.get(pool):
        free = capacities(db, data_center_id, vcpus_per_cpu=1, lock=True)
        return next(host for host in free if host.host_id == host_id)
    lock_hosts(db, [host_id])
    return capacity_of(db, host_id, vcpus_per_cpu=1)


def _those_that_share(hosts: Iterable[Row[*tuple[Any, ...]]]) -> Mapping[str, Sequence[frozenset[UUID]]]:
    """Group hosts, by disk pool, that have one directory together: its identity shows that it is the same."""
    groups: dict[tuple[str, str], set[UUID]] = defaultdict(set)
    for host in hosts:
        for pool, identity in host.shared_pools.items():
            if identity:
                groups[pool, identity].add(host.id)
    found: dict[str, list[frozenset[UUID]]] = defaultdict(list)
    for (pool, _), group in groups.items():
        found[pool].append(frozenset(group))
    return found


def _sharing(
    host: Row[*tuple[Any, ...]], together: Mapping[str, Sequence[frozenset[UUID]]]
) -> dict[str, frozenset[UUID]]:
    """Say with whom a host has those disk pools together that are mounted there."""
    return {
        pool: group
        for pool, groups in together.items()
        for group in groups
        if host.id in group and host.disk_gib.get(pool)
    }


def away(db: Session, host_id: UUID) -> Away | None:
    """Say why a host cannot be asked, in words for owners of what is there; None while it may answer."""
    (host,) = fetch_columns(db, STANDING, host_id=host_id)
    if host.state is HostState.SILENT:
        since = f"{host.unheard_since:%Y-%m-%d %H:%M:%S} UTC"
        return Away(lost=False, why=f"its host has not answered since {since}: what runs there is not known")
    if host.state is HostState.LOST:
        return Away(lost=True, why="its host is lost: what is on its disks is back if that host is")
    return None


def reserved_by_host(db: Session) -> Mapping[UUID, Taken]:
    """Say what is reserved on each host."""
    disks = _taken_disk(fetch_columns(db, TAKEN_DISK))
    return {
        host_id: Taken((cpus * CORE - parts) / CORE, mib - HOST_MEMORY_MIB - free_mib, disks[host_id])
        for host_id, cpus, mib, parts, free_mib in fetch_columns(db, OF_ALL)
    }


def reserve(
    db: Session, holder_id: UUID, host_id: UUID, required: Requirements, *, vcpus_per_core: int = 1
) -> None:
    """Take room on a host for a VM or a disk, in the caller's transaction; so many of its vCPUs weigh a core."""
    insert_row(
        db,
        Reservation,
        holder_id=holder_id,
        host_id=host_id,
        project_id=required.project_id,
        vcpus=required.vcpus,
        vcpus_per_core=vcpus_per_core,
        memory_mib=required.memory_mib,
        disk_gib=required.disk_gib,
        pool=required.pool,
    )


def reserved(db: Session, vm_id: UUID) -> Reservation:
    """Give what a VM has reserved; NotFound when it has just gone."""
    reservation = db.get(Reservation, vm_id, populate_existing=True)
    if reservation is None:
        raise NotFound.named("reservation of VM", str(vm_id))
    return reservation


def capacity_with_own(db: Session, vm_id: UUID, *, vcpus_per_cpu: int) -> Capacity:
    """Compute the capacity of a VM's host as if the VM were not there; nobody places there meanwhile."""
    host_id = reserved(db, vm_id).host_id
    host = db.get_one(Host, host_id, with_for_update=True, populate_existing=True)
    own, room = reserved(db, vm_id), _room_of(db, host_id)
    room.core_parts += own.vcpus * CORE // own.vcpus_per_core
    room.memory_mib += own.memory_mib
    return _capacity(host, room, vcpus_per_cpu, {})


def reserve_more_disk(db: Session, holder_id: UUID, gib: int) -> None:
    """Take more room for a disk, or with a negative number give some back, in the caller's transaction."""
    db.get_one(Reservation, holder_id).disk_gib += gib


def move_reservation(db: Session, holder_id: UUID, host_id: UUID) -> None:
    """Take the room of what is not made yet on another host instead, in the caller's transaction."""
    db.get_one(Reservation, holder_id).host_id = host_id


def reserve_second(db: Session, holder_id: UUID, host_id: UUID) -> None:
    """Take the same room on another host too, for a VM or a disk that is moved there, in the caller's transaction."""
    own = reserved(db, holder_id)
    columns = {column.key: getattr(own, column.key) for column in Reservation.__table__.columns}
    insert_row(db, Reservation, **{**columns, "holder_id": second(holder_id), "host_id": host_id})


def end_second(db: Session, holder_id: UUID, *, on: UUID) -> None:
    """Have its room on the one host that it is on from now on."""
    db.execute(delete(Reservation).where(Reservation.holder_id == second(holder_id)))
    move_reservation(db, holder_id, on)


def second(holder_id: UUID) -> UUID:
    """Name the reservation that a VM or a disk has on the host that it is moved to."""
    return uuid5(holder_id, "second")


def release(db: Session, holder_id: UUID, *, now: datetime) -> None:
    """Give the room of a VM or a disk back, in the caller's transaction, and have those who wait for some looked at."""
    theirs = Reservation.holder_id.in_((holder_id, second(holder_id)))
    db.execute(delete(Reservation).where(theirs))
    wake_queue(db, now=now)


@dataclass(frozen=True, slots=True)
class Taken:
    """What is reserved on one host."""

    cores: float = 0
    memory_mib: int = 0
    disk_gib: Mapping[str, int] = field(default_factory=dict)
    """By disk pool."""


@dataclass(slots=True)
class _Room:
    """What one host has left for VMs."""

    core_parts: int
    memory_mib: int
    taken_gib: dict[str, int]
    """By disk pool."""


def _rooms(db: Session) -> Mapping[UUID, _Room]:
    disks = _taken_disk(fetch_columns(db, TAKEN_DISK))
    rooms = fetch_columns(db, ROOMS)
    return {
        host_id: _Room(core_parts, memory_mib, disks[host_id]) for host_id, core_parts, memory_mib in rooms
    }


def _room_of(db: Session, host_id: UUID) -> _Room:
    disks = _taken_disk(fetch_columns(db, TAKEN_DISK_ON_ONE, host_id=host_id))
    ((_, core_parts, memory_mib),) = fetch_columns(db, ROOM, host_id=host_id)
    return _Room(core_parts, memory_mib, disks[host_id])


def _whole(host: Row[*tuple[Any, ...]]) -> _Room:
    """Give what it would have if nothing were reserved."""
    return _Room(host.cpus * CORE, host.memory_mib - HOST_MEMORY_MIB, {})


def _taken_disk(taken: Iterable[Row[*tuple[Any, ...]]]) -> Mapping[UUID, dict[str, int]]:
    by_host: dict[UUID, dict[str, int]] = defaultdict(dict)
    for host_id, pool, gib in taken:
        by_host[host_id][pool] = gib
    return by_host


def _capacity(
    host: Host | Row[*tuple[Any, ...]],
    room: _Room,
    vcpus_per_cpu: int,
    shared_with: Mapping[str, frozenset[UUID]],
) -> Capacity:
    return Capacity(
        host_id=host.id,
        name=host.name,
        labels=host.labels,
        cpu_group=host.cpu_group,
        shared_with=shared_with,
        closed=why_closed(host.state, answers=host.unheard_since is None),
        memory_mib=host.memory_mib,
        free_core_parts=room.core_parts,
        free_vcpus=max(room.core_parts * vcpus_per_cpu // CORE, 0),
        free_memory_mib=max(room.memory_mib, 0),
        free_disk_gib={
            pool: max(gib - HOST_DISK_GIB - room.taken_gib.get(pool, 0), 0)
            for pool, gib in host.disk_gib.items()
        },
    )
