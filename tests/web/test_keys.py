"""The keys of whoever is signed in, as pages."""

import re

import pytest
from tests.projects.people import add_user, ed25519_line

from cumulet.projects import Role

KEYS = "/keys"


def names(browser):
    return re.findall(r'href="/keys/api/([^/]+)/revoke"', browser.get(KEYS).text)


def test_an_api_key_is_made_shown_once_and_lets_a_program_in(signed_in, url):
    browser = signed_in()
    fields = {"apikeyId": "robot", "projectId": "default", "expireTime": "7", "readOnly": "yes"}
    shown = browser.send("/keys/api", on=KEYS, **fields)
    key = re.search(r"<span data-text>([^<]+)</span>", shown.text)[1]
    answer = browser.client.get("/v1/projects/default", headers={"authorization": f"Bearer {key}"})
    assert answer.status_code == 200
    text = browser.get(KEYS).text
    assert (key in text, "reads only" in text, 'title="never"' in text) == (False, True, False)
    assert names(browser) == ["key-of-ann", "robot"]


def test_revoking_says_which_sessions_end_with_it_and_ends_them(signed_in):
    browser = signed_in()
    browser.send("/keys/api", on=KEYS, apikeyId="robot", expireTime="")
    page = "/keys/api/robot/revoke"
    assert "sign in anew" not in browser.get(page).text
    assert browser.send(page, on=page).headers["location"] == KEYS
    assert names(browser) == ["key-of-ann"]
    own = "/keys/api/key-of-ann/revoke"
    assert "you will have to sign in anew" in browser.get(own).text
    assert browser.send(own, on=own).status_code == 303
    assert browser.get(KEYS).headers["location"].startswith("/login")


def test_an_ssh_key_is_added_and_removed(signed_in):
    browser = signed_in()
    line = ed25519_line(7, "ann@laptop")
    assert browser.send("/keys/ssh", on=KEYS, publicKey=line).headers["location"] == KEYS
    page = re.search(r'href="(/keys/ssh/[^"]+)"', browser.get(KEYS).text)[1]
    assert "ann@laptop" in browser.get(page).text
    assert "who holds it still gets in there" in browser.get(page).text
    assert browser.send(page, on=page).status_code == 303
    assert "No SSH keys" in browser.get(KEYS).text


def test_what_is_wrong_stands_beside_its_field_with_the_input_kept(signed_in):
    browser = signed_in()
    wrong = browser.send("/keys/api", on=KEYS, apikeyId="NO", expireTime="30")
    assert (wrong.status_code, 'value="30" selected' in wrong.text) == (400, True)
    assert re.search(r'value="NO"[^>]* aria-invalid="true"', wrong.text)
    wrong = browser.send("/keys/ssh", on=KEYS, publicKey="ssh-rsa short")
    assert wrong.status_code == 400
    assert re.search(r'aria-invalid="true">ssh-rsa short</textarea>', wrong.text)


@pytest.mark.parametrize("path", ["/keys/api/key-of-bob/revoke", "/keys/ssh/7/delete"])
def test_keys_of_others_are_not_there(signed_in, cloud, path):
    assert cloud.owner
    with cloud.database.writing() as db:
        add_user(db, "bob", default=Role.OWNER)
    assert signed_in().get(path).status_code == 404


def test_a_key_that_reads_only_sees_no_button_and_one_of_a_project_no_keys(signed_in):
    browser = signed_in()
    for fields, status in (({"readOnly": "yes"}, 200), ({"projectId": "default"}, 403)):
        shown = browser.send("/keys/api", on=KEYS, apikeyId=f"robot-{status}", **fields)
        robot = type(browser)(browser.client, browser.origin)
        robot.sign_in(re.search(r"<span data-text>([^<]+)</span>", shown.text)[1])
        page = robot.get(KEYS)
        assert page.status_code == status
        assert not re.search(r'action="/keys|revoke"', page.text)
