"""Where a VM or a disk goes: pure, so that every choice and every refusal can be shown by a table of numbers.

A host fits or it does not, and if none does, the refusal says what was short on how many, and the nearest size
that would fit: an owner who reads only "no valid host" can do nothing with it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

from cumulet.errors import Invalid, error_info, few_of
from cumulet.hosts.gpu_room import GpuRoom, tell_lack
from cumulet.plurals import plural

NO_CAPACITY: Final = "NO_CAPACITY"
"""The reason by which programs know that no host has room."""


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a VM or a disk asks of its host."""

    project_id: str = ""
    """Whose it is; empty for sizes that are nobody's yet."""
    vcpus: int = 0
    memory_mib: int = 0
    disk_gib: int = 0
    pool: str = ""
    """The disk pool that the disk is to lie in; empty for none."""
    beside: Mapping[str, int] = field(default_factory=dict)
    """What further disks take there, in GiB by pool."""
    gpus: int = 0
    """Of the model that `Capacity.gpus` tells of."""

    def disks(self) -> dict[str, int]:
        """Give all that disks take, in GiB by pool."""
        return {**self.beside, self.pool: self.disk_gib + self.beside.get(self.pool, 0)}


@dataclass(frozen=True, slots=True)
class SizeLimits:
    """Which sizes may be asked for at all: a nearest one outside of them would only be refused next."""

    least: Requirements
    least_vcpus_per_gib: float
    most_vcpus_per_gib: float
    least_vcpus_per_gpu: float = 0
    most_vcpus_per_gpu: float = 0


@dataclass(frozen=True, slots=True)
class Capacity:
    """One host as placement sees it: what it has and what of it is free for VMs."""

    host_id: UUID
    name: str
    closed: str
    """Why it takes nothing new, in words; empty when it does."""
    memory_mib: int
    free_core_parts: int = 0
    """Of which a core has `model.CORE`: by what vCPUs of all machine types weigh."""
    free_vcpus: int = 0
    free_memory_mib: int = 0
    free_disk_gib: Mapping[str, int] = field(default_factory=dict)
    """By disk pool."""
    shared_with: Mapping[str, frozenset[UUID]] = field(default_factory=dict)
    """By disk pool that hosts share, those that have the same directory, this one among them."""
    labels: Mapping[str, str] = field(default_factory=dict)
    cpu_group: str = ""
    """Machines find the same processor on all hosts of one group."""
    gpus: GpuRoom = field(default_factory=GpuRoom)
    """What it has of the GPU model that is asked for."""

    def free_disk_of(self, pool: str) -> int:
        """Say how many GiB are free in one disk pool."""
        return self.free_disk_gib.get(pool, 0)

    def reaches(self, host_id: UUID, pool: str) -> bool:
        """Whether what lies in a disk pool of some host is here as well: it is that host, or shares the pool with it."""
        return host_id == self.host_id or host_id in self.shared_with.get(pool, ())

    def gpus_for(self, count: int) -> tuple[UUID, ...]:
        """Give those GPUs that a VM of so many gets here."""
        pick = self.gpus.pick(count) if count else None
        return pick.ids if pick else ()

    def with_more_disk(self, gib: int, pool: str) -> Capacity:
        """Give the capacity with more free in one disk pool, if that is mounted here."""
        if pool not in self.free_disk_gib:
            return self
        return replace(self, free_disk_gib={**self.free_disk_gib, pool: self.free_disk_of(pool) + gib})


def close(
    capacities: Sequence[Capacity], *, unless: Callable[[Capacity], bool], why: str
) -> Sequence[Capacity]:
    """Close those hosts for which something is not so; one that is closed already keeps its own reason."""
    return [
        capacity if capacity.closed or unless(capacity) else replace(capacity, closed=why)
        for capacity in capacities
    ]


