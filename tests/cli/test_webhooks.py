"""`cumulet webhook`, against a real server and a real receiver; and what is told when the server is killed."""

from __future__ import annotations

import json
import threading
from importlib.resources import files

import pytest
from tests.cli.conftest import own_settings, serving
from tests.waiting import eventually
from tests.webhooks.conftest import receiving, signs


@pytest.fixture(scope="module")
def allowing(tmp_path_factory):
    """The settings of a server whose operator lets webhooks go to this machine."""
    folder = tmp_path_factory.mktemp("webhooks")
    catalogue = folder / "catalogue.toml"
    usual = (files("cumulet.catalogue") / "default.toml").read_text()
    catalogue.write_text(usual.replace("webhook_networks = []", 'webhook_networks = ["127.0.0.0/8"]'))
    return own_settings(folder / "cloud") | {"CUMULET_CATALOGUE": str(catalogue)}


@pytest.fixture
def cumulet(allowing, command, monkeypatch):
    for name, value in allowing.items():
        monkeypatch.setenv(name, value)
    return command


@pytest.mark.slow
def test_one_is_made_tested_listed_enabled_and_removed(cumulet, allowing):
    with receiving() as receiver, serving(allowing):
        secret = cumulet("webhook", "create", "chat", receiver.url, "-o", "name").out.strip()
        assert cumulet("webhook", "test", "chat").code == 0
        assert receiver.told == ["webhook chat created", "a test was requested"]
        assert all(signs(secret, *request) for request in receiver.requests)
        listed = cumulet("webhook", "list").out
        assert "chat" in listed
        assert "ACTIVE" in listed
        assert cumulet("disk", "create", "told", "1").code == 0
        eventually(lambda: "disk.create_requested" in kinds(receiver))
        receiver.answers = [503] * 100
        failed = cumulet("webhook", "test", "chat")
        assert (failed.code, "webhook 'chat' did not take it: it answers 503" in failed.err) == (1, True)
        shown = cumulet("webhook", "get", "chat").out
        assert "it answers 503" in shown
        assert secret not in shown
        receiver.answers = []
        assert cumulet("webhook", "enable", "chat", "--from-now-on").code == 0
        assert cumulet("webhook", "get", "chat", "-o", "json").json["state"] == "ACTIVE"
        assert cumulet("webhook", "delete", "chat").code == 0
        assert cumulet("webhook", "get", "chat").code == 3


@pytest.mark.slow
def test_what_was_sent_when_the_server_was_killed_is_sent_again_under_the_same_id(cumulet, allowing):
    with receiving() as receiver:
        with serving(allowing) as server:
            assert cumulet("webhook", "create", "held", receiver.url, "--kind", "disk").code == 0
            receiver.hold = threading.Event()
            assert cumulet("disk", "create", "killed", "1").code == 0
            eventually(lambda: receiver.requests)
            server.kill()
            receiver.hold.set()
        with serving(allowing):
            eventually(lambda: len(receiver.requests) == 2)
            assert cumulet("disk", "create", "later", "1").code == 0
            eventually(lambda: len(receiver.requests) == 3)
    first, again, other = receiver.ids[:3]
    assert first == again != other
    assert kinds(receiver)[:2] == ["disk.create_requested"] * 2


def kinds(receiver):
    return [json.loads(body)["event"] for _, body in receiver.requests]
