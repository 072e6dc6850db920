"""Who may call what: each operation that is declared, for everybody there is, about a project that is theirs or not.

The first test stops each call where the operation itself would begin, so it shows the door alone. The second goes on
inside, with names of what another project has, and what it does there is undone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from msgspec import inspect
from sqlalchemy import delete
from tests.made_up import NOON, PROJECT, Cloud, make_cloud
from tests.projects.people import add_user, ed25519_line

from cumulet.call import Calls, KeptAnswers, question
from cumulet.errors import CumuletError
from cumulet.operation import OPERATIONS, Access, Operation
from cumulet.permission import CloudRole, Role
from cumulet.projects import admit
from cumulet.projects.access import digest_of
from cumulet.projects.model import ApiKey, DataCenterMember, Membership, Project, User, UserState
from cumulet.rest.binding import ReceivedRequest
from cumulet.rest.endpoint import Endpoint
from cumulet.wire import Wire

OPEN = {
    "accept_invitation",
    "begin_sso",
    "close_session",
    "finish_sso",
    "get_vm_machine_type",
    "get_ways_in",
    "join",
    "list_public_vm_images",
    "list_regions",
    "list_vm_data_centers",
    "list_vm_gpu_models",
    "list_vm_machine_types",
    "list_vm_machine_types2",
    "open_session",
    "redeem_login_code",
    "sign_in",
}
FOR_ANY_KEY = {
    "create_login_ticket",
    "get_billing_account",
    "get_profile",
    "list_audit",
    "list_billing_account_projects",
    "list_billing_accounts",
    "list_projects",
    "list_user_permissions",
    "search_resources",
}
"""These see to it by themselves that a key for one project is told of that one alone."""
THEIRS = "theirs"
"""A project of others, and the name of everything that it has."""
ABSENT = "nowhere"
"""Of nothing; spelled like no name of an event, which a refusal would suggest."""
MINE = "mine"
"""The name of everything that is in the caller's own project."""
RIGHT = {
    "dataCenterId": "local",
    "machineType": "standard",
    "bootDiskImageId": "micro",
    "ipRange": "10.8.0.0/24",
    "ipRangeCidr": "10.8.0.0/24",
    "ports": "",
    "cidrPrefix": "10.8.0.0/24",
    "cpuModel": "",
    "gpuModel": "",
    "gpuModelId": "",
    "from": "203.0.113.7",
    "icmpType": "",
    "password": "aB1!-hunter2",
    "publicKey": ed25519_line(1),
    "customSshKeys": ed25519_line(1),
    "ttl": "3600s",
    "url": "https://example.org/hook",
    "apikeyId": "new-key",
    "projectId": "default",
    "protocol": "tcp",
    "id": "new",
    "startScript": "",
    "pageToken": "",
    "emailAddress": "ann@example.org",
    "userEmail": "viewer@example.org",
    "userId": "",
}
"""Texts that are no names of things, or of new ones."""
NUMBERS = {"gpus": 0}
BAD_KEYS = ("", "broken", "expired", "revoked", "suspended")
FAR = ("stranger", "elsewhere", "keeper")
"""Good keys, for which the project is not there: another user's, one that is for another project alone, and a data center's editor's."""
GOOD_KEYS = (*FAR, "here", "reader", "viewer", "editor", "owner", "auditor", "operator")
"""`here` is an owner's key for this project alone, `reader` an owner's that only reads."""
WHOLE = set(GOOD_KEYS) - {"elsewhere", "here"}
LOOKERS = {"here", "reader", "viewer", "editor", "owner", "auditor", "operator"}
MAY = {
    Access.OPEN: {*GOOD_KEYS, *BAD_KEYS},
    Access.KEY: set(GOOD_KEYS),
    Access.USER: WHOLE,
    Access.VIEWER: LOOKERS,
    Access.EDITOR: {"here", "reader", "editor", "owner"},
    Access.OWNER: {"here", "reader", "owner"},
    Access.OWNER_OR_OPERATOR: {"here", "reader", "owner", "operator"},
    Access.AUDITOR: {"auditor", "operator"},
    Access.OPERATOR: {"operator"},
    Access.DATA_CENTER_VIEWER: {"keeper", "auditor", "operator"},
    Access.DATA_CENTER_EDITOR: {"keeper", "operator"},
    Access.DATA_CENTER_OWNER: {"operator"},
}
OK, NOT_FOUND, FORBIDDEN, UNAUTHENTICATED = 0, 5, 7, 16


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


