from datetime import datetime, timedelta

import pytest
from sqlalchemy.orm import Session
from tests.projects.people import add_user, admitted, ed25519_line
from tests.words import A_TIME_TO_COME

from cumulet import journal
from cumulet.errors import AlreadyExists, Exhausted, Invalid, NotFound, Unauthenticated
from cumulet.limits import Limits
from cumulet.operation import Caller
from cumulet.projects import CloudRole, Role, authenticate
from cumulet.projects.key_operations import (
    create_ssh_key,
    delete_api_key,
    delete_ssh_key,
    generate_api_key,
    get_ssh_key,
    list_api_keys,
    list_project_ssh_keys,
    list_ssh_keys,
)
from cumulet.projects.operations import create_project, delete_project
from cumulet.projects.wire import CreateProject, CreateSshKey, GenerateApiKey


def test_an_ssh_key_lives_from_its_adding_to_its_removal(db: Session, owner: Caller, now: datetime) -> None:
    made = create_ssh_key(db, owner, now, Limits(), data=CreateSshKey(public_key=ed25519_line(1, "ada@lab")))
    assert (made.type, made.comment, made.create_time) == ("ssh-ed25519", "ada@lab", now)
    assert get_ssh_key(db, owner, id=made.id) == made
    assert list_ssh_keys(db, owner).ssh_keys == [made]
    delete_ssh_key(db, owner, now, id=made.id)
    assert list_ssh_keys(db, owner).total_count == 0
    events = [fact.event for fact in journal.events_about(db, owner.user_id)]
    assert events == ["user.added_ssh_key", "user.removed_ssh_key"]


def test_the_same_ssh_key_is_added_once_whatever_its_comment(
    db: Session, owner: Caller, now: datetime
) -> None:
    create_ssh_key(db, owner, now, Limits(), data=CreateSshKey(public_key=ed25519_line(1, "here")))
    with pytest.raises(AlreadyExists, match="SHA256:"):
        create_ssh_key(db, owner, now, Limits(), data=CreateSshKey(public_key=ed25519_line(1, "there")))


def test_what_is_no_ssh_key_is_refused_by_the_field_it_came_in(
    db: Session, owner: Caller, now: datetime
) -> None:
    with pytest.raises(Invalid, match="publicKey: "):
        create_ssh_key(db, owner, now, Limits(), data=CreateSshKey(public_key="hello"))


def test_ssh_keys_of_others_are_not_there(db: Session, owner: Caller, now: datetime) -> None:
    theirs = create_ssh_key(
        db, add_user(db, "eve"), now, Limits(), data=CreateSshKey(public_key=ed25519_line(1))
    )
    assert list_ssh_keys(db, owner).ssh_keys == []
    with pytest.raises(NotFound):
        delete_ssh_key(db, owner, now, id=theirs.id)


@pytest.mark.parametrize("id", ["", "no-uuid", "6f2d6c1e-8f3a-4f0e-9f55-0c7b3a1d9e42"])
def test_an_unknown_ssh_key_is_not_found(db: Session, owner: Caller, id: str) -> None:
    with pytest.raises(NotFound, match="there is no SSH key"):
        get_ssh_key(db, owner, id=id)


def test_ssh_keys_come_in_pages(db: Session, owner: Caller, now: datetime) -> None:
    for number in range(5):
        line = ed25519_line(number)
        create_ssh_key(db, owner, now.replace(minute=number), Limits(), data=CreateSshKey(public_key=line))
    first = list_ssh_keys(db, owner, page_size=3)
    second = list_ssh_keys(db, owner, page_number=2, page_size=3)
    assert [key.public_key for key in (*first.ssh_keys, *second.ssh_keys)] == [
        ed25519_line(number) for number in range(5)
    ]
    assert (first.page_number, second.page_number, second.total_count, second.page_size) == (1, 2, 5, 3)
    with pytest.raises(Invalid, match="pageNumber: -1"):
        list_ssh_keys(db, owner, page_number=-1)


def test_members_of_a_project_see_each_others_ssh_keys(db: Session, owner: Caller, now: datetime) -> None:
    add_user(db, "ada", default=Role.VIEWER)
    made = create_ssh_key(db, owner, now, Limits(), data=CreateSshKey(public_key=ed25519_line(1)))
    assert list_project_ssh_keys(db, project_id="default").ssh_keys == [made]
    with pytest.raises(NotFound):
        admitted(db, add_user(db, "eve"), list_project_ssh_keys, "default")


def test_an_api_key_works_from_its_making_to_its_revocation(
    db: Session, owner: Caller, now: datetime
) -> None:
    made = generate_api_key(db, owner, now, Limits(), data=GenerateApiKey(apikey_id="ci-runner"))
    assert authenticate(db, made.key, now=now).user_id == owner.user_id
    delete_api_key(db, owner, now, name="ci-runner")
    with pytest.raises(Unauthenticated):
        authenticate(db, made.key, now=now)


def test_an_api_key_is_told_only_once(db: Session, owner: Caller, now: datetime) -> None:
    made = generate_api_key(db, owner, now, Limits(), data=GenerateApiKey())
    listed = list_api_keys(db, owner)
    assert made.id in [key.id for key in listed.api_keys]
    assert {key.key for key in listed.api_keys} == {""}
    assert made.key not in str([vars(fact) for fact in journal.events_about(db, owner.user_id)])


