"""Which hosts are there for whom: all for those who look after the cloud, and a data center's for who looks after that."""

from __future__ import annotations

from sqlalchemy import ColumnElement, true

from cumulet.hosts.model import Host
from cumulet.permission import Caller


def is_shown(caller: Caller) -> ColumnElement[bool]:
    """Say which hosts are there for a caller."""
    return true() if caller.reads_everything else Host.data_center_id.in_(caller.data_centers)
