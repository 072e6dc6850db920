"""Whether the catalogue still has the disk pools in use: room in one that it lacks would be counted nowhere."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cumulet.catalogue import Catalogue
from cumulet.errors import Invalid
from cumulet.hosts.model import Host, Reservation


def check_pools_still_offered(db: Session, catalogue: Catalogue) -> None:
    """Refuse a catalogue that lacks a disk pool in use; Invalid says what to put back."""
    pools = {one.id: [pool.id for pool in one.disk_pools] for one in catalogue.data_centers}
    in_use = (
        select(Host.data_center_id, Reservation.pool, func.count())
        .join(Host, Host.id == Reservation.host_id)
        .where(Reservation.pool != "")
        .group_by(Host.data_center_id, Reservation.pool)
        .order_by(Host.data_center_id, Reservation.pool)
    )
    for data_center_id, pool, count in db.execute(in_use):
        offered = pools.get(data_center_id, [])
        if pool not in offered:
            field = f"catalogue: disk_pools of {data_center_id!r}"
            raise Invalid.field(
                field, offered, f"{pool!r} among them, because {count} disks or images are in it"
            )