@pytest.fixture
def cloud(database, tmp_path) -> Cloud:
    cloud = make_cloud(database, tmp_path)
    with database.writing() as db:
        db.add(Project(id=THEIRS, billing_account_id="b", created_by=cloud.owner.user_id, created_at=NOON))
        db.flush()
        for name, role in {"viewer": Role.VIEWER, "editor": Role.EDITOR}.items():
            add_user(db, name, **{PROJECT: role})
        add_user(db, "auditor", CloudRole.AUDITOR)
        add_user(db, "operator", CloudRole.OPERATOR)
        keeper = add_user(db, "keeper")
        db.add(DataCenterMember(user_id=keeper.user_id, data_center_id="local", role=Role.EDITOR))
        add_user(db, "stranger", **{THEIRS: Role.OWNER})
        owner = add_user(db, "owner", **{PROJECT: Role.OWNER})
        for name in ("expired", "revoked", "suspended"):
            add_user(db, name, **{PROJECT: Role.OWNER})
        both = add_user(db, "both", **{PROJECT: Role.OWNER, THEIRS: Role.VIEWER})
        for name, of, facts in (
            ("reader", owner, {"reads_only": True}),
            ("here", both, {"project_id": PROJECT}),
            ("elsewhere", both, {"project_id": THEIRS}),
        ):
            key = ApiKey(user_id=of.user_id, id=name, digest=digest_of(name), created_at=NOON, **facts)
            db.add(key)
        db.query(ApiKey).filter(ApiKey.id == "key-of-expired").one().expires_at = NOON
        db.query(User).filter(User.email == "suspended@example.org").one().state = UserState.SUSPENDED
        db.execute(delete(ApiKey).where(ApiKey.id == "key-of-revoked"))
    return cloud


class Reached(Exception):
    """The call has gone through, or has done what it does."""


def endpoint(cloud: Cloud, one: Operation, function: Callable[..., Any]) -> Endpoint:
    provided = {**dict.fromkeys(one.provided), **cloud.provided}
    calls = Calls(cloud.database, admit, provided, cloud.clock)
    return Endpoint(replace(one, function=function), calls, KeptAnswers())


def ask(at: Endpoint, key: str, path: tuple[str, ...], query: str = "", body: bytes = b"") -> tuple[int, str]:
    """Give the code and the words of a refusal."""
    authorization = f"Bearer {key}" if key else ""
    asked = question(path, query, body, authorization)
    received = ReceivedRequest(
        path, query=query, body=body, authorization=authorization, origin="http://c", question=asked
    )
    try:
        at.answer(received)
    except CumuletError as refused:
        return refused.code, refused.message
    except Reached:
        pass
    return OK, ""


def reach(**_: object) -> None:
    raise Reached


