"""What the cloud is at and has not come to an end with: where these last, something is stuck."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from cumulet.disks import Disk
from cumulet.due import Due, Kind
from cumulet.gpus import Gpu
from cumulet.hosts import Host
from cumulet.monitoring.wire import ListUnsettledResponse, Unsettled
from cumulet.networks import Network
from cumulet.operation import Access, operation
from cumulet.private_images import PrivateImage
from cumulet.security_groups import SecurityGroup
from cumulet.vm_record import Vm

MOST: Final = 1000
OF_PROJECTS: Final[Mapping[str, Any]] = {
    Kind.VM: Vm,
    Kind.DISK: Disk,
    Kind.NETWORK: Network,
    Kind.SECURITY_GROUP: SecurityGroup,
    Kind.PRIVATE_IMAGE: PrivateImage,
}
Names = Mapping[tuple[str, UUID], tuple[str, str]]
"""Of what kind and id, its project and its name."""


@operation("GET /v1/unsettled", access=Access.AUDITOR)
def list_unsettled(db: Session) -> ListUnsettledResponse:
    """List what has failed the last time or takes longer than it may, the longest first: a thousand at most.

    Only for auditors and operators.
    """
    stuck = select(Due).where(or_(Due.overdue, Due.error != ""), Due.since.is_not(None))
    dues = db.scalars(stuck.order_by(Due.since, Due.kind, Due.id).limit(MOST)).all()
    names = names_of(db, dues)
    return ListUnsettledResponse(unsettled=[unsettled_view(due, names) for due in dues])


def unsettled_view(due: Due, names: Names) -> Unsettled:
    """Show one of them."""
    project_id, name = names.get((due.kind, due.id), ("", ""))
    return Unsettled(
        kind=due.kind,
        project_id=project_id,
        id=name,
        since_time=due.since,
        overdue=due.overdue,
        failures=due.attempts,
        error=due.error,
        waiting_for=due.why,
    )


def names_of(db: Session, dues: Iterable[Due]) -> Names:
    """Find what they are called that have a name."""
    by_kind: dict[str, list[UUID]] = defaultdict(list)
    for due in dues:
        by_kind[due.kind].append(due.id)
    return {
        (kind, id): (project_id, name)
        for kind, ids in by_kind.items()
        for id, project_id, name in names_in(db, kind, ids)
    }


def names_in(db: Session, kind: str, ids: Sequence[UUID]) -> Iterator[tuple[UUID, str, str]]:
    """Give the project and the name of those of a kind; nothing where it has no names."""
    if model := OF_PROJECTS.get(kind):
        rows = db.execute(select(model.id, model.project_id, model.name).where(model.id.in_(ids)))
        yield from ((id, project_id, name) for id, project_id, name in rows)
    if kind == Kind.HOST:
        rows = db.execute(select(Host.id, Host.name).where(Host.id.in_(ids)))
        yield from ((id, "", name) for id, name in rows)
    if kind == Kind.GPU:
        cards = select(Gpu.id, Host.name + ":" + Gpu.address).join(Host, Host.id == Gpu.host_id)
        yield from ((id, "", name) for id, name in db.execute(cards.where(Gpu.id.in_(ids))))
