"""Sessions: a browser signed in. The API's verbs.

    API key ──▶ ticket, good once for five minutes ──▶ session, its secret in a cookie
        └──────────── pasted into the page ───────────────┘

A session is a key that a browser holds: it lets its user do what the key does that it was opened with, ends with that
one, after a week, or when it was not used for a while. Its secret is no API key: one that is shown as such opens nothing.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from cumulet import journal
from cumulet.errors import Forbidden, NotFound, Unauthenticated
from cumulet.events import EventName
from cumulet.operation import Access, Caller, operation
from cumulet.projects.access import SESSION_IDLE, digest_of, find_caller
from cumulet.projects.model import ApiKey, LoginTicket, User
from cumulet.projects.session_wire import (
    CloseSession,
    ListSessionsResponse,
    LoginTicketAnswer,
    OpenedSession,
    OpenSession,
    SessionAnswer,
)
from cumulet.wire import Empty

TICKET_LASTS: Final = timedelta(minutes=5)
SESSION_LASTS: Final = timedelta(days=7)
MOST_OF_ONE: Final = 50
"""Sessions of one user; the oldest ends when there is one more."""


@operation("POST /v1/sessions/tickets", access=Access.KEY)
def create_login_ticket(db: Session, caller: Caller, now: datetime, origin: str) -> LoginTicketAnswer:
    """Make a ticket that signs a browser in as the caller, once, within five minutes."""
    db.execute(delete(LoginTicket).where(LoginTicket.expires_at < now))
    ticket, expires_at = secrets.token_urlsafe(32), now + TICKET_LASTS
    db.add(
        LoginTicket(
            digest=digest_of(ticket), user_id=caller.user_id, key_id=caller.key_id, expires_at=expires_at
        )
    )
    return LoginTicketAnswer(ticket=ticket, url=f"{origin}/login#{ticket}", expire_time=expires_at)


@operation("POST /v1/sessions", access=Access.OPEN)
def open_session(db: Session, now: datetime, *, data: OpenSession) -> OpenedSession:
    """Sign a browser in, with a ticket or with an API key."""
    digest = _take_ticket(db, data.ticket, now) if data.ticket else digest_of(data.api_key)
    caller = find_caller(db, digest, now=now)
    with_key = db.get_one(ApiKey, (caller.user_id, caller.key_id))
    if with_key.is_session and not data.ticket:
        raise Unauthenticated("the secret of a session is no API key: sign in with one")
    secret = secrets.token_urlsafe(32)
    session = _new_session(with_key.user_id, with_key.opened_with or with_key.id, secret, now)
    session.project_id, session.reads_only = with_key.project_id, with_key.reads_only
    expires_at = min(now + SESSION_LASTS, with_key.expires_at or now + SESSION_LASTS)
    return _add(db, session, secret, caller.email, until=expires_at, named=f"the key {session.opened_with}")


def open_for(db: Session, user: User, opened_with: str, now: datetime) -> OpenedSession:
    """Sign a browser in as a user who has proven who they are without a key."""
    secret = secrets.token_urlsafe(32)
    session = _new_session(user.id, opened_with, secret, now)
    return _add(db, session, secret, user.email, until=now + SESSION_LASTS, named=opened_with)


@operation("GET /v1/sessions", access=Access.USER)
def list_sessions(db: Session, caller: Caller, *, now: datetime) -> ListSessionsResponse:
    """List the browsers that are signed in as the caller, newest first."""
    mine = select(ApiKey).where(ApiKey.user_id == caller.user_id, ApiKey.is_session, ApiKey.expires_at > now)
    rows = db.scalars(mine.order_by(ApiKey.created_at.desc(), ApiKey.id))
    return ListSessionsResponse(
        sessions=[session_view(one, caller) for one in rows if (one.last_used_at or now) + SESSION_IDLE > now]
    )


@operation("DELETE /v1/sessions/{id}", access=Access.USER)
def end_session(db: Session, caller: Caller, now: datetime, *, id: str) -> Empty:
    """Sign one of those browsers out, at once."""
    mine = select(ApiKey).where(ApiKey.user_id == caller.user_id, ApiKey.is_session, ApiKey.id == id)
    session = db.scalar(mine)
    if session is None:
        raise NotFound.named("session", id)
    _end(db, session, caller.email, now=now)
    return Empty()


@operation("POST /v1/sessions/close", access=Access.OPEN)
def close_session(db: Session, now: datetime, *, data: CloseSession) -> Empty:
    """Sign a browser out that shows the secret of its session; one that is out already is fine."""
    digest = digest_of(session_key(data.session))
    session = db.scalar(select(ApiKey).where(ApiKey.is_session, ApiKey.digest == digest))
    if session is not None:
        try:
            caller = find_caller(db, digest, now=now)
        except Unauthenticated:
            db.delete(session)
        else:
            _end(db, session, caller.email, now=now)
    return Empty()


def session_key(secret: str) -> str:
    """Give what a session's secret is among keys; with a space in it, no header can hold it."""
    return f"session {secret}"


