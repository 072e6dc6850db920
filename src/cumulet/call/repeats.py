"""Requests that may be sent again: the same under the same Idempotency-Key gets the first one's answer, and is done once.

    look ──first──▶ do ──▶ keep the answer ──▶ commit
      └───again───▶ give the kept answer

Change and answer commit together, so wherever a process dies there is either all of it or nothing. Who sends the same
meanwhile waits before the look: on SQLite, where one writes at a time, for that turn, and on PostgreSQL for a lock of that
name. Of a refusal nothing is kept: what was refused is tried anew.

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
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import (
    BigInteger,
    ForeignKey,
    LargeBinary,
    String,
    and_,
    bindparam,
    delete,
    exc,
    func,
    literal,
    select,
    tuple_,
)
from sqlalchemy import Row as FoundRow
from sqlalchemy.orm import Mapped, Session, mapped_column

from cumulet.db import Row, change_rows, dialect_of, fetch_columns, rows_of, was_forgotten
from cumulet.errors import AlreadyExists, Exhausted, Forbidden, NotFound, Unavailable, error_info
from cumulet.operation import Caller
from cumulet.projects import ApiKey, digest_of

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
    """Encrypted."""


ROWS: Final = rows_of(AnsweredRequest)
WAIT_IN_LINE: Final = select(
    func.set_config("lock_timeout", bindparam("patience_ms", type_=String), True),  # noqa: FBT003 - SQL's: until the end
    func.pg_advisory_xact_lock(bindparam("place", type_=BigInteger)),
)
_ALONE: Final = select(literal(1).label("one")).subquery()
KEPT: Final = select(
    select(func.count()).where(ROWS.c.key_digest == bindparam("caller")).scalar_subquery().label("others"),
    *(ROWS.c[name] for name in ("operation", "content", "salt", "answer")),
).select_from(
    _ALONE.outerjoin(
        ROWS, and_(ROWS.c.key_digest == bindparam("caller"), ROWS.c.idempotency_key == bindparam("key"))
    )
)
"""How many answers are kept for the caller, and which one for this request; always a row."""
KEEP: Final = ROWS.insert().from_select(
    [one.name for one in ROWS.c],
    select(*(bindparam(f"its_{one.name}", type_=one.type) for one in ROWS.c))
    .select_from(ApiKey)
    .where(ApiKey.digest == bindparam("its_key_digest")),
)
"""Of who has just ended their own API key nothing is kept."""


@dataclass(frozen=True, slots=True)
class Repeatable:
    """A request that its caller may send again."""

    api_key: str
    idempotency_key: str
    operation: str
    content: bytes

    def once(
        self,
        db: Session,
        admit: Callable[[], Caller | None],
        do: Callable[[Caller | None], object],
        *,
        now: datetime,
    ) -> tuple[msgspec.Raw, Caller | None]:
        """Do it for whom `admit` lets in, or give the answer that it was given; AlreadyExists when the key was another request's.

        One who may not do it any more may have had it done: the last that they could do there.
        """
        digest = digest_of(self.api_key)
        if dialect_of(db) == "postgresql":
            self._wait_in_line(db, digest)
        (kept,) = fetch_columns(db, KEPT, caller=digest, key=self.idempotency_key)
        was_done = kept.operation is not None
        try:
            caller = admit()
        except (NotFound, Forbidden):
            if not was_done:
                raise
            caller = None
        if was_done:
            return self._answered(kept), caller
        refuse_beyond(kept.others)
        answer = msgspec.json.encode(do(caller))
        if not was_forgotten(db):  # what only looks undoes all it did, and is looked at anew
            self._keep(db, digest, answer, now=now)
        return msgspec.Raw(answer), caller

    def _wait_in_line(self, db: Session, caller: bytes) -> None:
        """Return once nobody else works on the same, which nobody begins until the transaction ends."""
        name = hashlib.sha256(caller + self.idempotency_key.encode()).digest()
        place = int.from_bytes(name[:8], signed=True)
        try:
            fetch_columns(db, WAIT_IN_LINE, patience_ms=str(PATIENCE_MS), place=place)
        except exc.OperationalError as problem:
            if getattr(problem.orig, "sqlstate", None) != STILL_LOCKED:
                raise
            raise Unavailable(
                f"the first request with this {HEADER} is still in progress; repeat it in a moment"
            ) from problem

    def _answered(self, kept: FoundRow[*tuple[Any, ...]]) -> msgspec.Raw:
        """Give the answer that it was given."""
        if (kept.operation, kept.content) != (self.operation, self.content):
            raise AlreadyExists(
                f"{HEADER}: {self.idempotency_key!r} was sent with another request, a {kept.operation}; "
                "give each request a key of its own",
                error_info("IDEMPOTENCY_KEY_REUSED"),
            )
        return msgspec.Raw(cipher(self.api_key, kept.salt).decrypt(NONCE, kept.answer, None))

    def _keep(self, db: Session, caller: bytes, answer: bytes, *, now: datetime) -> None:
        salt = secrets.token_bytes(16)
        change_rows(
            db,
            KEEP,
            its_key_digest=caller,
            its_idempotency_key=self.idempotency_key,
            its_operation=self.operation,
            its_content=self.content,
            its_at=now,
            its_salt=salt,
            its_answer=cipher(self.api_key, salt).encrypt(NONCE, answer, None),
        )


def refuse_beyond(others: int) -> None:
    """Refuse one more answer beside so many."""
    if others >= MOST_KEPT:
        raise Exhausted(
            f"the answers to {MOST_KEPT} requests with an {HEADER} are kept for this API key, the most that "
            "there may be: each goes after a day; use another API key, or leave the header out"
        )


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
