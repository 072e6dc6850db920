"""What holds for every request and every answer, whatever they are about."""

import gzip
import socket
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from uuid import uuid4

import httpx
import pytest
from tests.made_up import NOON
from tests.projects.people import add_user
from tests.rest.conftest import serving
from tests.rest.test_errors import told
from tests.rest.toys import KEY, TOYS, admit
from tests.waiting import PATIENCE_S

from cumulet.call.turns import AT_ONCE, UNDER_WAY
from cumulet.db import Database, Row
from cumulet.limits import Limits
from cumulet.operation import OPERATIONS, Access, declared
from cumulet.projects import ApiKey, digest_of
from cumulet.projects import admit as real_admit
from cumulet.rest import create_app
from cumulet.wire import Empty


def spoken(url: str, head: str | bytes) -> tuple[str, str]:
    """Send bytes as they are; gives the answer's first line and its body."""
    with socket.create_connection(("127.0.0.1", httpx.URL(url).port), timeout=PATIENCE_S) as line:
        line.sendall(head if isinstance(head, bytes) else head.encode("latin-1"))
        answer = b"".join(iter(lambda: line.recv(65536), b"")).decode()
    first, _, rest = answer.partition("\r\n")
    return first, rest.partition("\r\n\r\n")[2]


@pytest.mark.parametrize("path", ["/v1/toys", "/v1/nothing", "/healthz", "/docs", "/openapi.json", "/v1/me"])
def test_every_answer_tells_browsers_to_be_careful_with_it(stranger, path):
    headers = stranger.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/v1/toys", "/v1/me", "/v1/nothing", "/healthz"])
def test_answers_of_the_api_are_kept_nowhere(ann, path):
    assert ann.get(path).headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/v1/toys/"),
        ("GET", "/v1/toys//places/box"),
        ("GET", "/v1/toys/bear/places/"),
        ("PATCH", "/v1//toys/bear?count=1"),
        ("GET", "//v1/toys"),
    ],
)
def test_a_path_with_an_empty_part_leads_nowhere(url, ann, method, path):
    answer = ann.request(method, url + path)
    assert told(answer) == (404, 5)
    assert "a part of the path is empty" in answer.json()["message"]


def test_pages_may_end_in_a_slash(stranger):
    assert stranger.get("/docs/").status_code == 200


