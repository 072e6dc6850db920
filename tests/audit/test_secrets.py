"""Secrets, put by their owners wherever something can be written, are in no log, no audit, no refusal and no table."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
import structlog
from msgspec import inspect
from sqlalchemy import inspect as inspect_database
from sqlalchemy import select, text
from tests.audit.conftest import ENDING
from tests.made_up import vm_request

from cumulet.db import Database
from cumulet.operation import Operation
from cumulet.projects.access import digest_of, new_key
from cumulet.projects.model import ApiKey
from cumulet.serve.logs import PROCESSORS
from cumulet.wire import SECRETS

PASSWORD = "Swordfish-77-ninety"
SCRIPT = "#!/bin/sh\necho TopSecretToken81\n"
FREE_TEXT = {"description", "metadata", "storage_disks", "rules"}
"""Columns in which people may write what they like; a start script is needed until the first boot is done."""


@pytest.fixture
def operations() -> list[Operation]:
    return ENDING


@pytest.fixture
def logged(quiet_log) -> Iterator[list[str]]:
    """The log's lines, as the server writes them."""
    lines: list[str] = []
    before = structlog.get_config()["processors"]

    def collect(_logger: object, _method: str, event: Any) -> str:
        lines.append(json.dumps(event, default=str))
        raise structlog.DropEvent

    structlog.configure(processors=[*PROCESSORS, collect])
    yield lines
    structlog.configure(processors=before)


def written(database: Database, *, besides: set[str] = frozenset()) -> str:
    """All that the database holds, but for some columns."""
    tables = inspect_database(database.engine).get_table_names()
    with database.reading() as db:
        rows = [row for table in tables for row in db.execute(text(f'SELECT * FROM "{table}"')).mappings()]
    return json.dumps([{name: str(row[name]) for name in row if name not in besides} for row in rows])


def texts_in(kind: inspect.Type, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where a body has a text, by the names that lead there."""
    match kind:
        case inspect.StructType():
            for field in kind.fields:
                yield from texts_in(field.type, (*path, field.encode_name))
        case inspect.UnionType():
            for one in kind.types:
                yield from texts_in(one, path)
        case inspect.ListType():
            yield from texts_in(kind.item_type, (*path, "[]"))
        case inspect.NoneType():
            return
        case _:
            yield path


def body_with(path: tuple[str, ...], secret: str) -> Any:
    first, *others = path
    inner = body_with(tuple(others), secret) if others else secret
    return [inner] if first == "[]" else {first: inner}


def requests_with(operation: Operation, secret: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """One request for each place in which an operation takes a text."""
    plain = operation.path.replace("{projectId}", "default")
    sent = plain.format(**dict.fromkeys(names_of(plain), secret)) if "{" in plain else plain
    yield sent, {}
    for kind, how in ((operation.query, "query"), (operation.body, "json")):
        for path in texts_in(inspect.type_info(kind)) if kind else ():
            put = secret if path[-1] not in SECRETS else {"password": PASSWORD}.get(path[-1], SCRIPT)
            if how == "json":
                yield sent, {"json": body_with(path, put)}
            else:
                yield f"{sent}?{urlencode({path[0]: put})}", {}


def names_of(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


@pytest.mark.slow
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_secret_in_any_text_of_any_operation_is_kept_and_repeated_nowhere(ask, cloud, logged):
    secret = new_key()
    with cloud.database.writing() as db:
        owner = db.scalars(select(ApiKey).where(ApiKey.id == "key-of-ann")).one().user_id
        good = new_key()
        db.add(ApiKey(user_id=owner, id="good", digest=digest_of(good), created_at=cloud.clock()))
    asked = 0
    for operation in ENDING:
        for path, body in requests_with(operation, secret):
            for key in (good, secret):
                answer = ask(key, operation.method, path, **body)
                asked += 1
                assert all(one not in answer.text for one in (good, PASSWORD, "TopSecretToken81"))
                if answer.status_code >= 400:
                    assert secret not in answer.text, (operation.name, path, body)
    assert asked > 4 * len(ENDING)
    assert "/v1/projects/default/vms/cumulet_" in "".join(logged)
    for held in (written(cloud.database, besides=FREE_TEXT), "".join(logged)):
        assert all(one not in held for one in (secret, good, PASSWORD, "TopSecretToken81"))


def test_what_a_vm_is_given_and_what_opens_it_stays_out_of_log_and_tables(ask, cloud, logged):
    body = msgspec.to_builtins(vm_request(vm_id="another", password=PASSWORD, start_script=SCRIPT))
    assert ask("ann", "POST", "/v1/projects/default/vm", json=body).status_code == 200
    cloud.running()
    vm = "/v1/projects/default/vm/hello"
    assert ask("ann", "POST", f"{vm}/password", json={"password": f"{PASSWORD}-2"}).status_code == 200
    key = ask("ann", "POST", "/v1/api-keys", json={}).json()["key"]
    ticket = ask("ann", "GET", "/v1/projects/default/vms/hello/connect").json()["token"]
    cloud.settle()
    assert all(len(one) > 20 for one in (key, ticket))
    for held in (written(cloud.database, besides={"start_script"}), "".join(logged)):
        assert all(one not in held for one in (PASSWORD, "TopSecretToken81", key, ticket))
