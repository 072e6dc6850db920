"""Coming in, and going: signing in and out, and the first page."""

from __future__ import annotations

from urllib.parse import quote, unquote

from cumulet.errors import CumuletError
from cumulet.projects import password_operations as operations
from cumulet.projects.password_wire import SignIn
from cumulet.projects.session_operations import close_session, open_session
from cumulet.projects.session_wire import CloseSession, OpenSession
from cumulet.projects.sso_operations import begin_sso, finish_sso, get_ways_in
from cumulet.projects.sso_wire import FinishSso
from cumulet.web.door import attempt_cookie, refuse_plain, session_cookie, why_plain
from cumulet.web.site import form, page
from cumulet.web.visit import Answer, Gone, Shown, Visit


@page("/")
def first(visit: Visit) -> Answer:
    """Lead to the VMs of a project."""
    projects = [one.id for one in visit.projects]
    if not projects:
        return visit.show("no_project.html")
    return Gone(f"/p/{quote(projects[0], safe='')}/vms")


@page("/login", is_open=True)
def login(visit: Visit) -> Shown:
    """Ask who they are, where nobody can listen."""
    ways = visit.ask(get_ways_in)
    return visit.show("login.html", plain=why_plain(visit.origin), provider=ways.identity_provider)


@form("/login", on=login, is_open=True)
def sign_in(visit: Visit) -> Gone:
    """Exchange a ticket or a key for a session."""
    refuse_plain(visit.origin)
    data = OpenSession(ticket=visit.given("ticket"), api_key=visit.given("apiKey"))
    opened = visit.ask(open_session, data=data)
    return Gone(own_path(visit.given("next")), (session_cookie(opened.session),))


@form("/login/password", on=login, is_open=True)
def sign_in_with_password(visit: Visit) -> Gone:
    """Exchange a password, and a code, for a session."""
    refuse_plain(visit.origin)
    data = SignIn(
        email_address=visit.given("emailAddress"),
        password=visit.typed("password"),
        code=visit.given("code"),
    )
    opened = visit.ask(operations.sign_in, data=data)
    return Gone(own_path(visit.given("next")), (session_cookie(opened.session),))


@page("/login/sso", is_open=True)
def go_to_provider(visit: Visit) -> Gone:
    """Go to the identity provider's."""
    refuse_plain(visit.origin)
    begun = visit.ask(begin_sso)
    return Gone(begun.url, (attempt_cookie(begun.secret, own_path(visit.given("next"))),))


@page("/login/sso/done", is_open=True)
def come_from_provider(visit: Visit) -> Answer:
    """Exchange what the identity provider sent the browser back with for a session."""
    refuse_plain(visit.origin)
    secret, _, there = visit.attempt.partition(" ")
    try:
        data = FinishSso(code=visit.given("code"), state=visit.given("state"), secret=secret)
        opened = visit.ask(finish_sso, data=data)
    except CumuletError as refused:
        visit.refused = refused
        return login(visit)
    return Gone(own_path(unquote(there)), (session_cookie(opened.session), attempt_cookie("", "")))


@form("/logout", on=login)
def sign_out(visit: Visit) -> Gone:
    """End the session."""
    visit.ask(close_session, data=CloseSession(session=visit.session))
    return Gone("/login", (session_cookie(""),))


def own_path(there: str) -> str:
    """Give where to go on from signing in, which is nowhere else than here."""
    is_ours = there.startswith("/") and not there.startswith(("//", "/\\")) and there.isprintable()
    return there if is_ours else "/"
