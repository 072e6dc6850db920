"""Answers kept for as long as nothing is committed: whoever asks the same again gets the same bytes, and never old ones.

An answer that depends on nothing but the database is right until the next commit, whoever makes it. So it is kept
under the version of the database that was current *before* its snapshot was opened, and given only while that version
still is: a commit in between makes a newer one, under which nothing is found. The caller's key is part of what is
asked, so nobody gets what was answered to another, and a key's end is a commit like any other.

Who asks while the same is being read waits, and shares with all that wait the next reading, which begins after the last
of them came: so much is committed meanwhile that each would read for himself otherwise.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import msgspec

from cumulet.operation import Operation
from cumulet.rest.binding import Asked

MOST_BYTES: Final = 16 * 1024 * 1024
"""Of all answers together; what was asked longest ago goes first."""
OVERHEAD_BYTES: Final = 512
"""What an answer takes beside its own bytes."""


def question(operation: Operation, asked: Asked) -> bytes:
    """Name what was asked, and with which key: as a digest, which is short and tells no key."""
    return hashlib.sha256(msgspec.msgpack.encode((operation.name, asked))).digest()


@dataclass(slots=True)
class Turn:
    """One question that is being answered, for all who wait for that."""

    taken: threading.Lock = field(default_factory=threading.Lock)
    callers: int = 0
    began: int = 0
    """When the newest answer's snapshot was about to be opened."""
    answer: bytes = b""

    def give(self, began: int, answer: bytes) -> None:
        """Have an answer at hand for those who wait."""
        self.began, self.answer = began, answer


class KeptAnswers:
    """The answers to what was asked since the last commit."""

    def __init__(self, *, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._version: Hashable = None
        self._answers: OrderedDict[bytes, bytes] = OrderedDict()
        self._bytes = 0
        self._turns: dict[bytes, Turn] = {}

    @contextmanager
    def turn(self, question: bytes) -> Iterator[tuple[Turn, bytes | None]]:
        """Wait for others who ask the same; gives what one of them read since this caller came, if that is so."""
        came = time.perf_counter_ns()
        with self._lock:
            turn = self._turns.setdefault(question, Turn())
            turn.callers += 1
        try:
            with turn.taken:
                yield turn, turn.answer if turn.began > came else None
        finally:
            with self._lock:
                turn.callers -= 1
                if not turn.callers:
                    del self._turns[question]

    def find(self, question: bytes, version: Hashable) -> bytes | None:
        """Give the answer, if it was given in this version of the database."""
        with self._lock:
            if version != self._version:
                self._version, self._bytes = version, 0
                self._answers.clear()
                return None
            answer = self._answers.get(question)
            if answer is not None:
                self._answers.move_to_end(question)
            return answer

    def keep(self, question: bytes, version: Hashable, answer: bytes) -> None:
        """Keep an answer whose snapshot was opened after the database had this version."""
        with self._lock:
            if version != self._version or question in self._answers:
                return
            self._answers[question] = answer
            self._bytes += len(answer) + OVERHEAD_BYTES
            while self._bytes > self._most_bytes:
                _, oldest = self._answers.popitem(last=False)
                self._bytes -= len(oldest) + OVERHEAD_BYTES
