"""Who comes in, and what a form needs to be taken: the cookie, an origin of ours and the session's own token."""

import re

import httpx
import pytest
from tests.made_up import PROJECT

from cumulet.projects import Role
from cumulet.projects.model import Project
from cumulet.web.door import is_private
from cumulet.web.pages.entry import own_path

VMS = f"/p/{PROJECT}/vms"


def test_who_is_not_signed_in_is_led_to_where_they_can_be_and_back(stranger, cloud, signed_in):
    answer = stranger.get(f"{VMS}?q=a")
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        "/login?next=%2Fp%2Fdefault%2Fvms%3Fq%3Da",
    )
    assert stranger.get("/login").status_code == 200
    signed_in(name="ann")
    answer = stranger.send("/login", apiKey="ann", next=f"{VMS}?q=a")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{VMS}?q=a")


@pytest.mark.parametrize(
    ("there", "leads"),
    [
        ("/p/a/vms?q=1", "/p/a/vms?q=1"),
        ("//evil.example", "/"),
        ("https://evil.example", "/"),
        ("/\\evil", "/"),
        ("", "/"),
    ],
)
def test_nobody_is_led_anywhere_else(there, leads):
    assert own_path(there) == leads


def test_the_cookie_is_for_this_host_alone_and_for_no_script(stranger, signed_in):
    signed_in(name="ann")
    cookie = stranger.send("/login", apiKey="ann").headers["set-cookie"].lower()
    assert cookie.startswith("__host-cumulet=")
    for part in ("secure", "httponly", "samesite=strict", "path=/", "max-age=604800"):
        assert part in cookie
    assert "domain" not in cookie


def test_a_key_that_is_nobodys_is_refused_on_the_page_and_not_shown(stranger):
    answer = stranger.send("/login", apiKey="cumulet_nobodys-key")
    assert answer.status_code == 403
    assert "not valid" in answer.text
    assert "nobodys-key" not in answer.text


def test_a_used_ticket_is_refused(stranger, cloud, signed_in):
    signed_in(name="ann")
    made = httpx.post(
        f"{stranger.origin}/v1/sessions/tickets", headers={"authorization": "Bearer ann"}
    ).json()
    assert made["url"] == f"{stranger.origin}/login#{made['ticket']}"
    assert stranger.send("/login", ticket=made["ticket"]).status_code == 303
    answer = stranger.send("/login", ticket=made["ticket"])
    assert answer.status_code == 403
    assert "used already" in answer.text


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1"])
def test_a_form_from_elsewhere_is_refused(signed_in, cloud, origin):
    browser = signed_in()
    cloud.running()
    assert browser.send(f"{VMS}/hello/stop", on=VMS, origin=origin).status_code == 403
    assert cloud.vm().state.value == "ACTIVE"


def test_a_form_without_an_origin_needs_the_browsers_word_that_it_is_ours(signed_in, cloud):
    browser = signed_in()
    cloud.running()
    form = browser.headers({"content-type": "application/x-www-form-urlencoded"})
    assert browser.client.post(f"{VMS}/hello/stop", headers=form).status_code == 403


@pytest.mark.parametrize("token", ["", "0" * 32])
def test_a_form_without_the_sessions_token_is_refused(signed_in, cloud, token):
    browser = signed_in()
    cloud.running()
    answer = browser.send(f"{VMS}/hello/stop", token=token)
    assert (answer.status_code, "earlier session" in answer.text) == (403, True)
    assert cloud.vm().state.value == "ACTIVE"


def test_a_form_of_the_session_is_taken_and_done_once(signed_in, cloud):
    browser = signed_in()
    cloud.running()
    fields = {"request": "twice"}
    for _ in range(2):
        answer = browser.send(f"{VMS}/hello/stop", on=VMS, **fields)
        assert (answer.status_code, answer.headers["location"]) == (303, f"{VMS}/hello")
    assert cloud.events().count("vm.stop_requested") == 1


def test_who_signs_out_is_out(signed_in, cloud):
    browser = signed_in()
    answer = browser.send("/logout", on=VMS)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert "max-age=0" in answer.headers["set-cookie"].lower()
    assert browser.get(VMS).status_code == 303


def test_a_session_is_no_api_key(signed_in, url):
    session = signed_in().session
    for key in (session, f"session {session}"):
        assert httpx.get(f"{url}/v1/auth", headers={"authorization": f"Bearer {key}"}).status_code == 401


def test_another_projects_pages_are_not_there(signed_in, cloud):
    browser = signed_in()
    with cloud.database.writing() as db:
        db.add(
            Project(
                id="theirs", billing_account_id="b", created_by=cloud.owner.user_id, created_at=cloud.clock()
            )
        )
    theirs, absent = (browser.get(f"/p/{id}/vms") for id in ("theirs", "absent"))
    assert (theirs.status_code, absent.status_code) == (404, 404)
    assert theirs.text.replace("theirs", "") == absent.text.replace("absent", "")


def test_a_viewer_sees_no_changing_button(signed_in, cloud):
    cloud.running()
    for role, sees in ((Role.EDITOR, True), (Role.VIEWER, False)):
        text = signed_in(role, role.name.lower()).get(VMS).text
        assert "hello" in text
        assert (f'action="{VMS}/hello/stop"' in text, "Create VM" in text) == (sees, sees)


def test_who_comes_by_a_link_from_elsewhere_comes_again_with_their_cookie(stranger):
    answer = stranger.get(VMS, **{"sec-fetch-site": "cross-site"})
    assert (answer.status_code, 'http-equiv="refresh"' in answer.text) == (200, True)


@pytest.mark.parametrize(
    ("origin", "private"),
    [
        ("https://cloud.example", True),
        ("http://127.0.0.1:8480", True),
        ("http://localhost", True),
        ("http://[::1]:8480", True),
        ("http://192.0.2.7:8480", False),
        ("http://cloud.example", False),
    ],
)
def test_signing_in_needs_tls_or_the_machine_itself(origin, private):
    assert is_private(origin) is private


def test_over_plain_http_signing_in_is_refused_and_says_how_to_get_there(stranger, signed_in):
    signed_in(name="ann")
    host = {"host": "cloud.example"}
    page = stranger.client.get("/login", headers=host)
    assert ("cumulet tls self-signed" in page.text, "<form" in page.text) == (True, False)
    refused = stranger.client.post(
        "/login", data={"apiKey": "ann"}, headers=host | {"origin": "http://cloud.example"}
    )
    assert (refused.status_code, "set-cookie" in refused.headers) == (403, False)


def test_signing_in_is_listed_as_a_session(signed_in, cloud):
    browser = signed_in()
    mine = httpx.get(f"{browser.origin}/v1/sessions", headers={"authorization": "Bearer ann"}).json()
    assert [(one["openedWith"], one["current"]) for one in mine["sessions"]] == [("key-of-ann", False)]


def test_sessions_are_listed_on_a_page_and_ended_there(signed_in, url):
    browser = signed_in()
    mine = browser.session
    browser.sign_in("ann")
    text = browser.get("/sessions").text
    assert text.count("key-of-ann") == 2
    (other,) = re.findall(r'action="(/sessions/[^/]+/end)"', text)
    assert browser.send(other, on="/sessions").headers["location"] == "/sessions"
    browser.session, left = mine, browser.session
    assert browser.get(VMS).status_code == 303
    browser.session = left
    assert browser.get(VMS).status_code == 200