@dataclass
class Filling:
    """What an operation needs besides its project: what is right, but for one text."""

    slot: str = ""
    value: str = ""
    texts: list[str] = field(default_factory=list)
    """Where the texts are that were filled in."""
    new: dict[str, str] = field(default_factory=dict)
    """Names of new things, where others have those of what is there."""

    def query_and_body(self, one: Operation) -> tuple[str, bytes]:
        self.new = {"vmId": "new"} if one.name == "create_vm" else {}
        query = {name: self.fill(kind, name) for name, kind in members(one.query)}
        body = {name: self.fill(kind, name) for name, kind in members(one.body)}
        given = {name: value for name, value in body.items() if value is not None}
        text = urlencode({name: value for name, value in query.items() if value is not None}, doseq=True)
        return text, msgspec.json.encode(given)

    def path(self, one: Operation, project_id: str) -> tuple[str, ...]:
        return tuple(
            project_id if name == one.project_name else self.text(f"path {name}") for name in one.path_names
        )

    def text(self, where: str) -> str:
        self.texts.append(where)
        if where == self.slot:
            return self.value
        return (RIGHT | self.new).get(where.rpartition(".")[2].removesuffix("[]"), MINE)

    def fill(self, kind: inspect.Type, where: str) -> Any:
        while isinstance(kind, inspect.Metadata | inspect.UnionType):
            options = kind.types if isinstance(kind, inspect.UnionType) else (kind.type,)
            kind = next(one for one in options if not isinstance(one, inspect.NoneType))
        given: Any = None
        match kind:
            case inspect.StrType():
                given = self.text(where)
            case inspect.ListType():
                given = [self.fill(kind.item_type, f"{where}[]")]
            case inspect.StructType():
                given = {
                    one.encode_name: self.fill(one.type, f"{where}.{one.encode_name}") for one in kind.fields
                }
            case inspect.IntType():
                given = NUMBERS.get(where, 1)
            case inspect.EnumType() if where in {"role", "rules[].protocol", "rules[].ruleType"}:
                given = list(kind.cls)[1].value
        return given


def members(kind: type[Wire] | None) -> Iterator[tuple[str, inspect.Type]]:
    for one in inspect.type_info(kind).fields if kind else ():
        yield one.encode_name, one.type


def expected(one: Operation, key: str, project_id: str) -> int:
    """What the table above says of a call."""
    if one.access is Access.OPEN:
        return OK
    if key in BAD_KEYS:
        return UNAUTHENTICATED
    if one.project_name and not is_there(key, project_id):
        return NOT_FOUND
    if key == "reader" and not one.reads_only:
        return FORBIDDEN
    return OK if who(key, project_id) in MAY[one.access] else FORBIDDEN


def is_there(key: str, project_id: str) -> bool:
    if project_id == ABSENT:
        return False
    there = {"stranger", "elsewhere", "auditor", "operator"} if project_id == THEIRS else LOOKERS
    return key in there


def who(key: str, project_id: str) -> str:
    """What a key's holder is in a project, by the name of who is that in ours."""
    there = {"stranger": "owner", "elsewhere": "viewer"} if project_id == THEIRS else {}
    return there.get(key, key)


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_lets_those_in_that_it_is_for_and_tells_others_nothing(cloud, name):
    one = OPERATIONS[name]
    at = endpoint(cloud, replace(one, prepare=None), reach)
    projects = (PROJECT, THEIRS, ABSENT) if one.project_name else ("",)
    said = {
        (key, project_id): ask(at, key, Filling().path(one, project_id), *Filling().query_and_body(one))
        for key in (*BAD_KEYS, *GOOD_KEYS)
        for project_id in projects
    }
    codes = {asked: code for asked, (code, _) in said.items()}
    wrong_body = {(key, id) for (key, id), code in codes.items() if code == 3}
    assert all(expected(one, *asked) == OK for asked in wrong_body)
    assert {asked: code for asked, code in codes.items() if asked not in wrong_body} == {
        asked: expected(one, *asked) for asked in codes if asked not in wrong_body
    }
    for key in GOOD_KEYS:
        if one.project_name and codes[key, THEIRS] == NOT_FOUND:
            assert without_names(said[key, THEIRS]) == without_names(said[key, ABSENT])


def test_what_is_open_or_for_any_key_is_known_by_name():
    assert {name for name, one in OPERATIONS.items() if one.access is Access.OPEN} == OPEN
    assert {name for name, one in OPERATIONS.items() if one.access is Access.KEY} == FOR_ANY_KEY


