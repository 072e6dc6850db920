"""Signing in by an identity provider: a real one, in a process of its own, through all of its pages."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
import pytest
from tests.ports import free_port
from tests.projects.people import add_user
from tests.web.conftest import COOKIE, Browser

from cumulet.errors import NotFound
from cumulet.permission import Role
from cumulet.projects import find_holder
from cumulet.projects import user_operations as users
from cumulet.projects.identity_provider import Attempt, IdentityProvider
from cumulet.projects.member_operations import add_project_user_permission
from cumulet.projects.model import SingleSignOn
from cumulet.projects.password_operations import reset_user
from cumulet.projects.people_wire import AcceptInvitation, AddPermission, InviteUser, PermissionRole
from cumulet.projects.sso_operations import begin_sso, finish_sso, get_ways_in
from cumulet.projects.sso_wire import FinishSso
from cumulet.settings import OidcSettings

SECRET = "the-clients-own/secret?"
ATTEMPT = "__Host-cumulet-sso"


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    port = free_port()
    script = Path(__file__).with_name("provider.mjs")
    with subprocess.Popen(
        ["node", script, str(port), SECRET], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert "listening" in process.stdout.readline()
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.fixture
def settings(issuer, tmp_path) -> OidcSettings:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    return OidcSettings(issuer, "cumulet", tmp_path / "secret", name="Example Inc.", provisions=False)


@pytest.fixture
def cloud(cloud, settings):
    cloud.provider = IdentityProvider(settings)
    return cloud


@pytest.fixture
def invited(cloud):
    return cloud.call(users.invite_user, data=InviteUser("ann@example.org"))


def cookie_of(answer: httpx.Response, name: str) -> str:
    (kept,) = [one for one in answer.headers.get_list("set-cookie") if one.startswith(f"{name}=")]
    return kept.split(";")[0]


def prove(url: str, login: str) -> str:
    """Go through the provider's pages; gives where it sends the browser back to."""
    with httpx.Client() as client:
        answer = client.get(url)
        while True:
            while answer.is_redirect:
                there = urljoin(str(answer.url), answer.headers["location"])
                if "/login/sso/done" in urlsplit(there).path:
                    return there
                answer = client.get(there)
            assert answer.status_code == 200, answer.text
            action = unescape(re.search(r'action="([^"]+)"', answer.text)[1])
            prompt = re.search(r'name="prompt" value="(\w+)"', answer.text)[1]
            form = {"prompt": prompt, "login": login, "password": "any"}
            answer = client.post(urljoin(str(answer.url), action), data=form)


def begin(browser: Browser, leads: str = "") -> tuple[str, str]:
    """Give where the browser is sent, and the cookie that it keeps meanwhile."""
    answer = browser.get(f"/login/sso?next={leads}")
    assert answer.status_code == 303
    return answer.headers["location"], cookie_of(answer, ATTEMPT)


def come_back(browser: Browser, url: str, cookie: str) -> httpx.Response:
    there = urlsplit(url)
    return browser.client.get(f"{there.path}?{there.query}", headers={"cookie": cookie})


def sign_in(browser: Browser, login: str, leads: str = "") -> httpx.Response:
    url, cookie = begin(browser, leads)
    return come_back(browser, prove(url, login), cookie)


def test_who_was_invited_signs_in_by_the_provider_and_goes_where_they_wanted(stranger, cloud, invited):
    assert "Sign in with Example Inc." in stranger.get("/login").text
    answer = sign_in(stranger, "ann", "/sessions")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sessions")
    assert f"{ATTEMPT}=" in answer.headers["set-cookie"]
    session = cookie_of(answer, COOKIE)
    assert session != f"{COOKIE}="
    stranger.session = session.partition("=")[2]
    page = stranger.get("/sessions").text
    assert "the identity provider" in page
    assert "ann Provided" in page
    assert cloud.call(users.get_user, id="ann@example.org").state == "ACTIVE"


