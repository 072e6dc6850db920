"""Logging in by a browser: the command gets a key of whoever signs in there, and nobody else does."""

import base64
import hashlib
import re
import threading
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from cumulet.cli import by_browser
from cumulet.cli.by_browser import Return
from cumulet.cli.config import read_config
from cumulet.errors import Unavailable

COOKIE = "__Host-cumulet"


@pytest.fixture
def url(settings, home, monkeypatch):
    """The shared server, called by somebody who has nothing of it."""
    monkeypatch.setenv("CUMULET_DATA_DIR", str(home / "nothing"))
    return f"http://{settings['CUMULET_LISTEN']}"


@pytest.fixture
def key(settings):
    return Path(settings["CUMULET_DATA_DIR"], "admin.key").read_text().strip()


def agree(link, key):
    """Sign in at a browser, and let the command in; gives where that leads."""
    there = urlsplit(link)
    origin = f"{there.scheme}://{there.netloc}"
    with httpx.Client(base_url=origin, headers={"origin": origin}) as browser:
        answer = browser.post("/login", data={"apiKey": key})
        cookie = {"cookie": re.search(f"{COOKIE}=[^;]+", answer.headers["set-cookie"])[0]}
        page = browser.get(f"{there.path}?{there.query}", headers=cookie).text
        fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
        answer = browser.post("/authorize", data=fields, headers=cookie)
    return unescape(re.search(r'content="0;url=([^"]+)"', answer.text)[1])


def test_who_signs_in_at_a_browser_is_logged_in_at_the_command_line(command, url, key, monkeypatch):
    came = []

    def open_browser(link):
        def browse():
            back = agree(link, key)
            wrong = re.sub("state=[^&]+", "state=other", back)
            came.extend(httpx.get(one).status_code for one in (wrong, back))

        threading.Thread(target=browse).start()

    monkeypatch.setattr(by_browser, "has_screen", lambda: True)
    monkeypatch.setattr(by_browser.webbrowser, "open", open_browser)
    done = command("login", "--web", "--url", url)
    assert done.code == 0, done.err
    assert "owner@localhost" in done.err
    kept = read_config().contexts["127.0.0.1"].key
    assert kept not in done.out + done.err
    assert kept != key
    assert command("vm", "list").code == 0
    assert [one for one in command("key", "list").out.split() if one.startswith("login-")]


def test_a_code_is_good_once_and_for_its_own_command_alone(url, key):
    headers = {"authorization": f"Bearer {key}"}
    verifier = "v" * 43
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    made = httpx.post(f"{url}/v1/sessions/codes", json={"challenge": challenge}, headers=headers).json()
    redeem = f"{url}/v1/sessions/codes/redeem"
    sent = {"code": made["code"], "verifier": verifier}
    assert httpx.post(redeem, json=sent | {"verifier": "another"}).status_code == 403
    assert httpx.post(f"{url}/v1/sessions", json={"ticket": made["code"]}).status_code == 403
    new = httpx.post(redeem, json=sent).json()["key"]
    assert httpx.get(f"{url}/v1/auth", headers={"authorization": f"Bearer {new}"}).status_code == 200
    assert httpx.post(redeem, json=sent).status_code == 403
    wrong = httpx.post(f"{url}/v1/sessions/codes", json={"challenge": "short"}, headers=headers)
    assert (wrong.status_code, "challenge" in wrong.json()["message"]) == (400, True)


def test_the_page_leads_nowhere_but_to_the_machine_of_the_browser(url, key):
    for port in ("80", "evil.example", "70000", "8080@evil.example"):
        with pytest.raises(TypeError):
            agree(f"{url}/authorize?port={port}&challenge={'c' * 43}&state=s", key)
    back = urlsplit(agree(f"{url}/authorize?port=4000&challenge={'c' * 43}&state=s", key))
    assert (back.netloc, parse_qs(back.query)["state"]) == ("127.0.0.1:4000", ["s"])


def test_when_nobody_signs_in_it_ends_with_words(monkeypatch):
    monkeypatch.setattr(by_browser, "PATIENCE_SECONDS", 0.05)
    with Return("state") as waiting, pytest.raises(Unavailable, match="nobody signed in"):
        waiting.wait()
