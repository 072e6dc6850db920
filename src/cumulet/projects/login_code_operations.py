"""Signing a command line in by a browser: a code that only whoever asked for it can use. The API's verbs.

command ──challenge──▶ page, signed in ──"yes"──▶ code ──by loopback──▶ command ──code, verifier──▶ API key
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from datetime import datetime
from typing import Final

from sqlalchemy import delete
from sqlalchemy.orm import Session

from cumulet.errors import Forbidden, Invalid
from cumulet.limits import Limits
from cumulet.operation import Access, Caller, operation
from cumulet.projects.access import digest_of, find_caller
from cumulet.projects.key_operations import generate_api_key
from cumulet.projects.model import ApiKey, LoginTicket
from cumulet.projects.session_operations import TICKET_LASTS
from cumulet.projects.session_wire import LoginCode, NewLoginCode, RedeemLoginCode
from cumulet.projects.wire import ApiKeyAnswer, GenerateApiKey

CHALLENGE_LENGTH: Final = 43
"""Of a SHA-256 in base64 without its end."""


@operation("POST /v1/sessions/codes", access=Access.USER)
def create_login_code(db: Session, caller: Caller, now: datetime, *, data: NewLoginCode) -> LoginCode:
    """Make a code for whoever knows the verifier of a challenge: they get an API key of the caller for it, once, within five minutes."""
    if len(data.challenge) != CHALLENGE_LENGTH:
        raise Invalid.field(
            "challenge", data.challenge, "the SHA-256 of a verifier in base64url, without '='"
        )
    db.execute(delete(LoginTicket).where(LoginTicket.expires_at < now))
    code, expires_at = secrets.token_urlsafe(32), now + TICKET_LASTS
    db.add(
        LoginTicket(
            digest=digest_of(_bound(code, data.challenge)),
            user_id=caller.user_id,
            key_id=caller.key_id,
            expires_at=expires_at,
        )
    )
    return LoginCode(code=code, expire_time=expires_at)


@operation("POST /v1/sessions/codes/redeem", access=Access.OPEN)
def redeem_login_code(db: Session, now: datetime, limits: Limits, *, data: RedeemLoginCode) -> ApiKeyAnswer:
    """Exchange a code, and the verifier of the challenge that it was made for, for an API key; only this answer contains it."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(data.verifier.encode()).digest()).decode().rstrip("=")
    good = delete(LoginTicket).where(
        LoginTicket.digest == digest_of(_bound(data.code, challenge)), LoginTicket.expires_at > now
    )
    taken = db.execute(good.returning(LoginTicket.user_id, LoginTicket.key_id)).one_or_none()
    by = db.get(ApiKey, (taken.user_id, taken.key_id)) if taken else None
    if by is None:
        raise Forbidden("this code was used already, is older than five minutes, or is for another command")
    caller = find_caller(db, by.digest, now=now)
    until = None if by.is_session else by.expires_at
    asked = GenerateApiKey(apikey_id=f"login-{secrets.token_hex(4)}", expire_time=until)
    return generate_api_key(db, caller, now, limits, data=asked)


def _bound(code: str, challenge: str) -> str:
    """Name a code with what it is for; with a space in it, no ticket that opens a session is called so."""
    return f"{code} {challenge}"
