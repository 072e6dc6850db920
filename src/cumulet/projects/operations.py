"""Projects and who belongs to them: the API's verbs."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cumulet import journal
from cumulet.errors import AlreadyExists, Invalid
from cumulet.operation import Caller, operation
from cumulet.projects.access import find_user, require
from cumulet.projects.bootstrap import DEFAULT_BILLING_ACCOUNT
from cumulet.projects.model import Membership, Project, Role
from cumulet.projects.paging import read_size
from cumulet.projects.wire import CreateProject, ListProjectsResponse, Profile, ProjectAnswer

PROJECT_ID: Final = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")


@operation("GET /v1/auth")
def get_profile(db: Session, caller: Caller) -> Profile:
    """Tell whom the key acts for."""
    user = find_user(db, caller.user_id)
    return Profile(email_address=user.email, first_name=user.first_name, last_name=user.last_name, picture="")


@operation("GET /v1/projects")
def list_projects(
    db: Session, caller: Caller, *, page_token: str = "", page_size: int = 0
) -> ListProjectsResponse:
    """List the projects that the caller belongs to, by id."""
    size = read_size(page_size)
    mine = select(Project).join(Membership, Membership.project_id == Project.id)
    mine = mine.where(Membership.user_id == caller.user_id, Project.id > page_token).order_by(Project.id)
    found = db.scalars(mine.limit(size + 1)).all()
    projects = found[:size]
    return ListProjectsResponse(
        projects=[project_answer(one) for one in projects],
        page_token=projects[-1].id if len(found) > size else "",
        page_size=size,
    )


@operation("GET /v1/projects/{id}")
def get_project(db: Session, caller: Caller, *, id: str) -> ProjectAnswer:
    """Show one project."""
    return project_answer(require(db, caller, id, Role.VIEWER))


@operation("POST /v1/projects")
def create_project(db: Session, caller: Caller, now: datetime, *, data: CreateProject) -> ProjectAnswer:
    """Make a project; the caller owns it."""
    if not PROJECT_ID.fullmatch(data.id):
        accepted = "1 to 63 of a-z, 0-9 and '-', starting with a letter, not ending with '-'"
        raise Invalid.field("id", data.id, accepted)
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
        raise AlreadyExists(f"there is a project {data.id!r} already; choose another id") from None
    db.add(Membership(user_id=caller.user_id, project_id=project.id, role=Role.OWNER))
    text = f"{caller.email} made the project {project.id}"
    journal.record(
        db,
        "user.created_project",
        at=now,
        project_id=project.id,
        subject_id=caller.user_id,
        text=text,
        actor=caller.email,
    )
    return project_answer(project)


def project_answer(project: Project) -> ProjectAnswer:
    """Show a project as the contract does."""
    return ProjectAnswer(
        id=project.id, billing_account_id=project.billing_account_id, create_by=str(project.created_by)
    )
