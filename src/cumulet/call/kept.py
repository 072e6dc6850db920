"""Answers kept for as long as nothing is committed: whoever asks the same again gets the same, and never what is old.

An answer that depends on nothing but the database is right until the next commit, whoever makes it. So it is kept
under the version of the database that was current *before* its snapshot was opened, and given only while that version
still is: a commit in between makes a newer one, under which nothing is found. The caller's key is part of what is
asked, so nobody gets what was answered to another; a key's revocation is a commit like any other, and when it expires
what was answered to it ends too.

Who asks while the same is being read waits, and shares with all that wait the next reading, which begins after the last
of them came: so much is committed meanwhile that each would read for themselves otherwise.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

from cumulet.call.reachable import reachable
from cumulet.db import Database
from cumulet.errors import Unavailable
from cumulet.permission import Caller

T = TypeVar("T")
MOST_BYTES: Final = 16 * 1024 * 1024
"""Of all answers together; what was asked longest ago goes first."""
OVERHEAD_BYTES: Final = 512
"""What an answer takes beside its own bytes."""


def question(*asked: object) -> bytes:
    """Name what was asked, and with which key: as a digest, which is short and tells no key."""
    return hashlib.sha256(msgspec.msgpack.encode(asked)).digest()


def utc_now() -> datetime:
    """Read the clock."""
    return datetime.now(UTC)


class Answer(NamedTuple, Generic[T]):
    """An answer as its caller takes it, and to which key."""

    content: T
    size: int
    """In bytes, as it is sent."""
    key_digest: bytes = b""
    until: datetime | None = None
    """When that key expires."""

    @classmethod
    def to(cls, caller: Caller | None, content: T, *, size: int) -> Answer[T]:
        """Give what somebody was answered, or what anybody is."""
        if caller is None:
            return cls(content, size)
        return cls(content, size, caller.key_digest, caller.key_expires_at)


@dataclass(slots=True)
class Turn(Generic[T]):
    """One question that is being answered, for all who wait for that."""

    taken: threading.Lock = field(default_factory=threading.Lock)
    callers: int = 0
    began: int = 0
    """When the snapshot of what follows was about to be opened; 0 when there is nothing to share."""
    answer: Answer[T] | None = None
    trouble: str = ""
    """Why there is no answer: those who wait need not find that out one after the other."""

    def share(self) -> Answer[T]:
        """Give the newest answer; Unavailable when there was none."""
        if self.answer is None or self.trouble:
            raise Unavailable(self.trouble)
        return self.answer


class KeptAnswers(Generic[T]):
    """The answers to what was asked since the last commit."""

    def __init__(self, *, most_bytes: int = MOST_BYTES, clock: Callable[[], datetime] = utc_now) -> None:
        self._clock = clock
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._version: Hashable = None
        self._answers: OrderedDict[bytes, Answer[T]] = OrderedDict()
        self._bytes = 0
        self._turns: dict[bytes, Turn[T]] = {}

    def at_hand(self, question: bytes, database: Database) -> Answer[T] | None:
        """Give the answer if it takes no time: one that is kept, where the database can be asked in no time."""
        if not database.is_sqlite:
            return None
        with reachable():
            return self.find(question, database.version())

    def recall(self, question: bytes, database: Database, read: Callable[[], Answer[T]]) -> Answer[T]:
        """Give the kept answer, or what was read since the caller came, or read it."""
        came = time.perf_counter_ns()
        with self._turn(question) as turn:
            if turn.began > came:
                return turn.share()
            turn.began, began = 0, time.perf_counter_ns()
            try:
                turn.answer, turn.trouble = self._find_or_read(question, database, read), ""
            except Unavailable as problem:
                turn.began, turn.trouble = began, problem.message
                raise
            turn.began = began
            return turn.answer

    def _find_or_read(self, question: bytes, database: Database, read: Callable[[], Answer[T]]) -> Answer[T]:
        """Ask for the version before it is read."""
        with reachable():
            version = database.version()
            answer = self.find(question, version)
            if answer is None:
                answer = read()
                self.keep(question, version, answer)
        return answer

    @contextmanager
    def _turn(self, question: bytes) -> Iterator[Turn[T]]:
        """Wait for others who ask the same."""
        with self._lock:
            turn = self._turns.setdefault(question, Turn())
            turn.callers += 1
        try:
            with turn.taken:
                yield turn
        finally:
            with self._lock:
                turn.callers -= 1
                if not turn.callers:
                    del self._turns[question]

    def find(self, question: bytes, version: Hashable) -> Answer[T] | None:
        """Give the answer, if it was given in this version of the database and its key is still good."""
        with self._lock:
            if version != self._version:
                self._version, self._bytes = version, 0
                self._answers.clear()
                return None
            answer = self._answers.get(question)
            if answer is None or (answer.until is not None and answer.until <= self._clock()):
                return None
            self._answers.move_to_end(question)
            return answer

    def keep(self, question: bytes, version: Hashable, answer: Answer[T]) -> None:
        """Keep an answer whose snapshot was opened after the database had this version."""
        with self._lock:
            if version != self._version or question in self._answers:
                return
            self._answers[question] = answer
            self._bytes += answer.size + OVERHEAD_BYTES
            while self._bytes > self._most_bytes:
                _, oldest = self._answers.popitem(last=False)
                self._bytes -= oldest.size + OVERHEAD_BYTES
