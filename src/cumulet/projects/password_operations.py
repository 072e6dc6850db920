"""Signing in with a password, and keeping it. The API's verbs.

invitation ──join──▶ password ──sign_in (and a code)──▶ session
│ add_second_factor: codes of an authenticator, recovery codes
└ reset_user, by an operator ──▶ a code to join with anew
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from cumulet import journal
from cumulet.db import Database
from cumulet.errors import Forbidden, Refused
from cumulet.events import EventName
from cumulet.limits import Limits
from cumulet.operation import Access, Caller, operation
from cumulet.projects.access import find_user
from cumulet.projects.invitations import invite_anew, is_good, take_invitation
from cumulet.projects.model import ApiKey, LoginTicket, Password, SingleSignOn, User, UserState
from cumulet.projects.password_wire import (
    AddSecondFactor,
    ChangePassword,
    Join,
    RecoveryCodes,
    RemoveSecondFactor,
    SignIn,
    SignInAnswer,
)
from cumulet.projects.passwords import (
    WRONG,
    Hashes,
    fitting,
    hash_new,
    hash_of_account,
    lock_password,
    new_recovery_codes,
    recovery_digest,
    refuse_unfit_secret,
    refuse_weak,
    refuse_wrong,
    set_password,
    step_of,
    stored_hash,
    take_code,
)
from cumulet.projects.people_wire import InvitationAnswer
from cumulet.projects.session_operations import open_for
from cumulet.projects.session_wire import OpenedSession
from cumulet.projects.tries import Tries
from cumulet.projects.user_operations import find_user_to_change, welcome
from cumulet.sealing import Seal
from cumulet.wire import Empty

WITH_PASSWORD: Final = "a password"  # noqa: S105 - the words for it
"""What a session is opened with that was with a password; no key can be called so."""


def hash_for_sign_in(*, database: Database, tries: Tries, data: SignIn, **_: object) -> Hashes:
    """Find out whether a password is right, unless too many were not; TooFast."""
    tries.begin(data.email_address.lower())
    with database.reading() as db:
        stored = hash_of_account(db, data.email_address)
    return Hashes(right=fitting(stored, data.password))


def hash_for_joining(*, database: Database, tries: Tries, data: Join, **_: object) -> Hashes:
    """Hash the password that somebody chose who was invited: strangers have nobody compute for them."""
    with database.reading() as db:
        was_invited = is_good(db, data.code, tries.now)
    return Hashes(new=hash_new(data.password) if was_invited else "")


def hash_current(
    *,
    database: Database,
    caller: Caller,
    tries: Tries,
    data: ChangePassword | AddSecondFactor | RemoveSecondFactor,
    **_: object,
) -> Hashes:
    """Find out whether the current password is right, and hash the new one if there is one; TooFast."""
    tries.begin(caller.email)
    with database.reading() as db:
        stored = stored_hash(db, caller.user_id)
    right = fitting(stored, data.current_password) if stored else ""
    return Hashes(right, hash_new(data.password) if isinstance(data, ChangePassword) else "")


@operation("POST /v1/sessions/password", access=Access.OPEN, prepare=hash_for_sign_in)
def sign_in(
    db: Session, now: datetime, tries: Tries, seal: Seal, prepared: Hashes, *, data: SignIn
) -> OpenedSession:
    """Sign a browser in with an e-mail address and a password, and a code where the user has a second factor."""
    user = db.scalar(select(User).where(User.email == data.email_address.lower()))
    password = lock_password(db, user.id) if user else None
    is_right = bool(prepared.right) and password is not None and password.hash == prepared.right
    if user is None or password is None or not is_right or not take_code(password, data.code, now, seal):
        tries.note_wrong()
        raise Forbidden(WRONG)
    if user.state is not UserState.ACTIVE:
        raise Forbidden("you are suspended; an operator can resume you")
    return open_for(db, user, WITH_PASSWORD, now)


@operation("POST /v1/invitations/join", access=Access.OPEN, prepare=hash_for_joining)
def join(db: Session, now: datetime, prepared: Hashes, *, data: Join) -> OpenedSession:
    """Become a user by the code of an invitation, with a password, and sign a browser in."""
    user = take_invitation(db, data.code, now)
    refuse_weak("password", data.password, user.email)
    if user.state is not UserState.ACTIVE:
        welcome(db, user, data.first_name, data.last_name, now)
    set_password(db, user, prepared.new, now)
    _log(db, EventName.USER_SET_PASSWORD, user, f"{user.email} set a password", user.email, now)
    return open_for(db, user, WITH_PASSWORD, now)


@operation("GET /v1/auth/sign-in", access=Access.USER)
def get_sign_in(db: Session, caller: Caller) -> SignInAnswer:
    """Show how the caller can sign in at a browser, other than by an API key."""
    password = db.get(Password, caller.user_id)
    if password is None:
        return SignInAnswer(has_password=False, has_second_factor=False, recovery_codes_left=0, set_time=None)
    return SignInAnswer(
        has_password=True,
        has_second_factor=bool(password.totp_secret),
        recovery_codes_left=len(password.recovery),
        set_time=password.set_at,
    )


@operation("POST /v1/auth/password", access=Access.USER, prepare=hash_current)
def change_password(
    db: Session, caller: Caller, now: datetime, tries: Tries, prepared: Hashes, *, data: ChangePassword
) -> Empty:
    """Set the caller's password; all other browsers are signed out. API keys stay."""
    user = find_user(db, caller.user_id)
    if lock_password(db, user.id) is not None:
        _refuse_wrong(db, caller, tries, prepared)
    refuse_weak("password", data.password, user.email)
    set_password(db, user, prepared.new, now)
    _end_sessions(db, user, besides=caller.key_digest)
    _log(db, EventName.USER_SET_PASSWORD, user, f"{user.email} set a password", user.email, now)
    return Empty()


