"""Reading the audit: all of it for who audits or runs the cloud, that of their projects for owners."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import ColumnElement, Select, and_, select
from sqlalchemy.orm import Session

from cumulet.audit.model import AuditRecord, Outcome
from cumulet.audit.wire import AuditEntry, ListAuditResponse
from cumulet.operation import Access, Caller, operation
from cumulet.projects import Project, Role, fetch_part, find_caller, has_role, permit, read_page
from cumulet.wire import utc


@operation("GET /v1/audit", access=Access.KEY)
def list_audit(
    db: Session,
    caller: Caller,
    *,
    now: datetime,
    user: str = "",
    project_id: str = "",
    operation: str = "",
    outcome: Outcome | None = None,
    is_refused: bool = False,
    since: datetime | None = None,
    until: datetime | None = None,
    page_size: int = 0,
    page_token: str = "",
) -> ListAuditResponse:
    """List who asked for which change and what came of it, and who was refused a look, newest first.

    Auditors and operators see all, others what concerns the projects that they own. `isRefused` leaves out what was done;
    `since` and `until` bound when it began.
    """
    records = seen_by(db, caller, project_id, now)
    records = records.where(
        *equal(user=user, project_id=project_id, operation=operation, outcome=outcome),
        *([AuditRecord.outcome != Outcome.OK] if is_refused else []),
        *([AuditRecord.at >= utc(since)] if since else []),
        *([AuditRecord.at < utc(until)] if until else []),
    )
    page = read_page(0, page_size, page_token)
    found, token = fetch_part(db, records, page, AuditRecord.id, newest_first=True)
    return ListAuditResponse(
        entries=[entry_view(one) for one in found], page_size=page.size, page_token=token
    )


def seen_by(db: Session, caller: Caller, project_id: str, now: datetime) -> Select[AuditRecord]:
    """Choose what a caller may see, of one project if that is named; NotFound, Forbidden."""
    if caller.reads_everything:
        return select(AuditRecord)
    if project_id:
        there = find_caller(db, caller.key_digest, now=now, project_id=project_id)
        permit(db, there, Access.OWNER, changes=False)
    begun = and_(Project.id == AuditRecord.project_id, Project.created_at <= AuditRecord.at)
    return select(AuditRecord).join(Project, begun).where(Project.id.in_(has_role(caller, Role.OWNER)))


def equal(
    *, user: str, project_id: str, operation: str, outcome: Outcome | None
) -> Iterator[ColumnElement[bool]]:
    """Say what is equal to what was asked for."""
    if user:
        yield AuditRecord.email == user
    if project_id:
        yield AuditRecord.project_id == project_id
    if operation:
        yield AuditRecord.operation == operation
    if outcome:
        yield AuditRecord.outcome == outcome


def entry_view(one: AuditRecord) -> AuditEntry:
    """Show a record."""
    return AuditEntry(
        id=str(one.id),
        create_time=one.at,
        last_time=one.last_at,
        count=one.count,
        user=one.email,
        user_id=str(one.user_id or ""),
        api_key_id=one.key_id,
        address=one.address,
        operation=one.operation,
        project_id=one.project_id,
        target=one.target,
        outcome=one.outcome,
        reason=one.reason,
    )
