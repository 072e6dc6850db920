"""Where a VM or a disk goes: pure, so that every choice and every refusal can be shown by a table of numbers.

A host fits or it does not, and if none does, the refusal says what was short on how many, and the nearest size
that would fit: an owner who reads only "no valid host" can do nothing with it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from cumulet.errors import MOST_NAMED, Invalid, error_info


@dataclass(frozen=True, slots=True)
class Need:
    """What a VM or a disk asks of its host."""

    vcpus: int
    memory_mib: int
    disk_gib: int
    pool: str = ""
    """The disk pool that the disk is to lie in; empty for none."""
    beside: Mapping[str, int] = field(default_factory=dict)
    """What further disks take there, in GiB by pool."""

    def disks(self) -> dict[str, int]:
        """Give all that disks take, in GiB by pool."""
        return {**self.beside, self.pool: self.disk_gib + self.beside.get(self.pool, 0)}


@dataclass(frozen=True, slots=True)
class Sizes:
    """Which sizes may be asked for at all: a nearest one outside of them would only be refused next."""

    least: Need
    least_vcpus_per_gib: float
    most_vcpus_per_gib: float


@dataclass(frozen=True, slots=True)
class Room:
    """One host as placement sees it: what it has and what of it is free for VMs."""

    host_id: UUID
    name: str
    up: bool
    memory_mib: int
    free_vcpus: int
    free_memory_mib: int
    free_disk_gib: Mapping[str, int]
    """By disk pool."""

    def free_disk_of(self, pool: str) -> int:
        """Say how many GiB are free in one disk pool."""
        return self.free_disk_gib.get(pool, 0)

    def with_more_disk(self, gib: int, pool: str) -> Room:
        """Give the room with more free in one disk pool, if that is mounted here."""
        if pool not in self.free_disk_gib:
            return self
        return replace(self, free_disk_gib={**self.free_disk_gib, pool: self.free_disk_of(pool) + gib})


def place(need: Need, rooms: Sequence[Room], *, sizes: Sizes) -> UUID:
    """Choose the host with the largest free share of memory; Invalid (code 3: no capacity) tells why none fits."""
    fitting = [room for room in rooms if not shortages(need, room)]
    if not fitting:
        raise no_room("VM", need, rooms, advise(nearest(need, rooms, sizes=sizes)))
    return max(
        fitting, key=lambda room: (room.free_memory_mib / room.memory_mib, room.free_vcpus, room.name)
    ).host_id


def place_disk(gib: int, rooms: Sequence[Room], *, pool: str) -> UUID:
    """Choose the host with the most disk free in that pool; Invalid (code 3: no capacity) tells why none fits."""
    need = Need(vcpus=0, memory_mib=0, disk_gib=gib, pool=pool)
    fitting = [room for room in rooms if not shortages(need, room)]
    if not fitting:
        largest = max((room.free_disk_of(pool) for room in rooms if room.up), default=0)
        advice = f"the largest that fits is {largest} GiB" if largest else "nothing fits now"
        raise no_room("disk", need, rooms, advice)
    return max(fitting, key=lambda room: (room.free_disk_of(pool), room.name)).host_id


def shortages(need: Need, room: Room) -> dict[str, str]:
    """Say in words what a host lacks, by kind; empty when what is needed fits."""
    if not room.up:
        return {"answer": "no answer"}
    short = {}
    if need.vcpus > room.free_vcpus:
        short["vcpus"] = f"{room.free_vcpus} vCPUs free, {need.vcpus} asked"
    if need.memory_mib > room.free_memory_mib:
        short["memory"] = f"{room.free_memory_mib // 1024} GiB memory free, {need.memory_mib // 1024} asked"
    for pool, gib in need.disks().items():
        if gib > room.free_disk_of(pool):
            where = f" in pool {pool!r}" if len(room.free_disk_gib) > 1 else ""
            short[f"disk {pool}"] = f"{room.free_disk_of(pool)} GiB disk free{where}, {gib} asked"
    return short


def nearest(need: Need, rooms: Sequence[Room], *, sizes: Sizes) -> Need | None:
    """Find the size closest to what was asked that fits some host: the least of it given up, by share."""
    found = [_shrunk(need, room, sizes) for room in rooms if room.up]
    usable = [size for size in found if size is not None]
    return max(usable, key=lambda size: _kept_share(size, need), default=None)


def advise(closest: Need | None) -> str:
    """Say in words which size would fit."""
    if closest is None:
        return "nothing fits now"
    return f"the nearest size that fits is {closest.vcpus} vCPUs, {closest.memory_mib // 1024} GiB memory" + (
        f", {closest.disk_gib} GiB disk" if closest.disk_gib else ""
    )


def no_room(what: str, need: Need, rooms: Sequence[Room], advice: str) -> Invalid:
    """Make the refusal: what was short, each reason once with how many hosts it is true of, and what would fit.

    The operator reads which hosts those are.
    """
    alike: dict[tuple[str, ...], list[Room]] = defaultdict(list)
    for room in rooms:
        alike[tuple(shortages(need, room))].append(room)

    def told(who: Callable[[Sequence[Room]], str]) -> str:
        reasons = "; ".join(f"{who(group)}: {_short_together(need, group)}" for group in alike.values())
        return f"no host has room for this {what} ({reasons or 'there is no host'}); {advice}"

    return Invalid(told(_counted), error_info("NO_CAPACITY"), for_operator=told(_named))


def _short_together(need: Need, rooms: Sequence[Room]) -> str:
    """Say what hosts lack that all lack the same, by those of them that have most."""
    best = replace(
        rooms[0],
        free_vcpus=max(room.free_vcpus for room in rooms),
        free_memory_mib=max(room.free_memory_mib for room in rooms),
        free_disk_gib={
            **rooms[0].free_disk_gib,
            **{pool: max(room.free_disk_of(pool) for room in rooms) for pool in need.disks()},
        },
    )
    words = ", ".join(shortages(need, best).values())
    differ = any(shortages(need, room) != shortages(need, rooms[0]) for room in rooms)
    return f"at most {words}" if differ else words


def _counted(rooms: Sequence[Room]) -> str:
    return f"{len(rooms)} host{'s' if len(rooms) > 1 else ''}"


def _named(rooms: Sequence[Room]) -> str:
    names = ", ".join(room.name for room in rooms[:MOST_NAMED])
    return names + (f" and {len(rooms) - MOST_NAMED} more" if len(rooms) > MOST_NAMED else "")


def _shrunk(need: Need, room: Room, sizes: Sizes) -> Need | None:
    """Cut a need down to a room, and further to the proportions that may be asked for; None when too little is left."""
    vcpus = min(need.vcpus, room.free_vcpus)
    disk_gib = min(need.disk_gib, room.free_disk_of(need.pool) - need.beside.get(need.pool, 0))
    gib = min(need.memory_mib, room.free_memory_mib) // 1024
    if gib and vcpus / gib > sizes.most_vcpus_per_gib:
        vcpus = int(gib * sizes.most_vcpus_per_gib)
    if gib and vcpus / gib < sizes.least_vcpus_per_gib:
        gib = int(vcpus / sizes.least_vcpus_per_gib)
    least = sizes.least
    too_little = vcpus < least.vcpus or gib * 1024 < least.memory_mib or disk_gib < least.disk_gib
    if any(size > room.free_disk_of(pool) for pool, size in need.beside.items()):
        return None
    if too_little or not sizes.least_vcpus_per_gib <= vcpus / gib <= sizes.most_vcpus_per_gib:
        return None
    return replace(need, vcpus=vcpus, memory_mib=gib * 1024, disk_gib=disk_gib)


def _kept_share(size: Need, need: Need) -> float:
    return (
        size.vcpus
        / need.vcpus
        * (size.memory_mib / need.memory_mib)
        * (size.disk_gib / max(need.disk_gib, 1))
    )
