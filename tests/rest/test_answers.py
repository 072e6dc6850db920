"""Answers (contract a.3), and what goes with every one of them."""

import pytest
import structlog

from cumulet.rest.endpoint import Endpoint


def test_success_is_always_200_and_json(ann):
    answer = ann.post("/v1/toys", json={"toyId": "new"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"


def test_zero_values_are_there(stranger):
    assert stranger.get("/v1/toys").json() == {
        "id": "",
        "place": "",
        "count": None,
        "label": None,
        "tags": [],
        "isBig": False,
        "since": None,
    }


def test_an_instant_is_utc_with_a_z(ann):
    assert ann.get("/v1/me").json()["since"] == "2026-11-23T12:00:00Z"


def test_an_answer_that_tells_nothing_is_an_empty_object(ann):
    assert ann.delete("/v1/toys/none").content == b"{}"


def test_a_file_is_sent_as_it_is_under_its_media_type(stranger):
    for _ in range(2):
        answer = stranger.get("/v1/toys/bear/drawing")
        assert (answer.content, answer.headers["content-type"]) == (b"bear", "image/png")


def test_what_is_asked_again_is_answered_alike_without_a_route(stranger, monkeypatch):
    first = stranger.get("/v1/toys?place=shelf")
    monkeypatch.setattr(Endpoint, "answer", None)
    again, head = stranger.get("/v1/toys?place=shelf"), stranger.head("/v1/toys?place=shelf")
    assert (again.status_code, again.content) == (200, first.content)
    assert (head.status_code, head.content) == (200, b"")
    for answer in first, again, head:
        del answer.headers["x-request-id"], answer.headers["date"]
    assert first.headers == again.headers == head.headers


def test_a_get_that_writes_commits_and_takes_no_body(ann, database):
    assert ann.request("GET", "/v1/toys/seen/look", content=b"no JSON").json()["count"] == 1
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count FROM toy WHERE id = 'seen'").scalar() == 1


@pytest.mark.parametrize(
    ("headers", "origin"),
    [
        ({"host": "cloud.example"}, "http://cloud.example"),
        ({"host": "cloud.example:8480"}, "http://cloud.example:8480"),
        ({"host": "cloud.example", "x-forwarded-proto": "https"}, "http://cloud.example"),
        ({"host": "[odd"}, "http://[odd"),
    ],
)
def test_the_address_by_which_one_came_is_known(stranger, headers, origin):
    assert stranger.get("/v1/here", headers=headers).json()["place"] == origin


def test_head_answers_like_get_without_the_body(stranger):
    get, head = stranger.get("/v1/toys"), stranger.head("/v1/toys")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]


def test_what_an_answer_tells_is_committed(ann, database):
    ann.post("/v1/toys", json={"toyId": "kept"})
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count FROM toy WHERE id = 'kept'").scalar() == 1


def test_every_answer_has_a_request_id(stranger):
    ids = {
        stranger.get(path).headers["x-request-id"] for path in ("/v1/toys", "/v1/me", "/nowhere", "/healthz")
    }
    assert len(ids) == 4


def test_a_sane_request_id_is_taken_over(stranger):
    assert stranger.get("/v1/toys", headers={"x-request-id": "ann-7"}).headers["x-request-id"] == "ann-7"


@pytest.mark.parametrize("id", ["two words", "x" * 65, "", 'q"uote'])
def test_a_strange_request_id_is_replaced(stranger, id):
    assert stranger.get("/v1/toys", headers={"x-request-id": id}).headers["x-request-id"] != id


def test_each_request_leaves_one_line_without_its_query(stranger):
    with structlog.testing.capture_logs() as lines:
        stranger.get("/v1/toys?tags=secret", headers={"authorization": "Bearer secret"})
        stranger.get("/healthz")  # on the same connection, so the first is done by then
    line = next(line for line in lines if line["path"] == "/v1/toys")  # others are late, or still to come
    assert (line["method"], line["status"]) == ("GET", 200)
    assert line["ms"] >= 0
    assert "secret" not in str(line)


def test_the_server_is_healthy_when_its_database_answers(stranger):
    assert stranger.get("/healthz").json() == {"status": "ok"}