def has_labels(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether a host has all labels that are wanted."""
    return wanted.items() <= labels.items()


def place(
    required: Requirements, capacities: Sequence[Capacity], *, sizes: SizeLimits, packed: bool = False
) -> Capacity:
    """Choose a host: the one whose GPUs lie best together, then the one with the largest free share of memory.

    `packed` takes the one with the smallest. Invalid (code 3: no capacity) tells why none fits.
    """
    fitting = those_that_fit(required, capacities)
    if not fitting:
        raise no_capacity("VM", required, capacities, advise(nearest(required, capacities, sizes=sizes)))
    if required.gpus:
        ranks = {capacity.host_id: _gpu_rank(required, capacity) for capacity in fitting}
        best = min(ranks.values())
        fitting = [capacity for capacity in fitting if ranks[capacity.host_id] == best]
    choose = min if packed else max
    return choose(
        fitting,
        key=lambda capacity: (
            capacity.free_memory_mib / capacity.memory_mib,
            capacity.free_core_parts,
            capacity.name,
        ),
    )


def those_that_fit(required: Requirements, capacities: Sequence[Capacity]) -> list[Capacity]:
    """Give those hosts that lack nothing: what `shortages` says of one in words, at the pace that a thousand take."""
    disks = required.disks()
    return [
        capacity
        for capacity in capacities
        if not capacity.closed
        and required.vcpus <= capacity.free_vcpus
        and required.memory_mib <= capacity.free_memory_mib
        and all(gib <= capacity.free_disk_of(pool) for pool, gib in disks.items())
        and (not required.gpus or capacity.gpus.pick(required.gpus) is not None)
    ]


def _gpu_rank(required: Requirements, capacity: Capacity) -> tuple[int, ...]:
    pick = capacity.gpus.pick(required.gpus)
    return pick.rank if pick else ()


def place_disk(gib: int, capacities: Sequence[Capacity], *, pool: str) -> UUID:
    """Choose the host with the most disk free in that pool; Invalid (code 3: no capacity) tells why none fits."""
    required = Requirements(disk_gib=gib, pool=pool)
    fitting = those_that_fit(required, capacities)
    if not fitting:
        largest = max(
            (capacity.free_disk_of(pool) for capacity in capacities if not capacity.closed), default=0
        )
        advice = f"the largest that fits is {largest} GiB" if largest else "no smaller size fits now"
        raise no_capacity("disk", required, capacities, advice)
    return max(fitting, key=lambda capacity: (capacity.free_disk_of(pool), capacity.name)).host_id


def shortages(required: Requirements, capacity: Capacity) -> dict[str, str]:
    """Say in words what a host lacks, by kind; empty when what is needed fits."""
    if capacity.closed:
        return {capacity.closed: capacity.closed}
    short = {}
    if required.vcpus > capacity.free_vcpus:
        short["vcpus"] = f"{plural(capacity.free_vcpus, 'vCPU')} free, {required.vcpus} requested"
    if required.memory_mib > capacity.free_memory_mib:
        short["memory"] = (
            f"{capacity.free_memory_mib // 1024} GiB memory free, {required.memory_mib // 1024} requested"
        )
    for pool, gib in required.disks().items():
        if gib > capacity.free_disk_of(pool):
            where = f" in pool {pool!r}" if len(capacity.free_disk_gib) > 1 else ""
            short[f"disk {pool}"] = f"{capacity.free_disk_of(pool)} GiB disk free{where}, {gib} requested"
    if required.gpus and not capacity.gpus.pick(required.gpus):
        kind = "gpus" if capacity.gpus.total else "gpu model"
        short[kind] = tell_lack([capacity.gpus], required.gpus)
    return short


def nearest(
    required: Requirements, capacities: Sequence[Capacity], *, sizes: SizeLimits
) -> Requirements | None:
    """Find the size closest to what was asked that fits some host: the least of it given up, by share."""
    found = [_shrunk(required, capacity, sizes) for capacity in capacities if not capacity.closed]
    usable = [size for size in found if size is not None]
    return max(usable, key=lambda size: _kept_share(size, required), default=None)


def advise(closest: Requirements | None) -> str:
    """Say in words which size would fit."""
    if closest is None:
        return "no smaller size fits now"
    gpus = f"{plural(closest.gpus, 'GPU')}, " if closest.gpus else ""
    disk = f", {closest.disk_gib} GiB disk" if closest.disk_gib else ""
    memory = f"{closest.memory_mib // 1024} GiB memory"
    return f"the nearest size that fits is {gpus}{plural(closest.vcpus, 'vCPU')}, {memory}{disk}"


def no_capacity(what: str, required: Requirements, capacities: Sequence[Capacity], advice: str) -> Invalid:
    """Make the refusal: what was short, each reason once with how many hosts it is true of, and what would fit.

    The operator reads which hosts those are.
    """
    alike: dict[tuple[str, ...], list[Capacity]] = defaultdict(list)
    for capacity in capacities:
        alike[tuple(shortages(required, capacity))].append(capacity)

    def refusal(who: Callable[[Sequence[Capacity]], str], *, for_operator: bool) -> str:
        reasons = "; ".join(
            f"{who(group)}: {_short_together(required, group, for_operator=for_operator)}"
            for group in alike.values()
        )
        return f"no host has capacity for this {what} ({reasons or 'there is no host'}); {advice}"

    return Invalid(
        refusal(_counted, for_operator=False),
        error_info(NO_CAPACITY),
        for_operator=refusal(_named, for_operator=True),
    )


def is_no_capacity(refusal: Invalid) -> bool:
    """Whether it is want of room that is told, which may be over later."""
    return any(detail.get("reason") == NO_CAPACITY for detail in refusal.details)


def _short_together(required: Requirements, capacities: Sequence[Capacity], *, for_operator: bool) -> str:
    """Say what hosts lack that all lack the same: by those of them that have most, and of GPUs all together."""
    best = replace(
        capacities[0],
        free_vcpus=max(capacity.free_vcpus for capacity in capacities),
        free_memory_mib=max(capacity.free_memory_mib for capacity in capacities),
        free_disk_gib={
            **capacities[0].free_disk_gib,
            **{
                pool: max(capacity.free_disk_of(pool) for capacity in capacities) for pool in required.disks()
            },
        },
    )
    sizes = replace(required, gpus=0)
    short = list(shortages(sizes, best).values())
    if any(shortages(sizes, capacity) != shortages(sizes, capacities[0]) for capacity in capacities):
        short[0] = f"at most {short[0]}"
    if len(shortages(required, capacities[0])) > len(short):
        rooms = [capacity.gpus for capacity in capacities]
        short.append(tell_lack(rooms, required.gpus, for_operator=for_operator))
    return ", ".join(short)


def _counted(capacities: Sequence[Capacity]) -> str:
    return plural(len(capacities), "host")


def _named(capacities: Sequence[Capacity]) -> str:
    return few_of([capacity.name for capacity in capacities])


def _shrunk(required: Requirements, capacity: Capacity, sizes: SizeLimits) -> Requirements | None:
    """Cut requirements down to a capacity and to what may be asked for; None when too little is left."""
    if not required.gpus:
        return _shrunk_around(required, capacity, sizes)
    for gpus in range(required.gpus, 0, -1):
        if capacity.gpus.pick(gpus):
            fewer = replace(
                required, gpus=gpus, vcpus=min(required.vcpus, int(gpus * sizes.most_vcpus_per_gpu))
            )
            size = _shrunk_around(fewer, capacity, sizes)
            if size and size.vcpus >= gpus * sizes.least_vcpus_per_gpu:
                return size
    return None


def _shrunk_around(required: Requirements, capacity: Capacity, sizes: SizeLimits) -> Requirements | None:
    """Cut vCPUs, memory and disk down to a capacity, and further to the proportions that may be asked for."""
    vcpus = min(required.vcpus, capacity.free_vcpus)
    disk_gib = min(
        required.disk_gib, capacity.free_disk_of(required.pool) - required.beside.get(required.pool, 0)
    )
    gib = min(required.memory_mib, capacity.free_memory_mib) // 1024
    if gib and vcpus / gib > sizes.most_vcpus_per_gib:
        vcpus = int(gib * sizes.most_vcpus_per_gib)
    if gib and vcpus / gib < sizes.least_vcpus_per_gib:
        gib = int(vcpus / sizes.least_vcpus_per_gib)
    least = sizes.least
    too_little = vcpus < least.vcpus or gib * 1024 < least.memory_mib or disk_gib < least.disk_gib
    if any(size > capacity.free_disk_of(pool) for pool, size in required.beside.items()):
        return None
    if too_little or not sizes.least_vcpus_per_gib <= vcpus / gib <= sizes.most_vcpus_per_gib:
        return None
    return replace(required, vcpus=vcpus, memory_mib=gib * 1024, disk_gib=disk_gib)


def _kept_share(size: Requirements, required: Requirements) -> float:
    return (
        size.vcpus
        / required.vcpus
        * (size.memory_mib / required.memory_mib)
        * (size.disk_gib / max(required.disk_gib, 1))
        * (size.gpus / required.gpus if required.gpus else 1)
    )
