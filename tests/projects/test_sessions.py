"""A browser is signed in for as long as the key that it was opened with stands, and is used."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select
from tests.projects.people import add_user

from cumulet.errors import Forbidden, NotFound, Unauthenticated
from cumulet.limits import Limits
from cumulet.permission import CloudRole, Role
from cumulet.projects import find_caller, write_uses
from cumulet.projects.access import digest_of
from cumulet.projects.key_operations import delete_api_key, generate_api_key, list_api_keys
from cumulet.projects.model import ApiKey
from cumulet.projects.session_operations import (
    MOST_OF_ONE,
    close_session,
    create_login_ticket,
    end_session,
    list_sessions,
    open_session,
    session_key,
)
from cumulet.projects.session_wire import CloseSession, OpenSession
from cumulet.projects.user_operations import suspend_user
from cumulet.projects.wire import GenerateApiKey

ORIGIN = "https://cloud.example"


@pytest.fixture
def ann(db, now):
    return find_caller(db, add_user(db, "ann", default=Role.EDITOR).key_digest, now=now)


def opened(db, now, **how):
    return open_session(db, now, data=OpenSession(**(how or {"api_key": "ann"})))


def caller_of(db, session, now):
    return find_caller(db, digest_of(session_key(session.session)), now=now, project_id="default")


def test_a_key_is_exchanged_for_a_session_that_may_what_it_may(db, now, ann):
    session = opened(db, now)
    found = caller_of(db, session, now)
    assert (found.email, found.role, found.key_id) == ("ann@example.org", Role.EDITOR, session.id)
    assert session.expire_time == now + timedelta(days=7)
    with pytest.raises(Unauthenticated):
        find_caller(db, digest_of(session.session), now=now)


def test_a_session_is_bounded_as_its_key_is(db, now, ann):
    asked = GenerateApiKey(project_id="default", read_only=True, expire_time=now + timedelta(hours=1))
    key = generate_api_key(db, ann, now, Limits(), data=asked).key
    session = opened(db, now, api_key=key)
    found = caller_of(db, session, now)
    assert (found.key_project, found.key_reads_only) == ("default", True)
    assert session.expire_time == now + timedelta(hours=1)


def test_a_ticket_signs_in_once(db, now, ann):
    ticket = create_login_ticket(db, ann, now, ORIGIN)
    assert ticket.url == f"{ORIGIN}/login#{ticket.ticket}"
    assert caller_of(db, opened(db, now, ticket=ticket.ticket), now).user_id == ann.user_id
    with pytest.raises(Forbidden, match="used already"):
        opened(db, now, ticket=ticket.ticket)


def test_a_ticket_is_good_for_five_minutes_and_with_its_key_alone(db, now, ann):
    ticket = create_login_ticket(db, ann, now, ORIGIN).ticket
    with pytest.raises(Forbidden):
        opened(db, now + timedelta(minutes=5), ticket=ticket)
    delete_api_key(db, ann, now, name=ann.key_id)
    with pytest.raises(Forbidden):
        opened(db, now, ticket=ticket)


@pytest.mark.parametrize("how", [{"api_key": "nobody's"}, {}])
def test_nothing_else_opens_a_session(db, now, how):
    with pytest.raises(Unauthenticated):
        open_session(db, now, data=OpenSession(**how))


def test_a_session_opens_no_other_that_would_outlive_its_end(db, now, ann):
    session = opened(db, now)
    with pytest.raises(Unauthenticated, match="no API key"):
        opened(db, now, api_key=session_key(session.session))


def test_a_session_that_is_not_used_ends_and_one_that_is_stays(db, now, ann):
    session = opened(db, now)
    digest = digest_of(session_key(session.session))
    almost = now + timedelta(hours=11, minutes=59)
    write_uses(db, {digest: almost})
    caller_of(db, session, now + timedelta(hours=23))
    with pytest.raises(Unauthenticated, match="sign in again"):
        caller_of(db, session, almost + timedelta(hours=12))


def test_a_session_ends_with_the_key_that_it_was_opened_with(db, now, ann):
    key = generate_api_key(db, ann, now, Limits(), data=GenerateApiKey(apikey_id="mine"))
    session, other = opened(db, now, api_key=key.key), opened(db, now)
    ticket = create_login_ticket(db, caller_of(db, session, now), now, ORIGIN).ticket
    of_the_session = opened(db, now, ticket=ticket)
    delete_api_key(db, ann, now, name="mine")
    caller_of(db, other, now)
    for ended in (session, of_the_session):
        with pytest.raises(Unauthenticated):
            caller_of(db, ended, now)


def test_a_session_ends_with_its_users_suspension(db, now, ann):
    session = opened(db, now)
    suspend_user(db, add_user(db, "boss", CloudRole.OPERATOR), now, id="ann@example.org")
    with pytest.raises(Unauthenticated, match="suspended"):
        caller_of(db, session, now)


def test_sessions_are_listed_and_ended_and_are_no_api_keys(db, now, ann):
    first, second = opened(db, now), opened(db, now + timedelta(seconds=1))
    me = caller_of(db, second, now)
    listed = list_sessions(db, me, now=now).sessions
    assert [(one.id, one.current, one.opened_with) for one in listed] == [
        (second.id, True, "key-of-ann"),
        (first.id, False, "key-of-ann"),
    ]
    assert [one.id for one in list_api_keys(db, me).api_keys] == ["key-of-ann"]
    with pytest.raises(NotFound):
        delete_api_key(db, me, now, name=first.id)
    end_session(db, me, now, id=first.id)
    assert [one.id for one in list_sessions(db, me, now=now).sessions] == [second.id]
    with pytest.raises(NotFound):
        end_session(db, add_user(db, "eve"), now, id=second.id)


def test_a_browser_signs_itself_out_whatever_its_key_may(db, now, ann):
    key = generate_api_key(db, ann, now, Limits(), data=GenerateApiKey(read_only=True)).key
    session = opened(db, now, api_key=key)
    for _ in range(2):
        close_session(db, now, data=CloseSession(session=session.session))
    with pytest.raises(Unauthenticated):
        caller_of(db, session, now)


def test_the_oldest_sessions_make_room_for_new_ones(db, now, ann):
    first = opened(db, now)
    for number in range(MOST_OF_ONE):
        last = opened(db, now + timedelta(seconds=number + 1))
    with pytest.raises(Unauthenticated):
        caller_of(db, first, now)
    caller_of(db, last, now)
    opened(db, now + timedelta(days=8))
    assert db.scalar(select(func.count()).where(ApiKey.is_session)) == 1
