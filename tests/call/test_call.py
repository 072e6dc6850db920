"""Calling an operation, whatever carries the call."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import exc
from tests.made_up import NOON
from tests.projects.people import add_user

from cumulet.call import Answer, Call, Calls, KeptAnswers
from cumulet.call.call import ATTEMPTS
from cumulet.errors import Invalid, Unauthenticated, Unavailable
from cumulet.operation import Access, Caller, declared
from cumulet.permission import CloudRole
from cumulet.projects.model import User
from cumulet.wire import Wire


class Heard(Wire):
    """What arrived."""

    what: str


@dataclass
class Request:
    """What a transport has."""

    good_key: bool = True
    sent: dict[str, Any] = field(default_factory=dict)
    origin: str = "http://cloud.example"
    address: str = "192.0.2.7"
    asked_for: list[str] = field(default_factory=list)

    def key(self):
        if not self.good_key:
            raise Unauthenticated("no key")
        return "key"

    def idempotency_key(self):
        return ""

    def arguments(self):
        self.asked_for.append("arguments")
        return self.sent


def admit(*_, **__):
    return Caller(user_id=None, email="ann@example.org", cloud_role=CloudRole.OPERATOR)


@pytest.fixture
def database(open_database):
    return open_database()


@pytest.fixture
def call(database):
    """Call a function as the operation at a route."""

    def do(function, request=None, route="POST /v1/toys", access=Access.KEY, **how):
        calls = Calls(database, admit, {"limits": "as set"}, lambda: NOON)
        return Call(declared(route, function, access=access, **how), calls).answer(request or Request())

    return do


def test_a_function_gets_what_it_asks_for_and_what_was_sent(call):
    def hear(caller, now, origin, limits, *, word: str) -> Heard:
        return Heard(f"{caller.email} {now:%H} {origin} {limits} {word}")

    hear.__annotations__ |= dict.fromkeys(("caller", "now", "origin", "limits"), object)
    answer = call(hear, Request(sent={"word": "hello"}))
    assert answer.what == "ann@example.org 12 http://cloud.example as set hello"


def test_what_nobody_provides_is_found_before_the_first_call(call):
    def look(images: object) -> Heard:
        raise AssertionError

    with pytest.raises(ValueError, match="look asks for images, which nobody provides"):
        call(look)


@pytest.mark.parametrize("route", ["GET /v1/toys", "POST /v1/toys"])
def test_who_has_no_key_is_refused_before_what_he_sent_is_read(call, route):
    def hear() -> Heard:
        raise AssertionError

    request = Request(good_key=False)
    with pytest.raises(Unauthenticated):
        call(hear, request, route)
    assert request.asked_for == []


def test_what_is_open_asks_for_no_key(call):
    def hear() -> Heard:
        return Heard("open")

    assert call(hear, Request(good_key=False), access=Access.OPEN).what == "open"


def test_a_refusal_undoes_what_was_done_and_tells_the_operator_more(call, database):
    def add(db: object) -> Heard:
        add_user(db, "half")
        raise Invalid("full", for_operator="host a is full")

    with pytest.raises(Invalid) as refused:
        call(add)
    assert refused.value.message == "host a is full"
    with database.reading() as db:
        assert db.query(User).where(User.email == "half@example.org").count() == 0


def test_who_lost_a_race_is_called_again_and_not_for_ever(call):
    tries = []

    def lose(db: object) -> Heard:
        tries.append(db)
        raise exc.IntegrityError("INSERT", {}, Exception("taken"))

    def win_at_last(db: object) -> Heard:
        return lose(db) if len(tries) < ATTEMPTS + 1 else Heard("won")

    with pytest.raises(Unavailable, match="other requests are changing the same resource"):
        call(lose)
    assert len(set(map(id, tries))) == len(tries) == ATTEMPTS
    assert call(win_at_last).what == "won"


def test_a_database_that_is_gone_is_told_in_our_words(call):
    def ask(db: object) -> Heard:
        raise exc.OperationalError("SELECT", {}, Exception("gone"))

    with pytest.raises(Unavailable, match="database is unavailable"):
        call(ask, route="GET /v1/toys")


def test_an_answer_that_there_is_not_is_kept_for_nobody(database):
    kept = KeptAnswers()

    def fail():
        raise exc.OperationalError("SELECT", {}, Exception("gone"))

    with pytest.raises(Unavailable):
        kept.recall(b"question", database, fail)
    assert kept.recall(b"question", database, lambda: Answer(b"answer", 6)) == Answer(b"answer", 6)
