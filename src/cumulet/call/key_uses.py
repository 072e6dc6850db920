"""When API keys were used: noted in memory at each call, and written down for all of them together once a minute.

So no call that only reads has to write, and what is kept of answers until the next commit is not lost more often.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from sqlalchemy.orm import Session

from cumulet.db import UNREACHABLE, Database

PAUSE: Final = timedelta(minutes=1)
"""Between two writings."""
WriteUses: TypeAlias = Callable[[Session, Mapping[bytes, datetime]], None]
"""Writes down when keys, named by their digests, were last used."""


class KeyUses:
    """The uses that this process knows of and has not written down yet."""

    def __init__(self, database: Database, clock: Callable[[], datetime], write: WriteUses | None) -> None:
        """Take what writes them down; with nothing, none are noted."""
        self._database = database
        self._clock = clock
        self._write = write
        self._used: dict[bytes, datetime] = {}
        self._due: datetime | None = None
        self._writing = threading.Lock()

    def note(self, key_digest: bytes) -> None:
        """Note that a key is used now; an empty digest is nobody's."""
        if key_digest and self._write is not None:
            self._used[key_digest] = self._clock()

    @property
    def is_due(self) -> bool:
        """Whether there is something that it is time to write down."""
        return bool(self._used) and (self._due is None or self._clock() >= self._due)

    def write_if_due(self) -> None:
        """Write them down if it is time, one thread for all; a database that does not answer is told the next time."""
        if self._write is None or not self.is_due or not self._writing.acquire(blocking=False):
            return
        try:
            self._due, used = self._clock() + PAUSE, dict(self._used)
            with suppress(*UNREACHABLE):
                with self._database.writing() as db:
                    self._write(db, used)
                for digest, at in used.items():
                    if self._used.get(digest) == at:
                        del self._used[digest]
        finally:
            self._writing.release()