@operation("POST /v1/auth/second-factor", access=Access.USER, prepare=hash_current)
def add_second_factor(
    db: Session,
    caller: Caller,
    now: datetime,
    tries: Tries,
    seal: Seal,
    prepared: Hashes,
    *,
    data: AddSecondFactor,
) -> RecoveryCodes:
    """Ask for a code of an authenticator at each sign-in with the password from now on; an earlier one counts no more."""
    password = _refuse_wrong(db, caller, tries, prepared)
    refuse_unfit_secret(data.totp_secret)
    step = step_of(data.totp_secret, data.code, now)
    if not step:
        raise Forbidden("the code is not one of that authenticator now: is its clock right?")
    codes = new_recovery_codes()
    password.totp_secret, password.totp_step = seal.closed(data.totp_secret.encode()).decode(), step
    password.recovery = [recovery_digest(one) for one in codes]
    user = find_user(db, caller.user_id)
    text = f"{user.email} added a second factor"
    _log(db, EventName.USER_ADDED_SECOND_FACTOR, user, text, user.email, now)
    return RecoveryCodes(recovery_codes=codes)


@operation("POST /v1/auth/second-factor/remove", access=Access.USER, prepare=hash_current)
def remove_second_factor(
    db: Session,
    caller: Caller,
    now: datetime,
    tries: Tries,
    prepared: Hashes,
    *,
    data: RemoveSecondFactor,  # noqa: ARG001 - `hash_current` reads it
) -> Empty:
    """Ask for no code any more."""
    password = _refuse_wrong(db, caller, tries, prepared)
    password.totp_secret, password.totp_step, password.recovery = "", 0, []
    user = find_user(db, caller.user_id)
    text = f"{user.email} removed their second factor"
    _log(db, EventName.USER_REMOVED_SECOND_FACTOR, user, text, user.email, now)
    return Empty()


@operation("POST /v1/users/{id}/reset", access=Access.OPERATOR)
def reset_user(
    db: Session, caller: Caller, now: datetime, limits: Limits, origin: str, *, id: str
) -> InvitationAnswer:
    """Take a user's password and second factor, and sign their browsers out; the answer has a code to set a password anew.

    Their API keys stay; the identity provider's next word for their e-mail address counts. Only for operators.
    """
    user = find_user_to_change(db, id)
    if user.state is not UserState.ACTIVE:
        raise Refused(
            f"{user.email} is {user.state.value}: invite or resume them",
            reason="USER_NOT_ACTIVE",
            subject=user.email,
        )
    for way in (Password, SingleSignOn):
        db.execute(delete(way).where(way.user_id == user.id))
    _end_sessions(db, user)
    _log(db, EventName.USER_RESET, user, f"{caller.email} reset how {user.email} signs in", caller.email, now)
    return invite_anew(db, caller, user, now, limits, origin)


def _refuse_wrong(db: Session, caller: Caller, tries: Tries, prepared: Hashes) -> Password:
    """Give the caller's password, locked, if they know it; Forbidden."""
    try:
        return refuse_wrong(lock_password(db, caller.user_id), prepared.right)
    except Forbidden:
        tries.note_wrong()
        raise


def _end_sessions(db: Session, user: User, *, besides: bytes = b"") -> None:
    """Sign a user's browsers out, but for one, and end the tickets for more."""
    db.execute(delete(ApiKey).where(ApiKey.user_id == user.id, ApiKey.is_session, ApiKey.digest != besides))
    db.execute(delete(LoginTicket).where(LoginTicket.user_id == user.id))


def _log(db: Session, event: EventName, user: User, text: str, actor: str, now: datetime) -> None:
    journal.log_event(db, event, at=now, project_id="", subject_id=user.id, text=text, actor=actor)
