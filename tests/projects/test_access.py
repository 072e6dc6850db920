import hashlib
from datetime import datetime

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from tests.projects.conftest import NOW
from tests.projects.people import add_user, ed25519_line

from cumulet.errors import Forbidden, NotFound, Unauthenticated
from cumulet.limits import Limits
from cumulet.operation import Caller
from cumulet.projects import Role, authenticate, keys_of_project, keys_of_user, require
from cumulet.projects.access import find_project
from cumulet.projects.key_operations import create_ssh_key, generate_api_key
from cumulet.projects.model import ApiKey
from cumulet.projects.operations import create_project
from cumulet.projects.wire import CreateProject, CreateSshKey, GenerateApiKey


def test_a_key_stands_for_its_user(db: Session, admin_key: str) -> None:
    assert authenticate(db, admin_key).email == "owner@localhost"


@pytest.mark.parametrize(
    ("role", "where", "expected"),
    [(Role.OWNER, "default", True), (Role.EDITOR, "default", False), (Role.OWNER, "other", False)],
    ids=["its owner", "an editor", "another's owner"],
)
def test_an_owner_of_the_default_project_runs_the_cloud(
    db: Session, admin_key: str, role: Role, where: str, expected: object
) -> None:
    create_project(db, authenticate(db, admin_key), NOW, Limits(), data=CreateProject(id="other"))
    key = generate_api_key(db, add_user(db, "ada", **{where: role}), NOW, Limits(), data=GenerateApiKey()).key
    assert authenticate(db, key).is_operator is expected


@pytest.mark.parametrize(
    "change", [str.upper, lambda key: key[:-1], lambda key: key + " ", lambda _: "", lambda _: "é" * 9]
)
def test_any_other_text_is_no_key_and_is_not_repeated(db: Session, admin_key: str, change) -> None:
    wrong = change(admin_key)
    with pytest.raises(Unauthenticated) as refused:
        authenticate(db, wrong)
    assert not wrong or wrong not in refused.value.message


def test_only_the_digest_of_a_key_is_kept(db: Session, admin_key: str) -> None:
    assert db.scalars(select(ApiKey.digest)).all() == [hashlib.sha256(admin_key.encode()).digest()]


@pytest.mark.parametrize("actual", Role)
@pytest.mark.parametrize("needed", Role)
def test_a_role_includes_the_lower_ones(db: Session, actual: Role, needed: Role) -> None:
    caller = add_user(db, "ada", default=actual)
    if actual.value >= needed.value:
        assert find_project(db, caller, "default", needed).id == "default"
    else:
        with pytest.raises(Forbidden, match=f"you are {actual.name} .* needs the role {needed.name}"):
            find_project(db, caller, "default", needed)


@pytest.mark.parametrize("project_id", ["default", "nowhere"])
def test_a_project_of_others_looks_like_none(db: Session, project_id: str) -> None:
    with pytest.raises(NotFound, match=f"there is no project '{project_id}'"):
        require(db, add_user(db, "stranger"), project_id, Role.VIEWER)


def test_a_project_has_the_keys_of_all_its_members_and_of_nobody_else(
    db: Session, owner: Caller, now: datetime
) -> None:
    member = add_user(db, "ada", default=Role.VIEWER)
    stranger = add_user(db, "eve")
    shared = ed25519_line(1)
    for number, (caller, line) in enumerate(
        [(owner, shared), (member, shared), (member, ed25519_line(2)), (stranger, ed25519_line(3))]
    ):
        create_ssh_key(db, caller, now.replace(minute=number), Limits(), data=CreateSshKey(public_key=line))
    assert keys_of_project(db, "default") == (shared, ed25519_line(2))
    assert keys_of_user(db, owner.user_id) == (shared,)
    assert keys_of_user(db, stranger.user_id) == (ed25519_line(3),)