def test_a_request_that_is_written_for_a_proxy_is_understood(url):
    first, body = spoken(
        url,
        f"GET http://{httpx.URL(url).netloc.decode()}/v1/toys?count=3 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    )
    assert first == "HTTP/1.1 200 OK"
    assert '"count":3' in body


def test_a_compressed_body_is_refused_with_what_to_send(ann):
    answer = ann.post(
        "/v1/toys", content=gzip.compress(b'{"toyId": "bear"}'), headers={"content-encoding": "gzip"}
    )
    assert told(answer) == (415, 3)
    assert "Content-Encoding: gzip is not accepted" in answer.json()["message"]


def test_a_byte_order_mark_before_a_body_is_no_part_of_it(ann):
    answer = ann.patch("/v1/toys/bear", content='\ufeff{"count": 4}'.encode())
    assert (answer.status_code, answer.json()["count"]) == (200, 4)
    assert ann.patch("/v1/toys/bear?count=1", content="\ufeff".encode()).status_code == 200


@pytest.mark.parametrize("header", [f"Bearer\t{KEY}", f"Bearer  {KEY}\t"])
def test_white_space_around_a_key_is_no_part_of_it(url, header):
    first, _ = spoken(
        url, f"GET /v1/me HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: {header}\r\n\r\n"
    )
    assert first == "HTTP/1.1 200 OK"


@pytest.mark.parametrize(
    ("header", "named"),
    [
        (f"Bearer \xa0{KEY}", "U+00A0"),
        (f"Bearer \xa0{KEY}".encode().decode("latin-1"), "U+00A0"),
        (f"Bearer {KEY}\u201d".encode().decode("latin-1"), "U+201D"),
        (f"Bearer {KEY}\t2", "U+0009"),
        (f"Bearer {KEY} 2", "U+0020"),
    ],
)
def test_a_character_that_no_key_has_is_named(url, header, named):
    first, body = spoken(
        url, f"GET /v1/me HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: {header}\r\n\r\n"
    )
    assert first == "HTTP/1.1 401 Unauthorized"
    assert f"Authorization: {named} cannot be in an API key" in body
    assert KEY not in body


@pytest.fixture
def held(database):
    """An API with one call that ends when it is let go, and how many of it are worked on."""
    let_go, working = threading.Event(), threading.Semaphore(0)

    def wait() -> Empty:
        """Wait."""
        working.release()
        assert let_go.wait(60)
        return Empty()

    def look() -> Empty:
        """Look."""
        return Empty()

    operations = [
        declared("GET /v1/wait", wait, access=Access.OPEN),
        declared("GET /v1/look", look, access=Access.OPEN),
    ]
    with database.writing() as db:
        keys = (name := uuid4().hex, f"another-of-{name}")
        user_id = add_user(db, name).user_id
        db.add(ApiKey(user_id=user_id, id="another", digest=digest_of(keys[1]), created_at=NOON))
    app = create_app(database, admit=None, provided={}, operations=operations)
    with serving(app) as url:
        yield url, working, let_go, keys
        let_go.set()


@pytest.mark.parametrize("number_of_keys", [1, 2])
def test_one_callers_long_requests_wait_in_line_and_others_do_not_wait_for_them(held, number_of_keys):
    url, working, let_go, keys = held
    theirs = [{"authorization": f"Bearer {key}"} for key in keys[:number_of_keys]]
    limits = httpx.Limits(max_connections=None)
    client = httpx.Client(base_url=url, timeout=60, limits=limits)
    with client, ThreadPoolExecutor(UNDER_WAY + 5) as pool:
        asked = [
            pool.submit(client.get, f"/v1/wait?{number}", headers=theirs[number % len(theirs)])
            for number in range(UNDER_WAY + 5)
        ]
        for refused in islice(as_completed(asked), 5):
            assert told(refused.result()) == (429, 8)
            assert refused.result().headers["retry-after"] == "1"
            assert f"you have {UNDER_WAY} requests in progress" in refused.result().json()["message"]
        for _ in range(AT_ONCE):
            assert working.acquire(timeout=PATIENCE_S)
        assert httpx.get(f"{url}/v1/look", timeout=PATIENCE_S).status_code == 200
        assert (
            httpx.get(f"{url}/v1/look", headers={"authorization": "two"}, timeout=PATIENCE_S).status_code
            == 200
        )
        assert not working.acquire(blocking=False)
        let_go.set()
        assert sorted(done.result().status_code for done in asked) == [200] * UNDER_WAY + [429] * 5
    assert httpx.get(f"{url}/v1/look", headers=theirs[0]).status_code == 200


@pytest.fixture
def bounded(database):
    """An API where a caller may ask twice at once, behind a clock that stands still."""
    app = create_app(
        database,
        admit=admit,
        provided={},
        operations=TOYS,
        limits=Limits(requests_per_second=1, requests_at_once=2),
        seconds=lambda: 0.0,
    )
    with serving(app) as url:
        yield url


def test_who_asks_too_often_is_refused_and_told_when_to_come_again(bounded):
    ann = {"authorization": f"Bearer {KEY}"}
    for headers in (ann, {}):
        answers = [httpx.get(f"{bounded}/v1/toys", headers=headers) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert told(answers[2]) == (429, 8)
        assert answers[2].headers["retry-after"] == "1"


def test_who_tries_keys_is_slowed_down_and_a_good_key_beside_them_is_not(cloud_url):
    def ask(key):
        return httpx.get(f"{cloud_url}/v1/auth", headers={"authorization": f"Bearer {key}"})

    tries = [ask(f"no-key-{number}") for number in range(12)]
    assert [answer.status_code for answer in tries] == [401] * 10 + [429] * 2
    assert tries[-1].headers["retry-after"] == "1"
    assert tries[-1].json()["details"][0]["reason"] == "TOO_MANY_INVALID_KEYS"
    assert ask("ann").status_code == 200
    assert httpx.get(f"{cloud_url}/v1/machine-types").status_code != 429


@pytest.fixture
def cloud_url(tmp_path):
    """A cloud's real keys, behind a clock that stands still."""
    database = Database(f"sqlite:///{tmp_path}/cumulet.db")
    Row.metadata.create_all(database.engine)
    with database.writing() as db:
        add_user(db, "ann")
    operations = [OPERATIONS["get_profile"]]
    app = create_app(database, admit=real_admit, provided={}, operations=operations, seconds=lambda: 0.0)
    with serving(app) as url:
        yield url
    database.close()
