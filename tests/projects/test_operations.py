from datetime import datetime
from uuid import uuid4

import pytest
from sqlalchemy.orm import Session
from tests.projects.people import add_user, admitted

from cumulet import journal
from cumulet.errors import AlreadyExists, Forbidden, Invalid, NotFound, Refused
from cumulet.limits import Limits
from cumulet.networks.model import Router
from cumulet.operation import Caller
from cumulet.projects import Role
from cumulet.projects.operations import (
    create_project,
    delete_project,
    get_profile,
    get_project,
    list_projects,
    update_project,
)
from cumulet.projects.wire import CreateProject, ProjectAnswer, UpdateProject
from cumulet.wire import decode


def test_the_profile_is_of_the_keys_user(db: Session, owner: Caller) -> None:
    profile = get_profile(db, owner)
    assert (profile.email_address, profile.first_name) == ("owner@localhost", "Owner")


def test_a_project_shows_who_made_it(db: Session, owner: Caller) -> None:
    expected = ProjectAnswer(id="default", billing_account_id="default", create_by=str(owner.user_id))
    assert get_project(db, id="default") == expected
    assert list_projects(db, owner).projects == [expected]


def test_who_makes_a_project_owns_it_and_the_journal_tells(db: Session, owner: Caller, now: datetime) -> None:
    made = create_project(db, owner, now, Limits(), data=CreateProject(id="lab", billing_account_id="b-1"))
    assert made == get_project(db, id="lab")
    assert made.billing_account_id == "b-1"
    (fact,) = journal.events_about(db, owner.user_id)
    assert (fact.event, fact.project_id, fact.actor) == ("user.created_project", "lab", owner.email)


def test_projects_come_in_pages_that_leave_none_out(db: Session, owner: Caller, now: datetime) -> None:
    for name in ("d", "a", "c", "b"):
        create_project(db, owner, now, Limits(), data=CreateProject(id=name))
    seen, token = [], ""
    while True:
        page = list_projects(db, owner, page_token=token, page_size=2)
        seen.append([one.id for one in page.projects])
        assert page.page_size == 2
        if not (token := page.page_token):
            break
    assert seen == [["a", "b"], ["c", "d"], ["default"]]


def test_projects_of_others_are_neither_listed_nor_shown(db: Session, owner: Caller, now: datetime) -> None:
    stranger = add_user(db, "eve")
    assert list_projects(db, stranger).projects == []
    with pytest.raises(NotFound):
        admitted(db, stranger, get_project, "default")


@pytest.mark.parametrize("id", ["", "A", "1a", "a-", "a_b", "a" * 64, "a\n", "ä"])
def test_a_project_id_out_of_its_rule_is_refused(db: Session, owner: Caller, now: datetime, id: str) -> None:
    with pytest.raises(Invalid, match=r"id: .* expected 1 to 63 of a-z"):
        create_project(db, owner, now, Limits(), data=CreateProject(id=id))


def test_a_project_id_is_given_only_once(db: Session, owner: Caller, now: datetime) -> None:
    with pytest.raises(AlreadyExists, match="'default'"):
        create_project(db, owner, now, Limits(), data=CreateProject(id="default"))


@pytest.mark.parametrize("size", [-1, 1001])
def test_a_page_size_out_of_range_is_refused(db: Session, owner: Caller, size: int) -> None:
    with pytest.raises(Invalid, match=f"pageSize: {size} .* 1 to 1000"):
        list_projects(db, owner, page_size=size)


def test_an_overlong_billing_account_is_refused() -> None:
    with pytest.raises(Invalid, match=r"billingAccountId: .* 63"):
        decode(CreateProject, {"id": "lab", "billingAccountId": "b" * 64})


@pytest.mark.parametrize(
    "body",
    [{"billingAccountId": "b-2"}, {"project": {"billingAccountId": "b-2"}, "updateMask": "billingAccountId"}],
)
def test_a_project_gets_another_billing_account_in_either_shape(db, owner, now, body) -> None:
    create_project(db, owner, now, Limits(), data=CreateProject(id="lab", billing_account_id="b-1"))
    changed = update_project(db, owner, now, id="lab", data=decode(UpdateProject, body))
    assert changed == get_project(db, id="lab")
    assert changed.billing_account_id == "b-2"


def test_an_update_that_says_nothing_changes_nothing(db, owner, now) -> None:
    before = create_project(db, owner, now, Limits(), data=CreateProject(id="lab", billing_account_id="b-1"))
    assert update_project(db, owner, now, id="lab", data=UpdateProject()) == before
    assert [fact.event for fact in journal.events_about(db, owner.user_id)] == ["user.created_project"]


def test_an_empty_project_is_deleted_and_its_name_is_free(db, owner, now) -> None:
    create_project(db, owner, now, Limits(), data=CreateProject(id="lab"))
    delete_project(db, owner, now, id="lab")
    with pytest.raises(NotFound):
        get_project(db, id="lab")
    create_project(db, owner, now, Limits(), data=CreateProject(id="lab"))


def test_a_project_in_which_something_is_left_stays(db, owner, now) -> None:
    create_project(db, owner, now, Limits(), data=CreateProject(id="lab"))
    db.add(Router(id=uuid4(), project_id="lab", data_center_id="local", mac="02:00:00:00:00:01"))
    db.flush()
    with pytest.raises(Refused, match="'lab' is not empty"):
        delete_project(db, owner, now, id="lab")
    assert get_project(db, id="lab")


def test_the_first_project_is_one_like_others(db, owner, now) -> None:
    delete_project(db, owner, now, id="default")
    assert list_projects(db, owner).projects == []


def test_only_an_owner_changes_or_deletes_a_project(db, owner, now) -> None:
    create_project(db, owner, now, Limits(), data=CreateProject(id="lab"))
    editor = add_user(db, "editor", lab=Role.EDITOR)
    for verb in (update_project, delete_project):
        with pytest.raises(Forbidden):
            admitted(db, editor, verb, "lab")