@pytest.fixture
def furnished(cloud) -> Cloud:
    """Both projects have one of each kind, all by one name."""
    with cloud.database.writing() as db:
        db.add(Membership(user_id=cloud.owner.user_id, project_id=THEIRS, role=Role.OWNER))
    for project_id, name, ip_range in ((PROJECT, MINE, "10.7.0.0/24"), (THEIRS, THEIRS, "10.9.0.0/24")):
        for verb, facts in (
            ("create_network", {"ip_range": ip_range}),
            ("create_storage_disk", {"size_gib": 1}),
            ("create_security_group", {}),
        ):
            one = OPERATIONS[verb]
            data = one.body(data_center_id="local", id=name, **facts)
            cloud.call(one.function, project_id=project_id, data=data)
        cloud.create(project_id=project_id, vm_id=name, memory_gib=1)
        cloud.settle()
        cloud.pass_time(5)
        image = OPERATIONS["create_private_vm_image"]
        cloud.call(image.function, project_id=project_id, vm_id=name, id=name)
        cloud.settle()
    with cloud.database.writing() as db:
        theirs = Membership.project_id == THEIRS, Membership.user_id == cloud.owner.user_id
        db.execute(delete(Membership).where(*theirs))
    return cloud


def test_what_others_have_is_refused_in_a_path_a_query_and_a_body_as_what_nobody_has(furnished):
    differing, named = {}, set()
    for name, one in OPERATIONS.items():
        if one.access in {Access.AUDITOR, Access.OPERATOR, Access.OPEN}:
            continue
        at = endpoint(furnished, one, undone(one))
        for slot in slots_of(one):
            said = [ask_with(at, one, Filling(slot, value)) for value in (THEIRS, ABSENT)]
            if without_names(said[0]) != without_names(said[1]):
                differing[name, slot] = said
            if ABSENT in said[1][1]:
                named.add((name, slot))
    assert {asked: said for asked, said in differing.items() if asked not in OF_THE_WHOLE_CLOUD} == {}
    assert named >= LOOKED_UP


def slots_of(one: Operation) -> list[str]:
    """Name the texts that a call of it can have."""
    all_right = Filling()
    all_right.path(one, PROJECT)
    all_right.query_and_body(one)
    return all_right.texts


def ask_with(at: Endpoint, one: Operation, filling: Filling) -> tuple[int, str]:
    return ask(at, "owner", filling.path(one, PROJECT), *filling.query_and_body(one))


LOOKED_UP = {
    ("get_vm", "path id"),
    ("get_disk", "path id"),
    ("get_network", "path id"),
    ("get_security_group", "path id"),
    ("get_private_vm_image", "path id"),
    ("terminate_vm", "path id"),
    ("attach_storage_disk", "vmId"),
    ("attach_security_group", "securityGroupId"),
    ("create_private_vm_image", "vmId"),
    ("create_vm", "bootDiskImageId"),
    ("create_vm", "nics[].networkId"),
    ("create_vm", "nics[].securityGroupIds[]"),
    ("create_vm", "storageDiskIds[]"),
    ("list_user_permissions", "projectId"),
    ("generate_api_key", "projectId"),
}
"""Some of what is refused by its name, so that it is known that the others were right."""
OF_THE_WHOLE_CLOUD = {("create_project", "id")}
"""A name that is taken for all: that it is has to be said."""


def undone(one: Operation) -> Callable[..., Any]:
    def do(**arguments: Any) -> None:
        one.function(**arguments)
        if "db" in arguments:
            arguments["db"].rollback()
        raise Reached

    return do


def without_names(said: tuple[int, str]) -> tuple[int, str]:
    code, words = said
    return code, re.sub(f"{THEIRS}|{ABSENT}", "…", words)
