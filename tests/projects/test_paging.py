"""Pages of a list that changes while it is read."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, select
from tests.projects.conftest import NOW
from tests.projects.people import add_user

from cumulet.errors import Invalid
from cumulet.projects import fetch_page, fetch_part, read_page, read_part
from cumulet.projects.model import Project, SshKey


def add_projects(db, ids) -> None:
    owner = add_user(db, f"owner-{uuid4()}").user_id
    db.add_all(Project(id=id, billing_account_id="", created_by=owner, created_at=NOW) for id in ids)
    db.flush()


def walk(db, page_size, between=lambda: None):
    """Read projects page by page."""
    told, token = [], ""
    while True:
        page = read_part(page_size, token)
        projects, token = fetch_part(db, select(Project).where(Project.id.like("p-%")), page, Project.id)
        told += [project.id for project in projects]
        if not token:
            return told
        between()


def test_a_list_by_token_tells_once_what_stays_whatever_goes_and_comes(db):
    stay = [f"p-{number:02}" for number in range(0, 30, 3)]
    go = [f"p-{number:02}" for number in range(1, 30, 3)]
    come = [f"p-{number:02}" for number in range(2, 30, 3)]
    add_projects(db, stay + go)

    def change():
        db.execute(delete(Project).where(Project.id.in_([go.pop(0) for _ in go[:3]])))
        add_projects(db, [come.pop() for _ in come[:3]])

    told = walk(db, 2, change)
    assert [id for id in told if id in stay] == stay
    assert len(set(told)) == len(told)


def test_what_a_token_names_may_be_gone(db):
    add_projects(db, ["p-a", "p-b", "p-c"])
    _, token = fetch_part(db, select(Project), read_part(1, ""), Project.id)
    db.execute(delete(Project).where(Project.id == "p-a"))
    projects, _ = fetch_part(db, select(Project), read_part(1, token), Project.id)
    assert [project.id for project in projects] == ["p-b"]


def test_entries_of_one_instant_are_told_once_each_in_the_order_of_their_ids(db):
    user = add_user(db, "ann").user_id
    for number in range(5):
        at = NOW + timedelta(seconds=number // 3)
        db.add(
            SshKey(
                id=UUID(int=5 - number),
                user_id=user,
                public_key="",
                type="",
                comment="",
                created_at=at,
                fingerprint=str(number),
            )
        )
    db.flush()
    told, token = [], ""
    while True:
        page = read_page(0, 1, token)
        keys, total, token = fetch_page(db, select(SshKey), page, SshKey.created_at, SshKey.id)
        told += [key.fingerprint for key in keys]
        assert total == 5
        if not token:
            break
    assert told == ["2", "1", "0", "4", "3"]


def test_with_neither_size_nor_token_a_list_comes_whole(db):
    ids = [f"p-{number:04}" for number in range(1001)]
    add_projects(db, ids)
    assert walk(db, 0) == ids


@given(token=st.text(min_size=1, max_size=40))
def test_a_token_that_is_none_of_ours_is_refused(token):
    with pytest.raises(Invalid, match=r"pageToken: .* expected the pageToken of the previous page"):
        read_part(1, token).following(SshKey.created_at, SshKey.id)


def test_a_number_and_a_token_do_not_go_together():
    with pytest.raises(Invalid, match="pageNumber: 2 is not accepted; expected none beside a pageToken"):
        read_page(2, 0, "x")
