"""Copies of images on a host, at each look at it: noted, and removed when nobody needs them or room is short."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Final, TypeVar

from sqlalchemy import bindparam, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from cumulet.db import fetch_columns
from cumulet.hosts import Reservation
from cumulet.hypervisor import HostFacts, HypervisorError
from cumulet.hypervisor import Hypervisor as Host
from cumulet.images.copies import differ, give_way, note_copies, read_copies
from cumulet.private_images import PrivateImage
from cumulet.reconcile import Run
from cumulet.vm_record.model import Vm

T = TypeVar("T")
GIB: Final = 1 << 30
SPARE_SHARE: Final = 10
"""A tenth of the pool is to be free for new disks before copies that no VM of the host uses may fill it."""
USED: Final = (
    select(Vm.image_sha256)
    .where(or_(Vm.host_id == bindparam("host"), Vm.moving_to == bindparam("host")))
    .distinct()
)
RESERVED: Final = select(func.coalesce(func.sum(Reservation.disk_gib), 0)).where(
    Reservation.host_id == bindparam("host"), Reservation.pool == bindparam("own_pool")
)


def keep_copies(run: Run, host: Host, facts: HostFacts, *, offered: AbstractSet[str], pool: str) -> None:
    """Remove copies that nobody needs, and when `pool`, where they lie, is short of room, those unused for longest."""
    found = dict(host.images.copies())
    with run.reading() as db:
        noted = read_copies(db, run.id)
        if not found and not noted:
            return
        used = {sha256 for (sha256,) in fetch_columns(db, USED, host=run.id)}
        unoffered = found.keys() - offered
        needed = those_in(db, Vm.image_sha256, unoffered) | those_in(db, PrivateImage.sha256, unoffered)
        ((reserved,),) = fetch_columns(db, RESERVED, host=run.id, own_pool=pool)
    going = [*(unoffered - needed)]
    if short := shortage(facts, pool, reserved):
        idle = {sha256: size for sha256, size in host.images.copies(pool).items() if sha256 not in used}
        going += give_way(idle, noted, short=short, now=run.now)
    for sha256 in going:
        with suppress(HypervisorError):  # an orphan disk in its grace is still based on it
            host.images.remove_copy(sha256)
            found.pop(sha256, None)
    if differ(found, noted, used, run.now):
        with run.writing() as db:
            note_copies(db, run.id, found=found, noted=noted, used=used, now=run.now)


def shortage(facts: HostFacts, pool: str, reserved: int) -> int:
    """Say how many bytes are missing to the room that is kept for new disks; none when it is there."""
    room = facts.disk_gib.get(pool, 0)
    return max(room // SPARE_SHARE - (room - reserved), 0) * GIB


def those_in(db: Session, column: InstrumentedAttribute[T], values: AbstractSet[T]) -> set[T]:
    """Those values that some row has; nothing is asked for none, which is the rule."""
    return set(db.scalars(select(column).where(column.in_(values)).distinct())) if values else set()
