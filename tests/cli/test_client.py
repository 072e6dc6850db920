import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from cumulet.cli import client, config
from cumulet.cli.client import Answer, Client, connect, declined, open_client
from cumulet.cli.config import Context, local_url
from cumulet.errors import Invalid, Unavailable
from cumulet.settings import read_settings

KEY = "cumulet-" + "s3cret" * 6


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine on which a server made its owner's key."""
    (tmp_path / "admin.key").write_text(f"{KEY}\n")
    monkeypatch.setenv("CUMULET_DATA_DIR", str(tmp_path))


def authorization(opened: Client) -> str | None:
    return opened.headers.get("authorization")


def test_without_settings_the_server_of_this_machine_is_called_with_its_owners_key(machine):
    opened = connect()
    assert opened.url == "http://127.0.0.1:8480"
    assert authorization(opened) == f"Bearer {KEY}"


def test_the_key_of_this_machine_does_not_leave_it(machine, monkeypatch):
    monkeypatch.setenv("CUMULET_URL", "https://cloud.example.org")
    assert authorization(connect()) is None


def test_a_key_of_ones_own_goes_where_one_says(machine, monkeypatch):
    monkeypatch.setenv("CUMULET_URL", "https://cloud.example.org")
    monkeypatch.setenv("CUMULET_API_KEY", "mine")
    opened = connect()
    assert (opened.url, authorization(opened)) == ("https://cloud.example.org", "Bearer mine")


@pytest.mark.parametrize(
    ("listens", "called"),
    [
        ("127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("0.0.0.0:9000", "http://127.0.0.1:9000"),
        ("[::]:9000", "http://[::1]:9000"),
    ],
)
def test_a_server_is_called_where_it_listens(listens, called):
    assert local_url(read_settings({"CUMULET_LISTEN": listens})) == called


def test_a_key_that_is_none_is_refused_without_being_shown():
    with pytest.raises(Invalid, match="API key") as refused:
        open_client(Context(url="http://127.0.0.1", key="top\nsecret"))
    assert "secret" not in refused.value.message


@pytest.mark.parametrize("url", ["localhost:8480", "httpx://localhost", "file:///etc/passwd", ""])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(Invalid, match="CUMULET_URL"):
        open_client(Context(url=url, key=""))


def test_a_proxy_does_not_come_between_this_machine_and_itself(cumulet, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert cumulet("vm", "list").code == 0


def test_the_world_outside_is_reached_by_the_proxy_of_the_environment(settings, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://{settings['CUMULET_LISTEN']}")
    assert open_client(Context(url="http://cloud.example.org/", key="")).get("/v1/vms/data-centers")[
        "dataCenters"
    ]


@pytest.mark.parametrize("url", ["http://", "http://127.0.0.1:port", "http://two..dots", "http://a b"])
def test_an_address_that_nobody_can_have_is_told(url):
    with pytest.raises(Unavailable, match="no answer from"):
        open_client(Context(url=url, key="")).get("/v1/vms/data-centers")


@pytest.fixture
def elsewhere():
    """A server that sends every caller to another page of its own; gives its address and what it was asked for."""
    asked = []

    class Redirecting(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(302)
            self.send_header("Location", "/other")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Redirecting) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def test_a_key_goes_nowhere_that_an_answer_sends_it(elsewhere):
    url, asked = elsewhere
    with pytest.raises(Unavailable, match="does not answer like Cumulet's API"):
        open_client(Context(url=url, key=KEY)).get("/v1/projects")
    assert asked == ["/v1/projects"]


def test_nobody_there_is_told_with_what_helps(command, monkeypatch):
    monkeypatch.setenv("CUMULET_URL", "http://127.0.0.1:1")
    done = command("vm", "list")
    assert done.code == 1
    assert "no answer from http://127.0.0.1:1" in done.err
    assert "`cumulet up` starts it" in done.err


def test_a_call_without_a_key_says_where_keys_come_from(cumulet, monkeypatch):
    monkeypatch.setattr(config, "local_key", lambda _: "")
    assert "set CUMULET_API_KEY" in cumulet("vm", "list").err
    assert cumulet("data-center", "list").code == 0, "the catalogue is open"


def test_a_wrong_key_is_not_repeated(cumulet, monkeypatch):
    monkeypatch.setenv("CUMULET_API_KEY", KEY)
    done = cumulet("vm", "list")
    assert done.code == 1
    assert KEY not in done.err


def test_something_else_that_answers_is_recognized():
    page = Answer("http://proxy/", 502, "Bad Gateway", b"<html>")
    with pytest.raises(Unavailable, match="does not answer like Cumulet's API"):
        declined(page)


@pytest.fixture
def shaky():
    """A server that hangs up on the first so many requests; gives its address and the keys that requests came under."""
    keys, losses = [], [2]

    class HangingUp(BaseHTTPRequestHandler):
        def do_POST(self):
            keys.append(self.headers["idempotency-key"])
            losses[0] -= 1
            if losses[0] >= 0:
                self.close_connection = True
                return
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), HangingUp) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", keys, losses
        server.shutdown()
        thread.join()


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(client, "PAUSES_S", (0.0, 0.0, 0.0))


def test_a_change_whose_connection_was_lost_is_sent_again_as_the_same(shaky, quick):
    url, keys, _ = shaky
    assert open_client(Context(url=url, key=KEY)).post("/v1/projects") == {}
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert open_client(Context(url=url, key=KEY)).post("/v1/projects") == {}
    assert keys[3] != keys[0]


def test_it_is_not_sent_for_ever(shaky, quick):
    url, keys, losses = shaky
    losses[0] = 100
    with pytest.raises(Unavailable, match="no answer from"):
        open_client(Context(url=url, key=KEY)).post("/v1/projects")
    assert len(keys) == 4


def test_what_reached_nobody_is_not_sent_again(monkeypatch):
    monkeypatch.setattr(client.time, "sleep", lambda _: pytest.fail("waited"))
    with pytest.raises(Unavailable, match="refused"):
        open_client(Context(url="http://127.0.0.1:1", key=KEY)).post("/v1/projects")
