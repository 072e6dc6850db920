"""Refusals (contract a.4): the gRPC number, the HTTP status that carries it, words for the caller, nothing secret."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http.client import HTTPConnection

import httpx
import psycopg
import pytest
import structlog
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError, OperationalError
from tests.rest.toys import KEY, OPERATOR_KEY, TOYS, ToyRow, admit
from tests.waiting import eventually

from cumulet import db
from cumulet.call import Calls, KeptAnswers
from cumulet.call.call import lost_a_race
from cumulet.errors import Unavailable
from cumulet.rest.binding import ReceivedRequest
from cumulet.rest.endpoint import Endpoint

OPERATION = {operation.name: operation for operation in TOYS}


def told(answer: httpx.Response) -> tuple[int, int]:
    """Give status and code of a refusal whose body is right."""
    status = answer.json()
    assert status.keys() == {"code", "message", "details"}
    assert answer.headers["content-type"] == "application/json"
    return answer.status_code, status["code"]


@pytest.fixture
def logged():
    with structlog.testing.capture_logs() as lines:
        yield lines


def test_an_unknown_path_is_not_found(stranger):
    answer = stranger.get("/v1/nothing/here")
    assert told(answer) == (404, 5)
    assert "/v1/nothing/here" in answer.json()["message"]


def test_a_wrong_method_is_told_which_are_right(stranger):
    answer = stranger.put("/v1/toys/bear")
    assert told(answer) == (405, 12)
    assert {"GET", "DELETE", "PATCH"} <= set(answer.headers["allow"].split(", "))


def test_options_tells_all_methods_of_a_path(stranger):
    answer = stranger.options("/v1/toys/bear")
    assert set(answer.headers["allow"].split(", ")) == {"GET", "DELETE", "PATCH", "OPTIONS"}


def test_a_call_without_a_key_is_unauthenticated(stranger):
    answer = stranger.get("/v1/me")
    assert told(answer) == (401, 16)
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["Bearer wrong", "Bearer", f"Basic {KEY}", KEY])
def test_a_wrong_key_is_unauthenticated(stranger, header):
    assert told(stranger.get("/v1/me", headers={"authorization": header})) == (401, 16)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_case_of_the_scheme_does_not_matter(stranger, scheme):
    answer = stranger.get("/v1/me", headers={"authorization": f"{scheme} {KEY}"})
    assert answer.json()["label"] == "ann@example.org"


@pytest.mark.parametrize(
    ("key", "words"),
    [(KEY, "two hosts are full"), (OPERATOR_KEY, "a and b are full")],
    ids=["ann", "operator"],
)
def test_the_operator_alone_reads_what_is_for_him(stranger, key, words):
    answer = stranger.post("/v1/full", headers={"authorization": f"Bearer {key}"})
    assert (told(answer), answer.json()["message"]) == ((400, 3), words)


def test_an_open_operation_needs_no_key(stranger):
    assert stranger.get("/v1/toys").status_code == 200


def test_who_may_not_call_learns_nothing_about_his_body(stranger):
    assert told(stranger.post("/v1/toys", content=b"broken")) == (401, 16)


@contextmanager
def announcing(url: str, length: int) -> Iterator[HTTPConnection]:
    """Send the head of a request, with the length of a body that does not come."""
    connection = HTTPConnection(httpx.URL(url).netloc.decode())
    connection.putrequest("POST", "/v1/toys")
    connection.putheader("authorization", f"Bearer {KEY}")
    connection.putheader("content-length", str(length))
    connection.endheaders()
    yield connection
    connection.close()


def test_a_body_beyond_the_limit_is_refused_unread(url):
    with announcing(url, 1024 * 1024 + 1) as connection:
        answer = connection.getresponse()
        assert (answer.status, b'"code":3' in answer.read()) == (413, True)


def test_a_caller_who_hangs_up_is_nobodys_mistake(url, stranger):
    def statuses():  # with what was answered just before this test, if that is written down only now
        return [line["status"] for line in lines]

    with structlog.testing.capture_logs() as lines:
        with announcing(url, 100):
            stranger.get("/healthz")
        eventually(lambda: 499 in statuses())
    assert max(statuses()) == 499


def test_a_body_of_unknown_length_is_cut_off_at_the_limit(ann):
    chunks = (b"x" * 65536 for _ in range(17))
    assert told(ann.post("/v1/toys", content=chunks)) == (413, 3)


def test_a_start_script_of_64_kib_is_accepted(ann):
    assert ann.post("/v1/toys", json={"toyId": "script", "password": "x" * 65536}).status_code == 200


def test_our_mistake_tells_nothing_but_is_logged(ann, logged):
    answer = ann.post("/v1/toys/bear/break", json={})
    assert told(answer) == (500, 13)
    assert "hunter2" not in answer.text
    (line,) = [line for line in logged if line["event"] == "request failed"]
    assert "hunter2" in str(line["exc_info"])


def test_our_mistake_changes_nothing(ann, database):
    ann.post("/v1/toys/halfway/break", json={})
    with database.reading() as session:
        assert session.get(ToyRow, "halfway") is None


def test_a_locked_database_is_unavailable(database, monkeypatch):
    monkeypatch.setattr(db, "SQLITE_BUSY_MS", 20)
    impatient = db.Database(database.url)
    make_toy = Endpoint(OPERATION["make_toy"], Calls(impatient, admit, {}, datetime.now), KeptAnswers())
    asked = ReceivedRequest(
        (), query="", body=b'{"toyId": "late"}', authorization=f"Bearer {KEY}", origin="", question=b""
    )
    with database.writing() as session:
        session.connection()
        with pytest.raises(Unavailable, match="try again"):
            make_toy.answer(asked)
    impatient.close()


def test_a_commit_that_fails_is_an_error(ann, database):
    @event.listens_for(database.engine, "commit")
    def fail(_connection):
        raise OperationalError("COMMIT", {}, sqlite3.OperationalError("database or disk is full"))

    answer = ann.post("/v1/toys", json={"toyId": "lost"})
    event.remove(database.engine, "commit", fail)
    assert told(answer) == (503, 14)
    with database.reading() as session:
        assert session.get(ToyRow, "lost") is None


def test_who_lost_a_race_is_run_again(ann, database, monkeypatch):
    writing, runs = database.writing, []

    @contextmanager
    def racing():
        with writing() as session:
            yield session
            runs.append(session)
            if len(runs) == 1:
                raise IntegrityError("INSERT", {}, sqlite3.IntegrityError("UNIQUE constraint failed"))

    monkeypatch.setattr(database, "writing", racing)
    assert ann.post("/v1/toys", json={"toyId": "second"}).status_code == 200
    assert len(runs) == 2


@pytest.mark.parametrize(("state", "is_race"), [("40001", True), ("40P01", True), ("53100", False)])
def test_what_postgresql_calls_a_race_is_one(state, is_race):
    origin = psycopg.errors.lookup(state)()
    assert lost_a_race(OperationalError("COMMIT", {}, origin)) is is_race


def test_who_always_loses_is_asked_to_come_again(ann):
    assert ann.post("/v1/toys", json={"toyId": "twice"}).status_code == 200
    assert told(ann.post("/v1/toys", json={"toyId": "twice"})) == (503, 14)
