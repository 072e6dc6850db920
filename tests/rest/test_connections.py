"""Connections that say nothing, or say it slowly, and very many of them: a real server is asked by real sockets."""

import json
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest
from tests.cli.conftest import own_settings
from tests.cli.conftest import serving as running_server
from tests.rest.conftest import serving
from tests.rest.test_edge import spoken
from tests.rest.test_errors import told
from tests.rest.toys import KEY, TOYS, admit
from tests.waiting import PATIENCE_S, eventually

from cumulet.errors import Unavailable
from cumulet.operation import Access, declared
from cumulet.rest import connections, create_app
from cumulet.rest.connections import Door, Phase
from cumulet.wire import Png

UNFINISHED = {
    "nothing": b"",
    "a head": b"GET /v1/toys HTTP/1.1\r\nhost: x\r\n",
    "a body": f"POST /v1/toys HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-length: 9\r\n\r\n{{".encode(),
    "a second head": b"GET /v1/toys HTTP/1.1\r\nhost: x\r\n\r\nGET /v1",
}


def dial(url: str, words: bytes = b"") -> socket.socket:
    line = socket.create_connection(("127.0.0.1", httpx.URL(url).port), timeout=PATIENCE_S)
    line.sendall(words)
    return line


def heard(line: socket.socket) -> bytes:
    return b"".join(iter(lambda: line.recv(65536), b""))


@contextmanager
def many(url: str, count: int, words: bytes) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(dial(url, words)) for _ in range(count)]


@pytest.fixture
def app(database):
    return create_app(database, admit=admit, provided={}, operations=TOYS)


@pytest.fixture
def hasty(monkeypatch):
    """Limits that a test can wait for."""
    monkeypatch.setattr(connections, "SECONDS", {Phase.HEAD: 0.2, Phase.BODY: 0.3})
    monkeypatch.setattr(connections, "TAKE_SECONDS", 0.3)


@pytest.mark.parametrize(("begun", "missing"), [("nothing", "head"), ("a head", "head"), ("a body", "body")])
def test_who_does_not_finish_a_request_is_told_and_let_go(hasty, app, begun, missing):
    with serving(app) as url, dial(url, UNFINISHED[begun]) as line:
        head, _, body = heard(line).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 ")
        assert json.loads(body)["code"] == 4
        assert f"the {missing} of this request was incomplete after" in json.loads(body)["message"]


def test_who_begins_a_second_request_and_does_not_finish_it_is_let_go(hasty, app):
    with serving(app, timeout_keep_alive=60) as url, dial(url, UNFINISHED["a second head"]) as line:
        assert line.recv(12) == b"HTTP/1.1 200"
        line.sendall(b"/toys HTTP/1.1\r\n")
        assert b"HTTP/1.1 408 " in heard(line)


@pytest.mark.parametrize("line", ["", "x: "], ids=["one line", "one header"])
def test_a_head_that_goes_on_and_on_is_refused(app, line):
    begun = f"GET /v1/toys HTTP/1.1\r\nhost: x\r\n{line}".encode()
    with serving(app) as url, dial(url, begun.ljust(connections.MOST_HEAD_BYTES + 1, b"a")) as endless:
        head, _, body = heard(endless).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 431 ")
        assert "65536 bytes" in json.loads(body)["message"]


def test_a_body_that_comes_in_its_time_is_taken_however_small_its_pieces(app):
    with serving(app) as url, dial(url) as line:
        for byte in UNFINISHED["a body"] + b'"count":':
            line.sendall(bytes([byte]))
        assert line.recv(12) == b"HTTP/1.1 400"


def test_many_unfinished_requests_keep_nobody_out_for_longer_than_their_time(hasty, app):
    with serving(app, most=30) as url, many(url, 30, UNFINISHED["a head"]) as lines:
        for line in lines:
            assert heard(line).startswith(b"HTTP/1.1 408 ")
        eventually(lambda: httpx.get(f"{url}/v1/toys").status_code == 200)


def test_one_connection_too_many_is_told_so_and_there_is_room_again_when_one_leaves(app):
    with serving(app, most=5) as url, many(url, 5, b"") as lines:
        refused = httpx.get(f"{url}/v1/toys")
        assert told(refused) == (503, 14)
        assert refused.headers["retry-after"] == "1"
        assert refused.headers["x-content-type-options"] == "nosniff"
        assert refused.headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in refused.headers["content-security-policy"]
        assert "5 connections are open" in refused.json()["message"]
        lines[0].close()
        eventually(lambda: httpx.get(f"{url}/v1/toys").status_code == 200)


def test_who_takes_nothing_of_a_long_answer_is_let_go(hasty, database):
    def draw() -> Png:
        """Draw something large."""
        return Png(bytes(64 * 1024 * 1024))

    operations = [declared("GET /v1/large", draw, access=Access.OPEN)]
    app = create_app(database, admit=admit, provided={}, operations=operations)
    with serving(app, most=1) as url, dial(url, b"GET /v1/large HTTP/1.1\r\nhost: x\r\n\r\n") as line:
        assert line.recv(12) == b"HTTP/1.1 200"
        eventually(lambda: httpx.get(f"{url}/healthz").status_code == 200)


@pytest.fixture
def server_with_few_descriptors(tmp_path) -> Iterator[str]:
    """A server that is started with room for 256, as far as its own limit goes."""
    settings = own_settings(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    with running_server(settings):
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        yield f"http://{settings['CUMULET_LISTEN']}"


@pytest.mark.slow
def test_a_server_raises_its_limit_of_descriptors_as_far_as_it_may(server_with_few_descriptors):
    with many(server_with_few_descriptors, 300, UNFINISHED["a head"]):
        assert httpx.get(f"{server_with_few_descriptors}/healthz", timeout=PATIENCE_S).status_code == 200


def test_one_address_has_its_part_of_the_connections_and_this_machine_all():
    door = Door(4, most_of_one=2)
    door.enter("192.0.2.1")
    door.enter("192.0.2.1")
    with pytest.raises(Unavailable, match=r"2 connections from 192\.0\.2\.1 are open"):
        door.enter("192.0.2.1")
    door.leave("192.0.2.1")
    for address in ("192.0.2.1", "127.0.0.1", "127.0.0.1"):
        door.enter(address)
    with pytest.raises(Unavailable, match="4 connections are open"):
        door.enter("::1")
    for address in ("192.0.2.1", "192.0.2.1", "127.0.0.1", "127.0.0.1"):
        door.leave(address)
    assert not door._inside


def test_all_addresses_that_one_subscriber_has_in_ipv6_have_one_part_of_the_connections():
    door = Door(9, most_of_one=2)
    door.enter("2001:db8::1")
    door.enter("2001:db8::ffff:2")
    with pytest.raises(Unavailable, match=r"2 connections from 2001:db8::/64 are open"):
        door.enter("2001:db8::3")
    door.enter("2001:db8:0:1::1")
    for _ in range(3):
        door.enter("::1")
    door.leave("2001:db8::1")
    door.enter("2001:db8::3")


def test_a_url_that_is_not_ascii_is_refused_as_json(url):
    first, body = spoken(url, "GET /v1/toys/b\u00e4r HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    assert first == "HTTP/1.1 400 Bad Request"
    assert json.loads(body)["code"] == 3
    assert "percent-encoded" in json.loads(body)["message"]


def test_what_is_no_http_is_refused_as_json(url):
    first, body = spoken(url, b"HELLO\r\n\r\n")
    assert first == "HTTP/1.1 400 Bad Request"
    assert json.loads(body)["code"] == 3
