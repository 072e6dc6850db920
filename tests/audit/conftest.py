"""A cloud of made-up hosts behind its real edge, some people with keys, and what the audit tells of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from tests.made_up import Cloud
from tests.projects.people import add_user
from tests.rest.conftest import serving
from tests.waiting import PATIENCE_S

from cumulet.audit import AuditRecord
from cumulet.operation import OPERATIONS, Operation
from cumulet.permission import CloudRole, Role
from cumulet.projects import admit
from cumulet.projects.model import Project
from cumulet.rest import create_app
from cumulet.wire import Stream

ENDING = [one for one in OPERATIONS.values() if not issubclass(one.answer, Stream)]
"""The operations whose answers end."""
PROJECT = "/v1/projects/{projectId}"
ASKED = {
    "/v1/api-keys",
    "/v1/audit",
    "/v1/auth",
    "/v1/gpus",
    "/v1/projects",
    "/v1/projects/{id}",
    f"{PROJECT}/disk/{{id}}/attach",
    f"{PROJECT}/networks",
    f"{PROJECT}/networks/{{id}}/start",
    f"{PROJECT}/vm",
    f"{PROJECT}/vms",
    f"{PROJECT}/vms/{{id}}",
}
"""What most tests ask for; routes for all of it took most of their time."""
Ask = Callable[..., httpx.Response]


@pytest.fixture
def operations() -> list[Operation]:
    return [one for one in ENDING if one.path in ASKED]


@pytest.fixture
def url(cloud: Cloud, operations: list[Operation]) -> Iterator[str]:
    hours = itertools.count(step=3600.0)  # so that nobody asks too often
    app = create_app(
        cloud.database,
        admit=admit,
        provided=cloud.provided,
        operations=operations,
        clock=cloud.clock,
        seconds=hours.__next__,
    )
    with serving(app) as url:
        yield url


@pytest.fixture
def ask(cloud: Cloud, url: str) -> Iterator[Ask]:
    """Ask as somebody, whose name is their key: `ask("ann", "GET", "/v1/auth")`; as nobody with ""."""
    assert cloud.owner  # who is looked up while nobody else is there
    with cloud.database.writing() as db:
        ann = add_user(db, "ann", default=Role.OWNER)
        db.add(Project(id="other", billing_account_id="", created_by=ann.user_id, created_at=cloud.clock()))
        db.flush()
        add_user(db, "vic", default=Role.VIEWER)
        add_user(db, "bob", other=Role.OWNER)
        add_user(db, "auditor", CloudRole.AUDITOR)
    with httpx.Client(base_url=url, timeout=PATIENCE_S) as client:

        def send(who: str, method: str, path: str, **more: Any) -> httpx.Response:
            headers = {"authorization": f"Bearer {who}"} if who else {}
            return client.request(method, path, headers=headers | more.pop("headers", {}), **more)

        yield send


@pytest.fixture
def told(cloud: Cloud) -> Callable[[], list[AuditRecord]]:
    """Give all that the audit tells, oldest first."""

    def look() -> list[AuditRecord]:
        with cloud.database.reading() as db:
            return list(db.scalars(select(AuditRecord).order_by(AuditRecord.id)))

    return look
