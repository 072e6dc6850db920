"""From an invitation to a second factor, in a browser without scripts."""

import re
from html import unescape

import httpx
import pyotp
import pytest
from tests.web.conftest import COOKIE

from cumulet.projects import user_operations as users
from cumulet.projects.people_wire import InviteUser

BOB, RIGHT, OTHER = "bob@example.org", "correct horse battery", "staple under the moon "


@pytest.fixture
def code(cloud):
    return cloud.call(users.invite_user, data=InviteUser(BOB)).invitation.code


def keep(browser, answer):
    browser.session = re.search(f"{COOKIE}=([^;]+)", answer.headers["set-cookie"])[1]


@pytest.fixture
def bob(stranger, code):
    answer = stranger.send("/join", invitation=code, firstName="Bob", lastName="Ray", password=RIGHT)
    assert (answer.status_code, answer.headers["location"]) == (303, "/account")
    keep(stranger, answer)
    return stranger


def sign_in(browser, password=RIGHT, code="", **more):
    return browser.send("/login/password", emailAddress=BOB, password=password, code=code, **more)


def test_an_invitation_becomes_a_password_and_a_session(bob):
    text = bob.get("/account").text
    assert "Bob Ray" in text
    assert "Current password" in text
    answer = sign_in(bob, next="/sessions")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sessions")


def test_what_is_wrong_is_shown_beside_its_field_and_the_rest_is_kept(stranger, code):
    answer = stranger.send("/join", invitation=code, firstName="Bob", password="short")
    assert (answer.status_code, answer.text.count('aria-invalid="true"')) == (400, 1)
    assert "12 to 200 characters" in answer.text
    assert f'value="{code}"' in answer.text
    assert "short" not in answer.text
    assert stranger.send("/join", invitation="wrong", password=RIGHT).status_code == 400


def test_a_wrong_password_shows_the_page_again_with_the_address_and_nothing_else(bob):
    answer = sign_in(bob, OTHER)
    assert (answer.status_code, "is wrong" in answer.text, BOB in answer.text) == (403, True, True)
    assert OTHER.strip() not in answer.text
    for _ in range(10):
        last = sign_in(bob, OTHER)
    assert (last.status_code, "try again in" in last.text) == (429, True)


def test_a_second_factor_is_added_by_its_picture_or_secret_and_asked_for_from_then_on(bob, cloud):
    page = bob.get("/account").text
    assert "<svg" in page
    assert "style=" not in page
    secret = re.search(r'name="totpSecret" value="(\w+)"', page)[1]
    at = pyotp.TOTP(secret)
    fields = {"currentPassword": RIGHT, "totpSecret": secret}
    again = bob.send("/account/second-factor", on="/account", **fields, code="000000")
    assert (again.status_code, f'value="{secret}"' in again.text) == (403, True)
    shown = bob.send("/account/second-factor", on="/account", **fields, code=at.at(cloud.clock()))
    codes = re.findall(r"\b(?:[a-z2-7]{4}-){3}[a-z2-7]{4}\b", unescape(shown.text))
    assert len(set(codes)) == 10
    assert sign_in(bob).status_code == 403
    assert sign_in(bob, code=codes[0]).status_code == 303
    cloud.clock.advance(60)
    assert sign_in(bob, code=at.at(cloud.clock())).status_code == 303
    assert "9 recovery codes are left" in bob.get("/account").text
    gone = bob.send("/account/second-factor/remove", on="/account", currentPassword=RIGHT, totpSecret="")
    assert gone.status_code == 303
    assert sign_in(bob).status_code == 303


def test_a_password_is_taken_as_typed_and_a_new_one_signs_other_browsers_out(bob):
    mine = bob.session
    keep(bob, sign_in(bob))
    other, bob.session = bob.session, mine
    changed = bob.send("/account/password", on="/account", password=OTHER, currentPassword=RIGHT)
    assert changed.status_code == 303
    assert bob.get("/sessions").status_code == 200
    bob.session = other
    assert bob.get("/sessions").status_code == 303
    assert [sign_in(bob, one).status_code for one in (RIGHT, OTHER.strip(), OTHER)] == [403, 403, 303]


def test_over_plain_http_no_password_is_taken(stranger, code):
    host = {"host": "cloud.example"}
    page = stranger.client.get("/join", headers=host)
    assert ("cumulet tls self-signed" in page.text, "<form" in page.text) == (True, False)
    for path, form in (
        ("/join", {"invitation": code, "password": RIGHT}),
        ("/login/password", {"emailAddress": BOB, "password": RIGHT}),
    ):
        sent = stranger.client.post(path, data=form, headers=host | {"origin": "http://cloud.example"})
        assert (sent.status_code, "set-cookie" in sent.headers) == (403, False)


def test_a_password_of_somebody_who_has_a_key_is_set_by_the_api(signed_in, url):
    signed_in(name="ann")
    auth = {"authorization": "Bearer ann"}
    answer = httpx.post(f"{url}/v1/auth/password", json={"password": RIGHT}, headers=auth)
    assert answer.status_code == 200
    body = {"emailAddress": "ann@example.org", "password": RIGHT}
    assert httpx.post(f"{url}/v1/sessions/password", json=body).json()["session"]
    refused = httpx.post(f"{url}/v1/sessions/password", json=body | {"password": OTHER})
    assert (refused.status_code, refused.json()["code"]) == (403, 7)
