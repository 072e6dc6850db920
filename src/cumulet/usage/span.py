"""From events to usage: what each resource cost, from when until when. Pure.

    COST_BEGINS ──▶ span ──COST_CHANGES──▶ span ── … ──COST_ENDS──▶ (nothing)

Each event says all that its resource costs from then on, so a span needs only the event that it begins with, and one
that is still open is all that has to be kept of what was told before. Times are whole seconds, prices and quantities
exact: in whatever pieces they are added up, it is the same.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec

from cumulet.disks import DiskState, DiskType
from cumulet.events import (
    COST_BEGINS,
    COST_ENDS,
    DiskData,
    EventData,
    EventName,
    NetworkData,
    PrivateImageData,
    SnapshotData,
    VmData,
)


class Item(enum.StrEnum):
    """What has a price."""

    VCPU = "vcpu"
    MEMORY = "memory"
    GPU = "gpu"
    IPV4 = "ipv4"
    STORAGE = "storage"
    SNAPSHOT = "snapshot"
    IMAGE = "image"
    NETWORK = "network"


BY_GIB: Final = frozenset({Item.MEMORY, Item.STORAGE, Item.SNAPSHOT, Item.IMAGE})
"""Sold by the GiB; the others by the piece."""


class Charge(NamedTuple):
    """So many of something, at a price for each an hour."""

    item: Item
    quantity: int
    price: Decimal


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A time through which what a resource costs stayed the same."""

    project_id: str
    kind: str
    """Of the resource, as in its events' names: `vm`, `disk`, `snapshot`, `private_image`, `network`."""
    resource_id: UUID
    name: str
    vm_id: UUID | None
    """The VM that it is, or that has it."""
    labels: Mapping[str, str]
    """Of a VM."""
    charges: tuple[Charge, ...]
    since: datetime
    until: datetime | None
    """None: it goes on."""

    def closed(self, at: datetime) -> Span:
        """Let it end."""
        return msgspec.structs.replace(self, until=at)

    def like(self, other: Span) -> bool:
        """Whether it is the same but for its time."""
        return msgspec.structs.replace(other, since=self.since, until=self.until) == self


class Told(NamedTuple):
    """An event as usage reads it."""

    subject_id: UUID
    at: datetime
    event: str
    project_id: str
    data: Mapping[str, Any]


DATA: Final[Mapping[str, type[EventData]]] = {
    "vm": VmData,
    "disk": DiskData,
    "snapshot": SnapshotData,
    "private_image": PrivateImageData,
    "network": NetworkData,
}


def spans_of(span: Span | None, told: Iterable[Told]) -> Iterator[Span]:
    """Go on from a resource's open span with what was told of it since, in order; the last may be open again.

    A span that would have no second is left out. Clocks of servers differ: nothing begins before what it follows.
    """
    for event in told:
        name, at = EventName(event.event), event.at.replace(microsecond=0)
        at = max(at, span.since) if span else at
        if name in COST_ENDS:
            following = None
        elif span or begins(name, event):
            following = span_from(event, at)
            if span and following.like(span):
                continue
        else:
            continue
        if span and span.since < at:
            yield span.closed(at)
        span = following
    if span:
        yield span


def begins(name: EventName, event: Told) -> bool:
    """Whether a resource that cost nothing does from here on; a boot disk is not there before it is made."""
    boots = event.data.get("type") == DiskType.BOOT.value
    return name in COST_BEGINS and not (name is EventName.DISK_CREATE_REQUESTED and boots)


def span_from(event: Told, at: datetime) -> Span:
    """Read an event as what its resource costs from then on."""
    kind = event.event.partition(".")[0]
    data: Any = msgspec.convert(event.data, DATA[kind])
    vm_id = event.subject_id if kind == "vm" else UUID(data.vm_id) if kind == "disk" and data.vm_id else None
    return Span(
        project_id=event.project_id,
        kind=kind,
        resource_id=event.subject_id,
        name=data.name,
        vm_id=vm_id,
        labels=data.labels if kind == "vm" else {},
        charges=tuple(charge for charge in charges_of(data) if charge.quantity),
        since=at,
        until=None,
    )


def charges_of(data: EventData) -> Iterator[Charge]:
    """Say what a resource costs that is as these data say."""
    match data:
        case VmData():
            yield Charge(Item.VCPU, data.vcpus, data.vcpu_price)
            yield Charge(Item.MEMORY, data.memory_gib, data.memory_gib_price)
            yield Charge(Item.GPU, data.gpus, data.gpu_price)
            yield Charge(Item.IPV4, data.ipv4_addresses, data.ipv4_price)
        case DiskData() if data.state != DiskState.ERROR.value:  # nobody pays for a disk that was lost
            yield Charge(Item.STORAGE, data.size_gib, data.gib_price)
        case SnapshotData():
            yield Charge(Item.SNAPSHOT, data.size_gib, data.gib_price)
        case PrivateImageData():
            yield Charge(Item.IMAGE, data.size_gib, data.gib_price)
        case NetworkData():
            yield Charge(Item.NETWORK, 1, data.price)
