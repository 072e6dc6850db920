"""Random lives of resources as the journal tells them, and what they cost, computed in the most naive way: second by second."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any
from uuid import UUID

import msgspec
from hypothesis import strategies as st

from cumulet.events import (
    COST_BEGINS,
    COST_CHANGES,
    COST_ENDS,
    DiskData,
    EventData,
    NetworkData,
    PrivateImageData,
    SnapshotData,
    VmData,
)
from cumulet.usage.span import Told

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
SECONDS = 200
"""How long histories last."""
COST = COST_BEGINS | COST_CHANGES | COST_ENDS
price = st.decimals(min_value=0, max_value=9, places=9)
few = st.integers(min_value=0, max_value=9)

DATA: dict[str, st.SearchStrategy[EventData]] = {
    "vm": st.builds(
        VmData,
        name=st.just("web"),
        data_center_id=st.just("local"),
        machine_type=st.just("standard"),
        state=st.just("ACTIVE"),
        vcpus=few,
        memory_gib=few,
        vcpu_price=price,
        memory_gib_price=price,
        ipv4_price=price,
        gpus=few,
        gpu_price=price,
        ipv4_addresses=few,
        labels=st.dictionaries(st.just("team"), st.sampled_from(["red", "blue"])),
    ),
    "disk": st.builds(
        DiskData,
        name=st.just("data"),
        data_center_id=st.just("local"),
        type=st.sampled_from(["DISK_TYPE_BOOT", "DISK_TYPE_STORAGE"]),
        storage_class=st.just("LOCAL"),
        pool=st.just("local"),
        size_gib=few,
        gib_price=price,
        state=st.sampled_from(["DISK_STATE_READY", "DISK_STATE_ERROR"]),
        vm_id=st.sampled_from(["", str(UUID(int=1))]),
    ),
    "snapshot": st.builds(
        SnapshotData,
        name=st.just("one"),
        disk_id=st.just("data"),
        data_center_id=st.just("local"),
        size_gib=few,
        gib_price=price,
    ),
    "private_image": st.builds(
        PrivateImageData,
        name=st.just("golden"),
        data_center_id=st.just("local"),
        size_gib=few,
        gib_price=price,
        state=st.just("READY"),
    ),
    "network": st.builds(
        NetworkData,
        name=st.just("lan"),
        data_center_id=st.just("local"),
        range=st.just("10.0.0.0/24"),
        price=price,
        state=st.just("ACTIVE"),
    ),
}
NAMES = {kind: sorted(name for name in COST if name.partition(".")[0] == kind) for kind in DATA}


@st.composite
def told_of(draw: st.DrawFn, kind: str, subject_id: UUID) -> list[Told]:
    """What happened to one resource, at moments that are no whole seconds."""
    moments = st.integers(min_value=0, max_value=SECONDS * 1000)
    count = draw(st.integers(min_value=0, max_value=6))
    milliseconds = sorted(draw(moments) for _ in range(count))
    return [
        Told(
            subject_id,
            BEGIN + timedelta(milliseconds=at),
            draw(st.sampled_from(NAMES[kind])),
            "default",
            msgspec.to_builtins(draw(DATA[kind])),
        )
        for at in milliseconds
    ]


@st.composite
def histories(
    draw: st.DrawFn, kinds: Iterable[str] = ("vm", "vm", "disk", "disk", "snapshot", "network")
) -> list[Told]:
    """What happened to some resources, mixed, each one's in its order."""
    lives = [draw(told_of(kind, UUID(int=number))) for number, kind in enumerate(kinds, 1)]
    mixed: list[Told] = []
    while any(lives):
        life = draw(st.sampled_from([life for life in lives if life]))
        mixed.append(life.pop(0))
    return mixed


def naive_cost(told: Sequence[Told], start: int, end: int) -> Decimal:
    """Go through every second of every resource, look up what it was then, and add up what that costs; by the second of an hour."""
    with localcontext(prec=100):
        by_subject = {
            subject: [one for one in told if one.subject_id == subject]
            for subject in {o.subject_id for o in told}
        }
        total = Decimal(0)
        for events in by_subject.values():
            for second in range(start, end):
                total += rate_at(events, second)
        return total


def rate_at(events: Sequence[Told], second: int) -> Decimal:
    """What a resource costs an hour in a second."""
    now, costs = Decimal(0), False
    for event in events:
        if (event.at - BEGIN) // timedelta(seconds=1) > second:
            break
        boots = event.data.get("type") == "DISK_TYPE_BOOT"
        if event.event in COST_ENDS:
            costs, now = False, Decimal(0)
        elif costs or (event.event in COST_BEGINS and not (event.event == "disk.create_requested" and boots)):
            costs, now = True, price_of(event.data)
    return now


def price_of(data: dict[str, Any]) -> Decimal:
    """What an hour costs, by the data as they stand in the journal."""
    if data.get("state") == "DISK_STATE_ERROR":
        return Decimal(0)
    of = lambda name: Decimal(data.get(name, 0))  # noqa: E731
    if "vcpus" in data:
        return (
            of("vcpus") * of("vcpu_price")
            + of("memory_gib") * of("memory_gib_price")
            + of("gpus") * of("gpu_price")
            + of("ipv4_addresses") * of("ipv4_price")
        )
    return of("size_gib") * of("gib_price") if "size_gib" in data else of("price")
