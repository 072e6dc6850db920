"""Whose each key is, as far as this process has seen: all keys of one user are one caller, who is bounded as one."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from cumulet.permission import Caller

MOST: Final = 4096


class Users:
    """The users of the keys that were let in lately."""

    def __init__(self) -> None:
        self._of: dict[bytes, UUID] = {}

    def note(self, caller: Caller) -> None:
        """Note whose key that was; where those are too many, it begins anew."""
        if len(self._of) >= MOST:
            self._of.clear()
        self._of[caller.key_digest] = caller.user_id

    def of(self, key_digest: bytes) -> UUID | None:
        """Give the user of a key; None of one that was not seen."""
        return self._of.get(key_digest)
