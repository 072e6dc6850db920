"""Requests that may be sent again: the same under the same Idempotency-Key gets the first one's answer, and is done once.

    claim ──first──▶ do ──▶ keep the answer ──▶ commit
      └────again───▶ give the kept answer

Claim, change and answer commit together, so wherever a process dies there is either all of it or nothing. Who sends the
same meanwhile waits at the claim. A refusal undoes the claim with all else: what was refused is tried anew.

Answers may hold secrets that are kept nowhere else. So each is encrypted with what the caller's API key and a random
number give, and of that key the database has the digest alone.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import ForeignKey, LargeBinary, String, bindparam, delete, exc, func, select, tuple_
from sqlalchemy.orm import Mapped, Session, mapped_column

from cumulet.db import Row, change_rows, dialect_of, fetch_columns, insert_into, rows_of, was_forgotten
from cumulet.errors import AlreadyExists, Exhausted, Unavailable, error_info
from cumulet.projects import digest_of

HEADER: Final = "Idempotency-Key"
LONGEST_KEY: Final = 255
KEPT_FOR: Final = timedelta(days=1)
MOST_KEPT: Final = 10_000
"""Of one caller: seven changes a minute, all day."""
PATIENCE_MS: Final = 10_000
"""How long one waits for the first who sent the same; of SQLite's writers all wait so long."""
NONCE: Final = bytes(12)
"""Always the same one: each answer has a key of its own."""
STILL_LOCKED: Final = "55P03"
"""PostgreSQL: a lock was not to be had in time."""


class AnsweredRequest(Row):
    """A change that was made for a request with an Idempotency-Key, and what was answered."""

    __tablename__ = "answered_request"

    key_digest: Mapped[bytes] = mapped_column(
        LargeBinary(32), ForeignKey("api_key.digest", ondelete="CASCADE"), primary_key=True
    )
    """Of the caller's API key."""
    idempotency_key: Mapped[str] = mapped_column(String(LONGEST_KEY), primary_key=True)
    operation: Mapped[str]
    content: Mapped[bytes] = mapped_column(LargeBinary(32))
    """The digest of what was asked."""
    at: Mapped[datetime] = mapped_column(index=True)
    salt: Mapped[bytes] = mapped_column(LargeBinary(16))
    answer: Mapped[bytes] = mapped_column(LargeBinary)
    """Encrypted; empty only within the transaction that makes it."""


ROWS: Final = rows_of(AnsweredRequest)
_THIS: Final = (ROWS.c.key_digest == bindparam("caller"), ROWS.c.idempotency_key == bindparam("key"))
_OTHER: Final = ROWS.alias()
OTHERS: Final = (
    select(func.count())
    .where(
        _OTHER.c.key_digest == bindparam("caller"),
        _OTHER.c.idempotency_key != bindparam("key"),  # SQLite counts the new one too, PostgreSQL does not
    )
    .scalar_subquery()
)
CLAIM: Final = {
    dialect: insert_into(dialect, AnsweredRequest)
    .values(key_digest=bindparam("caller"), idempotency_key=bindparam("key"), answer=b"")
    .on_conflict_do_nothing()
    .returning(OTHERS)
    for dialect in ("sqlite", "postgresql")
}
BE_PATIENT: Final = select(func.set_config("lock_timeout", str(PATIENCE_MS), True))  # noqa: FBT003 - SQL's: until the end
KEPT: Final = select(ROWS.c.operation, ROWS.c.content, ROWS.c.salt, ROWS.c.answer).where(*_THIS)
KEEP: Final = ROWS.update().where(*_THIS).values(answer=bindparam("given"))


@dataclass(frozen=True, slots=True)
class Repeatable:
    """A request that its caller may send again."""

    api_key: str
    idempotency_key: str
    operation: str
    content: bytes

    @property
    def key_digest(self) -> bytes:
        """What is kept of its caller's API key."""
        return digest_of(self.api_key)

    def once(self, db: Session, do: Callable[[], object], *, now: datetime) -> msgspec.Raw:
        """Do it, or give the answer that it was given; AlreadyExists when the key was another request's."""
        salt = secrets.token_bytes(16)
        if not self._claim(db, salt, now=now):
            return msgspec.Raw(self._kept(db))
        answer = msgspec.json.encode(do())
        if not was_forgotten(db):  # what only looks undoes all it did, and is looked at anew
            given = cipher(self.api_key, salt).encrypt(NONCE, answer, None)
            change_rows(db, KEEP, caller=self.key_digest, key=self.idempotency_key, given=given)
        return msgspec.Raw(answer)

    def _claim(self, db: Session, salt: bytes, *, now: datetime) -> bool:
        """Whether it is the first; else the first has been answered by now."""
        dialect = dialect_of(db)
        if dialect == "postgresql":
            fetch_columns(db, BE_PATIENT)
        try:
            claimed = fetch_columns(
                db,
                CLAIM[dialect],
                caller=self.key_digest,
                key=self.idempotency_key,
                operation=self.operation,
                content=self.content,
                at=now,
                salt=salt,
            )
        except exc.OperationalError as problem:
            if getattr(problem.orig, "sqlstate", None) != STILL_LOCKED:
                raise
            raise Unavailable(
                f"the first request with this {HEADER} is still in progress; repeat it in a moment"
            ) from problem
        if claimed and claimed[0][0] >= MOST_KEPT:
            raise Exhausted(
                f"the answers to {MOST_KEPT} requests with an {HEADER} are kept for this API key, the most that "
                "there may be: each goes after a day; use another API key, or leave the header out"
            )
        return bool(claimed)

    def _kept(self, db: Session) -> bytes:
        ((operation, content, salt, answer),) = fetch_columns(
            db, KEPT, caller=self.key_digest, key=self.idempotency_key
        )
        if (operation, content) != (self.operation, self.content):
            raise AlreadyExists(
                f"{HEADER}: {self.idempotency_key!r} was sent with another request, a {operation}; "
                "give each request a key of its own",
                error_info("IDEMPOTENCY_KEY_REUSED"),
            )
        return cipher(self.api_key, salt).decrypt(NONCE, answer, None)


def content_of(arguments: dict[str, object]) -> bytes:
    """Tell what is asked from all else by a digest, however it was written."""
    return hashlib.sha256(msgspec.msgpack.encode(arguments, order="deterministic")).digest()


def cipher(api_key: str, salt: bytes) -> AESGCM:
    """Make what encrypts and decrypts one answer, and no other."""
    return AESGCM(hmac.digest(api_key.encode(), salt, "sha256"))


def forget(db: Session, *, before: datetime, most: int) -> int:
    """Remove the oldest answers from before an instant; answers how many went, `most` at the most."""
    old = (
        select(AnsweredRequest.key_digest, AnsweredRequest.idempotency_key)
        .where(AnsweredRequest.at < before)
        .order_by(AnsweredRequest.at)
        .limit(most)
    )
    these = tuple_(AnsweredRequest.key_digest, AnsweredRequest.idempotency_key).in_(old)
    return len(db.scalars(delete(AnsweredRequest).where(these).returning(AnsweredRequest.at)).all())
