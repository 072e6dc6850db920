"""Choosing the hosts that have OVN's databases."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from cumulet.errors import Invalid, Refused
from cumulet.events import EventName
from cumulet.fleet.between import AWAY
from cumulet.fleet.operations import find_host
from cumulet.fleet.wire import ChooseCentral
from cumulet.hosts import Host, log_host, wake_between
from cumulet.operation import Access, Caller, operation
from cumulet.wire import Empty

NUMBERS: Final = frozenset({1, 3})


@operation("PUT /v1/host-central", access=Access.OPERATOR)
def choose_central(db: Session, caller: Caller, *, now: datetime, data: ChooseCentral) -> Empty:
    """Choose the hosts that have OVN's databases: one, or three that go on when any one of them dies.

    They are brought there in the minutes that follow, with no packet lost; GetHost tells which have them. Only for
    operators.
    """
    if len(data.hosts) not in NUMBERS or len({*data.hosts}) < len(data.hosts):
        raise Invalid.field("hosts", ", ".join(data.hosts), "one host, or three")
    with Invalid.reference("hosts"):
        chosen = {find_host(db, caller, name).id for name in data.hosts}
    hosts = db.scalars(select(Host).order_by(Host.name).with_for_update()).all()
    for host in hosts:
        if host.id in chosen and host.state in AWAY:
            raise Refused(
                f"host {host.name!r} is {host.state.value}: choose hosts that answer",
                reason="HOST_DOES_NOT_ANSWER",
                subject=host.name,
            )
        host.central = host.id in chosen
    for host in hosts:
        if host.central:
            text = f"OVN's databases are to be on {', '.join(data.hosts)}"
            log_host(db, host, EventName.HOST_CENTRAL, text, now=now, actor=caller.email)
    wake_between(db, now=now)
    return Empty()
