"""Signing in with the installation's identity provider. The API's verbs.

who was invited, by the e-mail address that the provider has verified ──first sign-in──▶ bound to the provider's own id of them
"""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from cumulet import journal
from cumulet.errors import Forbidden, NotFound
from cumulet.events import EventName
from cumulet.operation import Access, operation
from cumulet.projects.identity_provider import Attempt, Identity, IdentityProvider
from cumulet.projects.invitations import find_or_add_user
from cumulet.projects.model import (
    ApiKey,
    Invitation,
    LoginTicket,
    Password,
    SingleSignOn,
    SshKey,
    User,
    UserState,
)
from cumulet.projects.session_operations import open_for
from cumulet.projects.session_wire import OpenedSession
from cumulet.projects.sso_wire import BegunSso, FinishSso, WaysIn
from cumulet.projects.user_operations import welcome

WITH_PROVIDER: Final = "the identity provider"
"""What a session is opened with that was with it; no key can be called so."""


def identify(*, provider: IdentityProvider | None, origin: str, data: FinishSso, **_: object) -> Identity:
    """Ask the provider whom a code stands for; Forbidden when it came back to another browser."""
    attempt = Attempt(data.secret)
    if not data.secret or not secrets.compare_digest(attempt.state.encode(), data.state.encode()):
        raise Forbidden("this sign-in was not begun in this browser: start again from the sign-in page")
    return _there(provider).identify(data.code, attempt, redirect_uri(origin))


def redirect_uri(origin: str) -> str:
    """Say where the provider sends browsers back to."""
    return f"{origin}/login/sso/done"


def _there(provider: IdentityProvider | None) -> IdentityProvider:
    if provider is None:
        raise NotFound("this cloud has no identity provider: sign in with a password or an API key")
    return provider


@operation("GET /v1/sessions/ways", access=Access.OPEN)
def get_ways_in(provider: IdentityProvider | None) -> WaysIn:
    """Tell how browsers can sign in here besides by password and API key."""
    return WaysIn(identity_provider=provider.settings.name if provider else "")


@operation("GET /v1/sessions/sso", access=Access.OPEN)
def begin_sso(provider: IdentityProvider | None, origin: str) -> BegunSso:
    """Begin to sign a browser in with the identity provider: it goes to `url`, and keeps the secret meanwhile."""
    secret = secrets.token_urlsafe(32)
    return BegunSso(url=_there(provider).address(Attempt(secret), redirect_uri(origin)), secret=secret)


@operation("POST /v1/sessions/sso", access=Access.OPEN, prepare=identify)
def finish_sso(
    db: Session,
    now: datetime,
    provider: IdentityProvider,
    prepared: Identity,
    *,
    data: FinishSso,  # noqa: ARG001 - `identify` reads it
) -> OpenedSession:
    """Sign a browser in whom the identity provider vouches for."""
    user = _bound(db, prepared) or _bind(db, prepared, provider, now)
    if user.state is UserState.SUSPENDED:
        raise Forbidden("you are suspended; an operator can resume you")
    if user.state is not UserState.ACTIVE:
        db.execute(delete(Invitation).where(Invitation.user_id == user.id))
        welcome(db, user, prepared.given_name[:100], prepared.family_name[:100], now)
    return open_for(db, user, WITH_PROVIDER, now)


def _bound(db: Session, identity: Identity) -> User | None:
    """Find whom the provider has vouched for before."""
    this = (SingleSignOn.issuer == identity.iss, SingleSignOn.subject == identity.sub)
    return db.scalar(select(User).join(SingleSignOn, SingleSignOn.user_id == User.id).where(*this))


def _bind(db: Session, identity: Identity, provider: IdentityProvider, now: datetime) -> User:
    """Find who was invited by the address that the provider has verified, or take them in where that is set; Forbidden."""
    email = identity.verified_email
    if not email:
        raise Forbidden("the identity provider has not verified an e-mail address of yours")
    user = db.scalar(select(User).where(User.email == email).with_for_update())
    if user is None or user.state is UserState.REMOVED:
        if not provider.settings.provisions:
            raise Forbidden(f"nobody has invited {email} to this cloud: ask one of its operators")
        user = find_or_add_user(db, email)
    if db.get(SingleSignOn, user.id) is not None:
        raise Forbidden(
            f"{email} is somebody else to the identity provider now than before: an operator can reset them"
        )
    if user.state is UserState.ACTIVE and not user.vouched_for:
        _shut_out_others(db, user, now)
    user.vouched_for = True
    db.add(SingleSignOn(user_id=user.id, issuer=identity.iss, subject=identity.sub))
    db.flush()
    return user


def _shut_out_others(db: Session, user: User, now: datetime) -> None:
    """End all that lets in whoever joined under an address which nobody had vouched for until now."""
    for theirs in (ApiKey, SshKey, Invitation, Password, LoginTicket):
        db.execute(delete(theirs).where(theirs.user_id == user.id))
    text = f"{user.email} is known to the identity provider: the keys and the password from before are ended"
    journal.log_event(
        db, EventName.USER_RESET, at=now, project_id="", subject_id=user.id, text=text, actor=user.email
    )