def test_who_joined_under_an_address_that_nobody_vouched_for_is_out_once_the_provider_does(stranger, cloud):
    with cloud.database.writing() as db:
        eve = add_user(db, "eve", default=Role.OWNER)

    def joined(inviter):
        data = AddPermission("ann@example.org", PermissionRole.VIEWER)
        asked = {"project_id": "default", "data": data}
        invitation = cloud.call(add_project_user_permission, inviter, **asked).invitation
        accepted = cloud.call(users.accept_invitation, data=AcceptInvitation(invitation.code))
        return accepted.api_key.key

    def opens(key):
        with cloud.database.reading() as db:
            return find_holder(db, key) is not None

    stolen = joined(eve)
    assert opens(stolen)
    assert sign_in(stranger, "ann").status_code == 303
    assert not opens(stolen)
    cloud.call(users.remove_user, id="ann@example.org")
    hers = joined(cloud.owner)
    assert sign_in(stranger, "ann").status_code == 303
    assert opens(hers)


def test_what_is_asked_of_the_provider_binds_the_answer_to_this_browser(stranger, invited):
    url, cookie = begin(stranger)
    asked = {name: value for name, (value,) in parse_qs(urlsplit(url).query).items()}
    assert (asked["code_challenge_method"], asked["response_type"]) == ("S256", "code")
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3
    back = prove(url, "ann")
    _, another = begin(stranger)
    for wrong in (another, f"{ATTEMPT}=", "other=1"):
        answer = come_back(stranger, back, wrong)
        assert (answer.status_code, "not begun in this browser" in answer.text) == (403, True)
    assert come_back(stranger, back, cookie).status_code == 303
    used = come_back(stranger, back, cookie)
    assert (used.status_code, "did not vouch" in used.text) == (403, True)


def test_who_was_not_invited_stays_out_unless_all_are_taken_in(stranger, cloud, settings):
    answer = sign_in(stranger, "bob")
    assert (answer.status_code, "nobody has invited bob@example.org" in answer.text) == (403, True)
    cloud.provider.settings = OidcSettings(
        settings.issuer, "cumulet", settings.secret_file, name="", provisions=True
    )
    assert sign_in(stranger, "bob").status_code == 303
    assert cloud.call(users.get_user, id="bob@example.org").state == "ACTIVE"
    assert sign_in(stranger, "eve-unverified").status_code == 403


def test_who_is_suspended_or_refuses_at_the_provider_stays_out(stranger, cloud, invited):
    assert sign_in(stranger, "ann").status_code == 303
    cloud.call(users.suspend_user, id="ann@example.org")
    answer = sign_in(stranger, "ann")
    assert (answer.status_code, "suspended" in answer.text) == (403, True)
    _, cookie = begin(stranger)
    answer = stranger.client.get("/login/sso/done?error=access_denied", headers={"cookie": cookie})
    assert answer.status_code == 403


def test_an_address_that_changed_hands_at_the_provider_opens_nothing_until_an_operator_resets(
    stranger, cloud, invited
):
    assert sign_in(stranger, "ann").status_code == 303
    answer = sign_in(stranger, "ann-2")
    assert (answer.status_code, "somebody else" in answer.text) == (403, True)
    cloud.call(reset_user, id="ann@example.org")
    assert cloud.count(SingleSignOn) == 0
    assert sign_in(stranger, "ann-2").status_code == 303


def test_without_the_provider_people_sign_in_otherwise(stranger, cloud, signed_in):
    cloud.provider.settings = OidcSettings(
        "http://127.0.0.1:1", "cumulet", None, name="Gone", provisions=False
    )
    assert stranger.get("/login").status_code == 200
    answer = stranger.get("/login/sso")
    assert (answer.status_code, "password or an API key" in answer.text) == (503, True)
    assert signed_in(Role.VIEWER).get("/sessions").status_code == 200


def test_a_program_signs_a_browser_in_by_the_same_calls(cloud, invited, url):
    assert cloud.call(get_ways_in).identity_provider == "Example Inc."
    begun = httpx.get(f"{url}/v1/sessions/sso").json()
    back = parse_qs(urlsplit(prove(begun["url"], "ann")).query)
    sent = {"code": back["code"][0], "state": back["state"][0], "secret": begun["secret"]}
    wrong = httpx.post(f"{url}/v1/sessions/sso", json=sent | {"secret": "another"})
    assert wrong.status_code == 403
    assert httpx.post(f"{url}/v1/sessions/sso", json=sent).json()["session"]
    cloud.provider = None
    with pytest.raises(NotFound, match="no identity provider"):
        cloud.call(begin_sso)
    with pytest.raises(NotFound):
        cloud.call(finish_sso, data=FinishSso("code", Attempt("s").state, "s"))
