"""Sessions of browsers as JSON; no version of the contract has them."""

from __future__ import annotations

from datetime import datetime

from cumulet.wire import Wire


class LoginTicketAnswer(Wire):
    """What signs a browser in, once: `url` is the page that takes it, with the ticket in its fragment."""

    ticket: str
    url: str
    expire_time: datetime


class NewLoginCode(Wire):
    """For which command: the SHA-256 of what it alone knows (PKCE, S256)."""

    challenge: str


class LoginCode(Wire):
    """What that command gets an API key for, once."""

    code: str
    expire_time: datetime


class RedeemLoginCode(Wire):
    """The code, and what the command alone knows."""

    code: str
    verifier: str


class OpenSession(Wire):
    """Whose session: one of a ticket and an API key."""

    ticket: str = ""
    api_key: str = ""


class OpenedSession(Wire):
    """A session; `session` is its secret, which only this answer contains."""

    id: str
    session: str
    expire_time: datetime


class CloseSession(Wire):
    """The secret of the session that ends."""

    session: str


class SessionAnswer(Wire):
    """A browser that is signed in."""

    id: str
    opened_with: str
    """The API key that it ends with; or what else it was opened with, such as `a password`."""
    create_time: datetime
    last_used_time: datetime
    expire_time: datetime
    """At the latest; earlier when it is not used."""
    current: bool
    """It is the one that asks."""


class ListSessionsResponse(Wire):
    """The caller's sessions, newest first."""

    sessions: list[SessionAnswer]
