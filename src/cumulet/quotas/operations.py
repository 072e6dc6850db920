"""The verbs of quotas: members see them with what is used, operators set them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from cumulet import journal
from cumulet.catalogue import Catalogue
from cumulet.errors import Invalid
from cumulet.events import EventName
from cumulet.operation import Access, Caller, operation
from cumulet.projects import Project, lock_project
from cumulet.quotas.names import Limits, check_name, limit_of, names_of
from cumulet.quotas.use import read_use
from cumulet.quotas.wire import ListQuotasResponse, Quota, SetQuota
from cumulet.wire import Empty


@operation("GET /v1/projects/{projectId}/quotas", access=Access.VIEWER)
def list_quotas(db: Session, *, catalogue: Catalogue, project_id: str) -> ListQuotasResponse:
    """Show how much a project may have of each thing, and how much it has."""
    own = db.get_one(Project, project_id).quotas
    names = names_of(one.id for one in catalogue.gpu_models)
    used = read_use(db, project_id, names)
    return ListQuotasResponse(
        quotas=[
            Quota(name=name, limit=limit_of(name, own, catalogue.quotas), own=name in own, used=used[name])
            for name in names
        ]
    )


@operation("PUT /v1/quotas/{projectId}/{name}", access=Access.OPERATOR)
def set_quota(
    db: Session,
    caller: Caller,
    *,
    catalogue: Catalogue,
    now: datetime,
    project_id: str,
    name: str,
    data: SetQuota,
) -> Empty:
    """Set how much a project may have of one thing; what it has beyond that stays."""
    check_name(name, (one.id for one in catalogue.gpu_models))
    if (data.limit is None) is not data.unlimited:
        raise Invalid.together(["limit", "unlimited"], "one of them is required, and only one")
    own = lock_project(db, project_id).quotas
    words = "no limit" if data.limit is None else str(data.limit)
    keep(db, caller, project_id, {**own, name: data.limit}, f"quota {name} set to {words}", now=now)
    return Empty()


@operation("DELETE /v1/quotas/{projectId}/{name}", access=Access.OPERATOR)
def unset_quota(
    db: Session, caller: Caller, *, catalogue: Catalogue, now: datetime, project_id: str, name: str
) -> Empty:
    """Have the catalogue's limit count for a project again."""
    own = lock_project(db, project_id).quotas
    if name not in own:
        check_name(name, (one.id for one in catalogue.gpu_models))
        return Empty()
    others = {known: limit for known, limit in own.items() if known != name}
    keep(db, caller, project_id, others, f"quota {name} is the catalogue's again", now=now)
    return Empty()


def keep(db: Session, caller: Caller, project_id: str, own: Limits, text: str, *, now: datetime) -> None:
    """Write down a project's own limits, and who set them."""
    db.get_one(Project, project_id).quotas = dict(own)
    journal.log_event(
        db,
        EventName.USER_SET_QUOTA,
        at=now,
        project_id=project_id,
        subject_id=caller.user_id,
        text=f"{caller.email}: {text}",
        actor=caller.email,
    )
