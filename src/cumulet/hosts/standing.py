"""How a host comes to stand otherwise is written in its row and told: in the journal, and in the log for whoever runs the cloud."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime

import structlog
from sqlalchemy.orm import Session

from cumulet.events import EventName, HostData
from cumulet.hosts.model import Host
from cumulet.hosts.state import HostState, Standing
from cumulet.hosts.waiting import wake_between, wake_queue
from cumulet.journal import SYSTEM, log_event

log = structlog.get_logger()


def values_of(standing: Standing) -> dict[str, object]:
    """Name a standing's values as the columns of a host's row."""
    return {field.name: getattr(standing, field.name) for field in fields(standing)}


def change_standing(
    db: Session, host: Host, standing: Standing, *, now: datetime, actor: str = SYSTEM
) -> None:
    """Write down how a host stands from now on, in the caller's transaction, and tell it where that is another state."""
    was = host.state
    for name, value in values_of(standing).items():
        setattr(host, name, value)
    if standing.state is was:
        return
    tell = log.warning if standing.state in {HostState.SILENT, HostState.LOST} else log.info
    tell("a host changed its state", host=host.name, state=standing.state.value, was=was.value, why=host.why)
    why = f": {host.why}" if host.why else ""
    name = EventName(f"host.{standing.state.value.lower()}")
    log_host(db, host, name, f"{host.name} is {standing.state.value}{why}", now=now, actor=actor, was=was)
    if standing.state is HostState.UP:
        wake_queue(db, now=now)
    if standing.state is HostState.LOST and host.central:
        wake_between(db, now=now)


def log_host(
    db: Session,
    host: Host,
    name: EventName,
    text: str,
    *,
    now: datetime,
    actor: str = SYSTEM,
    was: HostState | None = None,
) -> None:
    """Write a line about a host into the journal."""
    data = HostData(
        name=host.name,
        data_center_id=host.data_center_id,
        state=host.state.value,
        was=(was or host.state).value,
        why=host.why,
    )
    log_event(db, name, at=now, project_id="", subject_id=host.id, text=text, actor=actor, data=data)
