"""Every field of every operation, sent wrongly: the refusal names it, the value and what would be accepted; nothing changes.

Made from the operations themselves, so a new one is tried by being there: one that changes something with its right
request of `changes`, one that looks at something with what its path names.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec
import pytest
from msgspec import inspect
from sqlalchemy import select, update
from tests.call.bad_fields import (
    ABSENT,
    LONG,
    Wrong,
    each_missing,
    each_wrong,
    no_json,
    no_words,
    out_of_range,
    with_unknown,
)
from tests.call.changes import CHANGES, gpu_cloud
from tests.call.reads import KEYLESS, furnish, look
from tests.made_up import Cloud

from cumulet.call import Calls, KeptAnswers, question
from cumulet.db import Database, Row
from cumulet.errors import CumuletError, Exhausted, Forbidden, Invalid, NotFound, Unauthenticated
from cumulet.feed import Feed
from cumulet.horizon import Horizon
from cumulet.operation import OPERATIONS, Operation, names_in
from cumulet.projects import admit, digest_of
from cumulet.projects.model import ApiKey
from cumulet.rest.binding import ReceivedRequest
from cumulet.rest.endpoint import Endpoint
from cumulet.wire import SECRETS

API_KEY: Final = "cumulet_owners"
ODD_NAMES: Final = ("a\0b", LONG, "a\x1b[31m\nb", ABSENT, "../x", "%ff")
LONGEST_REFUSAL: Final = 1_000
"""Characters, however long is what was sent."""
NOT_HERE: Final = {"begin_sso", "delete_user", "finish_sso", "open_session", "redeem_login_code"}
"""What is refused whatever is sent: there is no identity provider, no second operator, and no such secret."""
REFERENCES: Final = {
    "bootDiskImageId",
    "cpuModel",
    "dataCenterId",
    "gpuModel",
    "gpuModelId",
    "hostId",
    "hosts[0]",
    "machineType",
    "networkId",
    "projectId",
    "securityGroupIds[0]",
    "storageDiskIds[0]",
    "userId",
}
"""Fields of a body that name what has to be there."""
FREE: Final = {
    "a",
    "billingAccountId",
    "description",
    "firstName",
    "lastName",
    "query",
    "reason",
    "startScript",
}
"""Texts in which any character may be; `a` is a label's value."""
UNASKED: Final = ("sign_in", "code")
"""Of somebody who has no second factor."""
BESIDE: Final = {"endTime": "startTime", "expireTime": "ttl"}
"""Which field is named when two do not go together."""
NOT_READ: Final = re.compile(
    r"connectionId|session|updateMask|(boot)?[dD]isk\.(projectId|dataCenterId|vmId|publicImageId|privateImageId|createTime|serial|waitingFor|problem)"
)
"""What clients may send and nobody minds: the contract has it for what it is in answers."""


class Accepted(Exception):
    """An operation has done what it does; it is undone."""


@dataclass
class Asking:
    """How an operation is asked for, and what is right."""

    one: Operation
    at: Endpoint
    path: tuple[str, ...]
    query: dict[str, Any]
    body: dict[str, Any]
    database: Database

    @classmethod
    def of(cls, one: Operation, cloud: Cloud, sent: dict[str, Any]) -> Asking:
        feed = Feed(cloud.database, Horizon(cloud.database), most_of_one=1000, clock=cloud.clock)
        calls = Calls(cloud.database, admit, {**cloud.provided, "feed": feed}, cloud.clock)
        names = {field.name: field.encode_name for field in fields(one.query)}
        return cls(
            one,
            Endpoint(replace(one, function=undone(one)), calls, KeptAnswers()),
            tuple(sent.pop(name) for name in one.path_names),
            body=msgspec.to_builtins(sent.pop("data", {})),
            query={names[name]: value for name, value in sent.items()},
            database=cloud.database,
        )

    def refusal(self, **other: Any) -> CumuletError | None:
        """Ask for it with something else than what is right; None when it is accepted."""
        sent = {"path": self.path, "query": self.query, "body": self.body} | other
        received = ReceivedRequest(
            tuple(quote(name, safe="") for name in sent["path"]),
            query=urlencode(sent["query"], doseq=True),
            body=msgspec.json.encode(sent["body"]),
            authorization=f"Bearer {API_KEY}",
            origin="http://cloud.example",
            question=question(sent),
        )
        try:
            self.at.answer(received)
        except CumuletError as refused:
            return refused
        except Accepted:
            return None
        raise AssertionError("it was not undone")

    def with_unknown_members(self) -> Any:
        """Give what is right, with more around it than anybody knows."""
        body = self.one.body
        return with_unknown(inspect.type_info(body) if body else inspect.AnyType(), self.body)

    def rows(self) -> dict[str, list[str]]:
        """Give all that is written down, but for tries at passwords."""
        with self.database.reading() as db:
            tables = [table for table in Row.metadata.sorted_tables if table.name != "password_try"]
            return {table.name: sorted(map(repr, db.execute(select(table)))) for table in tables}


def fields(struct: type | None) -> tuple[inspect.Field, ...]:
    return inspect.type_info(struct).fields if struct else ()


def undone(one: Operation) -> Callable[..., Any]:
    def do(**arguments: Any) -> None:
        one.function(**arguments)
        raise Accepted

    return do


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


def with_our_key(database: Database, folder: Path) -> Cloud:
    cloud = gpu_cloud(database, folder)
    with database.writing() as db:
        db.execute(update(ApiKey).values(digest=digest_of(API_KEY)))
    return cloud