def session_view(row: ApiKey, caller: Caller) -> SessionAnswer:
    """Show a session."""
    return SessionAnswer(
        id=row.id,
        opened_with=row.opened_with or "",
        create_time=row.created_at,
        last_used_time=row.last_used_at or row.created_at,
        expire_time=row.expires_at or row.created_at + SESSION_LASTS,
        current=row.digest == caller.key_digest,
    )


def _new_session(user_id: UUID, opened_with: str, secret: str, now: datetime) -> ApiKey:
    """Make a session that lets its user do whatever they may."""
    return ApiKey(
        user_id=user_id,
        id=f"web-{secrets.token_hex(6)}",
        digest=digest_of(session_key(secret)),
        created_at=now,
        last_used_at=now,
        reads_only=False,
        is_session=True,
        opened_with=opened_with,
    )


def _add(
    db: Session, session: ApiKey, secret: str, email: str, *, until: datetime, named: str
) -> OpenedSession:
    """Open a session with what is `named`."""
    session.expires_at = until
    _make_room(db, session)
    db.add(session)
    text = f"{email} signed in at a browser, with {named}"
    _log(db, EventName.USER_SIGNED_IN, text, session, email, now=session.created_at)
    return OpenedSession(id=session.id, session=secret, expire_time=until)


def _take_ticket(db: Session, ticket: str, now: datetime) -> bytes:
    """Use a ticket up; gives the digest of the key that it was made with."""
    good = delete(LoginTicket).where(LoginTicket.digest == digest_of(ticket), LoginTicket.expires_at > now)
    taken = db.execute(good.returning(LoginTicket.user_id, LoginTicket.key_id)).one_or_none()
    digest = taken and db.scalar(
        select(ApiKey.digest).where(ApiKey.user_id == taken.user_id, ApiKey.id == taken.key_id)
    )
    if not digest:
        raise Forbidden(
            "this link was used already, or is older than five minutes; `cumulet web` makes another"
        )
    return digest


def _make_room(db: Session, session: ApiKey) -> None:
    """Forget the user's sessions that have ended, and end the oldest where they have too many."""
    theirs = select(ApiKey).where(ApiKey.user_id == session.user_id, ApiKey.is_session)
    rows = db.scalars(theirs.order_by(ApiKey.created_at.desc(), ApiKey.id)).all()
    ended = [one for one in rows if one.expires_at is not None and one.expires_at <= session.created_at]
    good = [one for one in rows if one not in ended]
    for one in (*ended, *good[MOST_OF_ONE - 1 :]):
        db.delete(one)


def _end(db: Session, session: ApiKey, actor: str, *, now: datetime) -> None:
    db.delete(session)
    _log(db, EventName.USER_SIGNED_OUT, f"{actor} signed out at a browser", session, actor, now=now)


def _log(db: Session, event: EventName, text: str, session: ApiKey, actor: str, *, now: datetime) -> None:
    journal.log_event(db, event, at=now, project_id="", subject_id=session.user_id, text=text, actor=actor)
