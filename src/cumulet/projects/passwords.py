"""Passwords, and codes of an authenticator: kept so that who reads the database cannot sign in, and checked so that time tells nothing.

A password is hashed by Argon2id, which is slow and takes memory on purpose: that is done before the one writer's lock is
taken, and for two at a time, so that nobody can fill the server's memory with it.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from hmac import compare_digest
from typing import Final
from uuid import UUID

import pyotp
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import ARGON2_VERSION
from sqlalchemy import select
from sqlalchemy.orm import Session

from cumulet.errors import Forbidden, Invalid
from cumulet.projects.model import Password, User
from cumulet.sealing import Seal, Unopenable

SHORTEST: Final = 12
LONGEST: Final = 200
FEWEST_DIFFERENT: Final = 5
RECOVERY_CODES: Final = 10
STEP_SECONDS: Final = 30
SECRET_LENGTH: Final = 32
"""Letters of an authenticator's secret: 160 bits."""
BASE32: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
WRONG: Final = "the e-mail address, the password or the code is wrong"
"""All that is said, whichever it is."""


def nobodys_hash(hasher: PasswordHasher) -> str:
    """Give a hash that no password has: made in no time, and tried in as long as any of that hasher's."""
    salt, digest = (
        b64encode(secrets.token_bytes(length)).decode().rstrip("=")
        for length in (hasher.salt_len, hasher.hash_len)
    )
    costs = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v={ARGON2_VERSION}${costs}${salt}${digest}"


_hasher: Final = PasswordHasher()
_turns: Final = threading.BoundedSemaphore(2)
_NOBODYS: Final = nobodys_hash(_hasher)
"""What is tried where there is no password, so that it takes as long."""


@dataclass(frozen=True, slots=True)
class Hashes:
    """What was found out about passwords before anything was locked."""

    right: str = ""
    """The hash that the given one fits; empty when it is wrong."""
    new: str = ""
    """The hash of a new one; empty when it is none that can be."""


def is_acceptable(password: str) -> bool:
    """Whether a password can be one."""
    return SHORTEST <= len(password) <= LONGEST and len(set(password)) >= FEWEST_DIFFERENT


def refuse_weak(field: str, password: str, email: str) -> None:
    """Return if a password can be a user's; Invalid."""
    if not is_acceptable(password) or password.lower() == email:
        raise Invalid.field(
            field,
            "(not shown)",
            f"{SHORTEST} to {LONGEST} characters, of which {FEWEST_DIFFERENT} differ, and not the e-mail address",
        )


def hash_new(password: str) -> str:
    """Hash a password that is to be set; empty when it cannot be one."""
    if not is_acceptable(password):
        return ""
    with _turns:
        return _hasher.hash(password)


def fitting(stored: str | None, password: str) -> str:
    """Give the stored hash if the password is that; empty otherwise, after as long."""
    with _turns:
        try:
            _hasher.verify(stored or _NOBODYS, password[: LONGEST + 1])
        except (VerificationError, InvalidHashError):
            return ""
    return stored or ""


def stored_hash(db: Session, user_id: UUID) -> str | None:
    """Give the hash of a user's password; None without one."""
    return db.scalar(select(Password.hash).where(Password.user_id == user_id))


def hash_of_account(db: Session, email: str) -> str | None:
    """Give the hash of the password of an e-mail address; None without one."""
    theirs = select(Password.hash).join(User, User.id == Password.user_id)
    return db.scalar(theirs.where(User.email == email.lower()))


def lock_password(db: Session, user_id: UUID) -> Password | None:
    """Give a user's password, and keep others from changing it until the transaction ends."""
    return db.get(Password, user_id, with_for_update=True, populate_existing=True)


def set_password(db: Session, user: User, hashed: str, now: datetime) -> None:
    """Set a user's password to what was hashed before, with no second factor."""
    password = lock_password(db, user.id)
    if password is None:
        db.add(Password(user_id=user.id, hash=hashed, set_at=now, totp_secret="", totp_step=0, recovery=[]))
    else:
        password.hash, password.set_at = hashed, now


def take_code(password: Password, code: str, now: datetime, seal: Seal) -> bool:
    """Use a code of the authenticator up, or a recovery code; False when it is none, or was used."""
    if not password.totp_secret:
        return True
    step = step_of(open_secret(password, seal), code, now)
    if step > password.totp_step:
        password.totp_step = step
        return True
    digest = recovery_digest(code)
    if digest in password.recovery:
        password.recovery = [one for one in password.recovery if one != digest]
        return True
    return False


def open_secret(password: Password, seal: Seal) -> str:
    """Read an authenticator's secret; one that no key opens is nobody's, so that recovery codes alone are right."""
    try:
        return seal.opened(password.totp_secret.encode()).decode()
    except Unopenable:
        return pyotp.random_base32()


def seal_secrets(db: Session, seal: Seal) -> None:
    """Seal the authenticators' secrets with the newest key; what no key opens stays as it is."""
    for password in db.scalars(select(Password).where(Password.totp_secret != "").with_for_update()):
        is_sealed = len(password.totp_secret) > SECRET_LENGTH
        with suppress(Unopenable):
            plain = seal.opened(password.totp_secret.encode()) if is_sealed else password.totp_secret.encode()
            password.totp_secret = seal.closed(plain).decode()


def step_of(secret: str, code: str, now: datetime) -> int:
    """Give the half minute that a code is of, which may be the one before or after this; 0 for none."""
    this, totp = int(now.timestamp()) // STEP_SECONDS, pyotp.TOTP(secret)
    given = "".join(code.split()).encode()
    found = 0
    for step in (this - 1, this, this + 1):
        if compare_digest(totp.generate_otp(step).encode(), given):
            found = step
    return found


def refuse_unfit_secret(secret: str) -> None:
    """Return if an authenticator's secret is as long as ours are; Invalid."""
    if len(secret) != SECRET_LENGTH or not set(secret) <= BASE32:
        raise Invalid.field("totpSecret", "(not shown)", f"{SECRET_LENGTH} random letters A-Z and digits 2-7")


def new_recovery_codes() -> list[str]:
    """Make codes of 80 bits, each good once."""
    texts = (pyotp.random_base32(32)[:16].lower() for _ in range(RECOVERY_CODES))
    return ["-".join(text[at : at + 4] for at in range(0, 16, 4)) for text in texts]


def recovery_digest(code: str) -> str:
    """What is kept of a recovery code."""
    return hashlib.sha256("".join(code.lower().replace("-", "").split()).encode()).hexdigest()


def refuse_wrong(password: Password | None, right: str) -> Password:
    """Give a password if it is still the one that was found to fit; Forbidden."""
    if password is None or not right or password.hash != right:
        raise Forbidden("the current password is wrong")
    return password
