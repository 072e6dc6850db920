"""Coming in, and going: signing in and out, and the first page."""

from __future__ import annotations

from urllib.parse import quote

from cumulet.errors import Forbidden
from cumulet.projects.session_operations import close_session, open_session
from cumulet.projects.session_wire import CloseSession, OpenSession
from cumulet.web.door import refuse_plain, session_cookie
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
    plain = ""
    try:
        refuse_plain(visit.origin)
    except Forbidden as refused:
        plain = refused.message
    return visit.show("login.html", plain=plain)


@form("/login", on=login, is_open=True)
def sign_in(visit: Visit) -> Gone:
    """Exchange a ticket or a key for a session."""
    refuse_plain(visit.origin)
    data = OpenSession(ticket=visit.given("ticket"), api_key=visit.given("apiKey"))
    opened = visit.ask(open_session, data=data)
    return Gone(own_path(visit.given("next")), (session_cookie(opened.session),))


@form("/logout", on=login)
def sign_out(visit: Visit) -> Gone:
    """End the session."""
    visit.ask(close_session, data=CloseSession(session=visit.session))
    return Gone("/login", (session_cookie(""),))


def own_path(there: str) -> str:
    """Give where to go on from signing in, which is nowhere else than here."""
    is_ours = there.startswith("/") and not there.startswith(("//", "/\\")) and there.isprintable()
    return there if is_ours else "/"
