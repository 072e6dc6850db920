"""Whether the catalogue still offers what is in use: an operator may edit it under VMs that run.

Without this a data center that was renamed in the file would take its VMs out of every answer, and end the look at
the whole fabric for everybody; a range that was moved would cut VMs off under addresses that are still shown.
"""

from __future__ import annotations

from ipaddress import IPv4Address

from sqlalchemy import select
from sqlalchemy.orm import Session

from cumulet.catalogue import Catalogue
from cumulet.errors import Invalid
from cumulet.networks.model import ExternalAddress, Network


def check_still_offered(db: Session, catalogue: Catalogue) -> None:
    """Refuse a catalogue that lacks a data center or an external address in use; Invalid says what to put back."""
    ranges = {one.id: one.external_range for one in catalogue.data_centers}
    for id in sorted(db.scalars(select(Network.data_center_id).distinct())):
        if id not in ranges:
            accepted = f"{id!r} among them, because it has networks"
            raise Invalid.field("catalogue: data centers", sorted(ranges), accepted)
    for held in db.scalars(select(ExternalAddress).order_by(ExternalAddress.address)):
        range_ = ranges[held.data_center_id]
        if IPv4Address(held.address) not in range_:
            field = f"catalogue: external_range of {held.data_center_id!r}"
            raise Invalid.field(field, str(range_), f"a range with {held.address} in it, which is in use")