@pytest.fixture
def cloud(database, tmp_path) -> Cloud:
    return with_our_key(database, tmp_path)


@pytest.fixture(scope="module")
def furnished(sqlite_template, tmp_path_factory) -> Iterator[Cloud]:
    """A cloud with one of each thing, for all who only look."""
    folder = tmp_path_factory.mktemp("furnished")
    database = Database(f"sqlite:///{shutil.copy(sqlite_template, folder)}")
    cloud = with_our_key(database, folder)
    furnish(cloud)
    yield cloud
    database.close()


@pytest.fixture
def asking(name, request) -> Asking:
    one = OPERATIONS[name]
    example = (CHANGES | KEYLESS).get(one.function.__name__)
    if example is None:
        cloud = request.getfixturevalue("furnished")
        return Asking.of(one, cloud, look(cloud, one))
    cloud = request.getfixturevalue("cloud")
    example.before(cloud)
    return Asking.of(one, cloud, {**example.sent(cloud)})


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATIONS)
def test_what_does_not_fit_is_refused_by_field_value_and_what_would_and_nothing_changes(name, asking):
    before = asking.rows()
    if name not in NOT_HERE:
        assert asking.refusal(body=asking.with_unknown_members()) is None
    amiss = [*complaints(asking)]
    assert amiss == [], "\n".join(amiss)
    assert asking.rows() == before


def complaints(asking: Asking) -> Iterator[str]:
    """Tell of each wrong value that was not refused as it should be."""
    one = asking.one
    for place, struct, right, ill_formed in (
        ("body", one.body, asking.body, no_json),
        ("query", one.query, asking.query, no_words),
    ):
        if struct is None:
            continue
        kind = inspect.type_info(struct)
        for wrong in (*each_wrong(kind, right, ill_formed), *each_missing(kind, right)):
            refused = asking.refusal(**{place: wrong.sent})
            yield from told(wrong, refused, fits=names_it_exactly(wrong, refused))
        for wrong in each_wrong(kind, right, out_of_range):
            refused = asking.refusal(**{place: wrong.sent})
            yield from told(wrong, refused, fits=is_no_surprise(one, place, wrong, refused))
    for wrong in odd_paths(asking):
        refused = asking.refusal(path=wrong.sent)
        yield from told(
            wrong, refused, fits=isinstance(refused, NotFound | Invalid) and shows(wrong, refused)
        )


def told(wrong: Wrong, refused: CumuletError | None, *, fits: bool) -> Iterator[str]:
    words = refused.message if refused else "accepted"
    if not fits or len(words) > LONGEST_REFUSAL or not words.isprintable():
        yield f"{wrong.field}: {wrong.value!r:.60} -> {type(refused).__name__} {words!r:.300}"


def odd_paths(asking: Asking) -> Iterator[Wrong]:
    for place, field in enumerate(names_in(asking.one.path)):
        for odd in ODD_NAMES:
            yield Wrong(field, odd, (*asking.path[:place], odd, *asking.path[place + 1 :]))


def names_it_exactly(wrong: Wrong, refused: CumuletError | None) -> bool:
    """Whether a refusal says that a field is missing, or which value it has and what would be accepted."""
    if not isinstance(refused, Invalid) or named(refused) != [wrong.field]:
        return False
    if wrong.value is None:
        return refused.message == f"{wrong.field} is required"
    shown = "'(not shown)'" if is_secret(wrong.field) else repr(wrong.value)
    return refused.message.startswith(f"{wrong.field}: {shown} is not accepted; expected ")


def names_it(wrong: Wrong, refused: CumuletError | None) -> bool:
    """Whether a refusal names a field, or what it is a part of."""
    return isinstance(refused, Invalid) and any(
        re.match(rf"{re.escape(name)}($|[.\[])", field)
        for name in named(refused)
        for field in (wrong.field, BESIDE.get(wrong.field, wrong.field))
    )


def shows(wrong: Wrong, refused: CumuletError) -> bool:
    """Whether a refusal has the value, or where that is long its beginning; no database takes NUL, so it is looked for nowhere."""
    return "\0" in wrong.value or repr(wrong.value)[:60] in refused.message


def named(refused: CumuletError) -> list[str]:
    return [one["field"] for detail in refused.details for one in detail.get("fieldViolations", ())]


def is_secret(field: str) -> bool:
    return last(field) in SECRETS


def last(field: str) -> str:
    return field.rpartition(".")[2]


def is_no_surprise(one: Operation, place: str, wrong: Wrong, refused: CumuletError | None) -> bool:
    """Whether a value of no sense was refused by its field, or harms nobody."""
    match refused:
        case None:
            return is_harmless(one, place, wrong)
        case Forbidden() | Exhausted() | Unauthenticated():
            return is_secret(wrong.field) or one.name in {"sign_in", *NOT_HERE}
        case NotFound():
            return place == "query"
    hidden = is_secret(wrong.field) and wrong.value
    return names_it(wrong, refused) and not (hidden and wrong.value in refused.message)


def is_harmless(one: Operation, place: str, wrong: Wrong) -> bool:
    """Whether a value may be accepted: it means nothing, chooses nothing, or is one that may be any."""
    if wrong.value == "" or NOT_READ.fullmatch(wrong.field) or (one.name, wrong.field) == UNASKED:
        return True
    if place == "query" and one.reads_only:
        return wrong.value != -1
    if wrong.value == ABSENT:
        return last(wrong.field) not in REFERENCES
    return last(wrong.field) in FREE and wrong.value != LONG
