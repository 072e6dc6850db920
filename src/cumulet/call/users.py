"""Whose each key is: all keys of one user are one caller, who is bounded as one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

MOST: Final = 4096
"""Keys that are kept in mind."""


class Users:
    """The users of the keys that were asked with lately."""

    def __init__(self, find: Callable[[bytes], Awaitable[UUID | None]]) -> None:
        """`find` says whose the key with a digest is; None of nobody's."""
        self._find = find
        self._of: dict[bytes, UUID] = {}

    def known(self, digest: bytes) -> UUID | None:
        """Give the user of a key that is kept in mind."""
        return self._of.get(digest)

    async def find(self, digest: bytes) -> UUID | None:
        """Look whose a key is, and keep it in mind; where that are too many, it begins anew."""
        user = await self._find(digest)
        if user is not None:
            if len(self._of) >= MOST:
                self._of.clear()
            self._of[digest] = user
        return user