@pytest.mark.parametrize("id", ["abc", "Abcd", "a_bcd", "a" * 64, "abcd\n"])
def test_an_api_key_id_out_of_its_rule_is_refused(db: Session, owner: Caller, now: datetime, id: str) -> None:
    with pytest.raises(Invalid, match="apikeyId: "):
        generate_api_key(db, owner, now, Limits(), data=GenerateApiKey(apikey_id=id))


def test_an_api_key_id_is_used_once_by_each_user(db: Session, owner: Caller, now: datetime) -> None:
    for caller in (owner, add_user(db, "ada")):
        generate_api_key(db, caller, now, Limits(), data=GenerateApiKey(apikey_id="mine"))
    with pytest.raises(AlreadyExists, match="'mine'"):
        generate_api_key(db, owner, now, Limits(), data=GenerateApiKey(apikey_id="mine"))


def test_api_keys_of_others_cannot_be_revoked(db: Session, owner: Caller, now: datetime) -> None:
    theirs = generate_api_key(db, add_user(db, "eve"), now, Limits(), data=GenerateApiKey(apikey_id="theirs"))
    with pytest.raises(NotFound, match="there is no API key 'theirs'"):
        delete_api_key(db, owner, now, name="theirs")
    assert authenticate(db, theirs.key, now=now)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda number: (create_ssh_key, CreateSshKey(ed25519_line(number))), "SSH keys"),
        (lambda number: (generate_api_key, GenerateApiKey(f"key-{number}")), "API keys"),
        (lambda number: (create_project, CreateProject(f"project-{number}")), "projects that you created"),
    ],
)
def test_what_a_user_makes_for_himself_is_bounded(db: Session, now: datetime, make, what) -> None:
    ann, eve = add_user(db, "ann"), add_user(db, "eve")
    limits = Limits(ssh_keys_per_user=3, api_keys_per_user=4, projects_per_user=3)
    for number in range(3):
        verb, data = make(number)
        verb(db, ann, now, limits, data=data)
    verb, data = make(3)
    with pytest.raises(Exhausted, match=f"you have [34] {what}, and one user may have at most [34]"):
        verb(db, ann, now, limits, data=data)
    verb, data = make(4)
    verb(db, eve, now, limits, data=data)


def test_a_key_s_comment_is_bounded(db: Session, owner: Caller, now: datetime) -> None:
    long = CreateSshKey(ed25519_line(1, "x" * 256))
    with pytest.raises(
        Invalid, match="publicKey: 'a comment of 256 characters' is not accepted; expected at most 255"
    ):
        create_ssh_key(db, owner, now, Limits(), data=long)
    kept = CreateSshKey(ed25519_line(1, "x" * 255))
    assert len(create_ssh_key(db, owner, now, Limits(), data=kept).comment) == 255


def test_a_key_says_until_when_for_what_and_how_far_it_is_good(
    db: Session, owner: Caller, now: datetime
) -> None:
    end = now + timedelta(days=1)
    asked = GenerateApiKey("ci-reader", expire_time=end, project_id="default", read_only=True)
    made = generate_api_key(db, owner, now, Limits(), data=asked)
    assert (made.expire_time, made.project_id, made.read_only) == (end, "default", True)
    (listed,) = (one for one in list_api_keys(db, owner).api_keys if one.id == "ci-reader")
    assert (listed.expire_time, listed.project_id, listed.read_only, listed.key) == (end, "default", True, "")
    caller = authenticate(db, made.key, now=now, project_id="default")
    assert (caller.key_expires_at, caller.key_project, caller.key_reads_only) == (end, "default", True)
    plain = generate_api_key(db, owner, now, Limits(), data=GenerateApiKey())
    assert (plain.expire_time, plain.last_used_time, plain.project_id, plain.read_only) == (
        None, None, "", False,
    )  # fmt: skip


def test_a_key_goes_with_the_project_that_it_is_for(db: Session, owner: Caller, now: datetime) -> None:
    create_project(db, owner, now, Limits(), data=CreateProject(id="lab"))
    made = generate_api_key(db, owner, now, Limits(), data=GenerateApiKey(project_id="lab"))
    delete_project(db, owner, now, id="lab")
    with pytest.raises(Unauthenticated):
        authenticate(db, made.key, now=now)


@pytest.mark.parametrize("project_id", ["default", "nowhere"])
def test_a_key_is_for_a_project_of_its_user_s(db: Session, now: datetime, project_id: str) -> None:
    auditor = add_user(db, "ada", CloudRole.AUDITOR)
    data = GenerateApiKey(project_id=project_id)
    with pytest.raises(
        Invalid, match=f"projectId: there is no project of yours '{project_id}'; there are none yet"
    ):
        generate_api_key(db, auditor, now, Limits(), data=data)


def test_a_key_that_has_expired_already_is_not_made(db: Session, owner: Caller, now: datetime) -> None:
    with pytest.raises(Invalid, match=f"expireTime: .* {A_TIME_TO_COME}"):
        generate_api_key(db, owner, now, Limits(), data=GenerateApiKey(expire_time=now))
