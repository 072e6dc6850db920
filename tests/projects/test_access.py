import hashlib
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from tests.projects.conftest import NOW
from tests.projects.people import add_user, admitted, ed25519_line

from cumulet.errors import NotFound, Unauthenticated
from cumulet.limits import Limits
from cumulet.operation import Caller
from cumulet.projects import CloudRole, Role, authenticate, find_caller, keys_of_project, keys_of_user
from cumulet.projects.key_operations import create_ssh_key
from cumulet.projects.model import ApiKey, User, UserState
from cumulet.projects.operations import create_project, get_project, list_projects
from cumulet.projects.wire import CreateProject, CreateSshKey


def test_a_key_stands_for_its_user(db: Session, admin_key: str) -> None:
    assert authenticate(db, admin_key, now=NOW).email == "owner@localhost"


@pytest.mark.parametrize("state", [one for one in UserState if one is not UserState.ACTIVE])
def test_a_key_is_good_only_while_its_user_is_active(db: Session, state: UserState) -> None:
    ada = add_user(db, "ada")
    db.get_one(User, ada.user_id).state = state
    db.flush()
    with pytest.raises(Unauthenticated, match="suspended"):
        authenticate(db, "ada", now=NOW)


def test_a_key_is_good_until_the_moment_it_expires(db: Session) -> None:
    ada = add_user(db, "ada")
    db.get_one(ApiKey, (ada.user_id, "key-of-ada")).expires_at = NOW
    db.flush()
    assert authenticate(db, "ada", now=NOW - timedelta(microseconds=1)).key_expires_at == NOW
    with pytest.raises(Unauthenticated, match="this API key expired at 2026-03-01T12:00:00Z"):
        authenticate(db, "ada", now=NOW)


@pytest.mark.parametrize(
    ("cloud_role", "key_project", "seen"),
    [
        (CloudRole.NONE, None, {"default"}),
        (CloudRole.NONE, "default", {"default"}),
        (CloudRole.NONE, "other", set()),
        (CloudRole.AUDITOR, None, {"default", "other"}),
        (CloudRole.AUDITOR, "other", set()),
    ],
)
def test_what_is_listed_is_what_can_be_looked_at(
    db: Session, owner: Caller, cloud_role: CloudRole, key_project: str | None, seen: set[str]
) -> None:
    create_project(db, owner, NOW, Limits(), data=CreateProject(id="other"))
    ada = add_user(db, "ada", cloud_role, default=Role.VIEWER)
    db.get_one(ApiKey, (ada.user_id, "key-of-ada")).project_id = key_project
    db.flush()
    for id in ("default", "other", "nowhere"):
        known = find_caller(db, ada.key_digest, now=NOW, project_id=id)
        assert known.sees_project is (id in seen)
    assert {one.id for one in list_projects(db, known).projects} == seen


@pytest.mark.parametrize("project_id", ["default", "nowhere", ""])
def test_a_project_of_others_looks_like_none(db: Session, project_id: str) -> None:
    with pytest.raises(NotFound) as refused:
        admitted(db, add_user(db, "stranger"), get_project, project_id)
    assert refused.value.message == f"there is no project {project_id!r}; there are none yet"


@pytest.mark.parametrize(
    "change", [str.upper, lambda key: key[:-1], lambda key: key + " ", lambda _: "", lambda _: "é" * 9]
)
def test_any_other_text_is_no_key_and_is_not_repeated(db: Session, admin_key: str, change) -> None:
    wrong = change(admin_key)
    with pytest.raises(Unauthenticated) as refused:
        authenticate(db, wrong, now=NOW)
    assert not wrong or wrong not in refused.value.message


def test_only_the_digest_of_a_key_is_kept(db: Session, admin_key: str) -> None:
    assert db.scalars(select(ApiKey.digest)).all() == [hashlib.sha256(admin_key.encode()).digest()]


def test_a_project_has_the_keys_of_all_its_members_and_of_nobody_else(
    db: Session, owner: Caller, now: datetime
) -> None:
    member = add_user(db, "ada", default=Role.VIEWER)
    stranger, suspended = add_user(db, "eve"), add_user(db, "sue", default=Role.EDITOR)
    db.get_one(User, suspended.user_id).state = UserState.SUSPENDED
    shared = ed25519_line(1)
    for number, (caller, line) in enumerate(
        [
            (owner, shared),
            (member, shared),
            (member, ed25519_line(2)),
            (stranger, ed25519_line(3)),
            (suspended, ed25519_line(4)),
        ]
    ):
        create_ssh_key(db, caller, now.replace(minute=number), Limits(), data=CreateSshKey(public_key=line))
    assert keys_of_project(db, "default") == (shared, ed25519_line(2))
    assert keys_of_user(db, owner.user_id) == (shared,)
    assert keys_of_user(db, stranger.user_id) == (ed25519_line(3),)
