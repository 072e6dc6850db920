"""The browsers that somebody is signed in at, each of which they can sign out from here."""

from __future__ import annotations

from cumulet.projects.session_operations import end_session, list_sessions
from cumulet.web.site import form, page
from cumulet.web.visit import Gone, Shown, Visit


@page("/sessions")
def sessions_page(visit: Visit) -> Shown:
    """List them."""
    return visit.show("sessions.html", sessions=visit.ask(list_sessions).sessions)


@form("/sessions/{id:str}/end", on=sessions_page)
def end(visit: Visit) -> Gone:
    """Sign one of them out."""
    visit.ask(end_session, id=visit.names["id"])
    return Gone("/sessions")
