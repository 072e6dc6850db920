"""Projects and who belongs to them: the API's verbs."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cumulet import journal
from cumulet.errors import AlreadyExists, Refused
from cumulet.events import EventName
from cumulet.ids import check_id
from cumulet.limits import Limits
from cumulet.operation import Access, Caller, operation
from cumulet.permission import Role
from cumulet.projects.access import find_project, find_user, is_seen, refuse_beyond
from cumulet.projects.bootstrap import DEFAULT_BILLING_ACCOUNT
from cumulet.projects.members import forget_strangers
from cumulet.projects.model import Membership, Project
from cumulet.projects.paging import fetch_part, read_page
from cumulet.projects.wire import (
    CreateProject,
    ListProjectsResponse,
    Profile,
    ProjectAnswer,
    UpdateProject,
)
from cumulet.wire import Empty


@operation("GET /v1/auth", access=Access.KEY)
def get_profile(db: Session, caller: Caller) -> Profile:
    """Show whom the key acts for."""
    user = find_user(db, caller.user_id)
    return Profile(email_address=user.email, first_name=user.first_name, last_name=user.last_name, picture="")


@operation("GET /v1/projects", access=Access.KEY)
def list_projects(
    db: Session, caller: Caller, *, page_token: str = "", page_size: int = 0
) -> ListProjectsResponse:
    """List the projects that the caller belongs to, by id; all to auditors and operators."""
    page = read_page(0, page_size, page_token)
    projects, token = fetch_part(db, select(Project).where(is_seen(caller)), page, Project.id)
    return ListProjectsResponse(
        projects=[project_view(one) for one in projects], page_token=token, page_size=page.size
    )


@operation("GET /v1/projects/{id}", access=Access.VIEWER)
def get_project(db: Session, *, id: str) -> ProjectAnswer:
    """Show one project."""
    return project_view(find_project(db, id))


@operation("POST /v1/projects", access=Access.USER)
def create_project(
    db: Session, caller: Caller, now: datetime, limits: Limits, *, data: CreateProject
) -> ProjectAnswer:
    """Make a project; the caller owns it."""
    check_id("id", data.id)
    refuse_beyond(
        db,
        caller,
        Project.created_by == caller.user_id,
        "projects that you created",
        most=limits.projects_per_user,
    )
    project = Project(
        id=data.id,
        billing_account_id=data.billing_account_id or DEFAULT_BILLING_ACCOUNT,
        created_by=caller.user_id,
        created_at=now,
    )
    db.add(project)
    try:
        db.flush()
    except IntegrityError:
        raise AlreadyExists(f"there is already a project {data.id!r}; choose another id") from None
    db.add(Membership(user_id=caller.user_id, project_id=project.id, role=Role.OWNER))
    _log(
        db,
        caller,
        project,
        EventName.USER_CREATED_PROJECT,
        f"{caller.email} created the project {project.id}",
        now=now,
    )
    return project_view(project)


@operation("PATCH /v1/projects/{id}", access=Access.OWNER)
def update_project(
    db: Session, caller: Caller, now: datetime, *, id: str, data: UpdateProject
) -> ProjectAnswer:
    """Change a project's billing account, which is kept as given."""
    project = find_project(db, id, lock=True)
    account = data.billing_account_id or (data.project.billing_account_id if data.project else "")
    if account:
        project.billing_account_id = account
        _log(
            db,
            caller,
            project,
            EventName.USER_CHANGED_PROJECT,
            f"{caller.email} changed the project {id}",
            now=now,
        )
    return project_view(project)


@operation("DELETE /v1/projects/{id}", access=Access.OWNER)
def delete_project(db: Session, caller: Caller, now: datetime, *, id: str) -> Empty:
    """Delete an empty project."""
    project = find_project(db, id, lock=True)
    _log(
        db,
        caller,
        project,
        EventName.USER_DELETED_PROJECT,
        f"{caller.email} deleted the project {id}",
        now=now,
    )
    try:
        with db.begin_nested():
            members = delete(Membership).where(Membership.project_id == id).returning(Membership.user_id)
            belonged = db.scalars(members).all()
            db.execute(delete(Project).where(Project.id == id))
    except IntegrityError:
        left = "delete its VMs, disks, networks, security groups and private images first"
        raise Refused(  # the contract has no reason of its own for that
            f"project {id!r} is not empty: {left}", reason="ERROR_REASON_UNSPECIFIED", subject=id
        ) from None
    forget_strangers(db, belonged)
    return Empty()


def _log(
    db: Session, caller: Caller, project: Project, event: EventName, text: str, *, now: datetime
) -> None:
    """Write down what the caller did to a project."""
    journal.log_event(
        db,
        event,
        at=now,
        project_id=project.id,
        subject_id=caller.user_id,
        text=text,
        actor=caller.email,
    )


def project_view(project: Project) -> ProjectAnswer:
    """Show a project as the contract does."""
    return ProjectAnswer(
        id=project.id, billing_account_id=project.billing_account_id, create_by=str(project.created_by)
    )
