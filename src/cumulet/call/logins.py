"""Keys that are nobody's slow down whoever tries them: each try from their address has to wait longer than the one before.

Others at that address, whose keys are good, do not wait: while somebody is slowed down, all good keys are known by their digests, which are
read once a second at most. A key is found among them, as in the database, by its digest, so that no time tells how near a try was.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from cumulet.errors import TooFast
from cumulet.ids import neighbourhood
from cumulet.projects.guesses import Guesses

FRESH_S: Final = 1.0
"""How long the digests serve: a key that is younger may have to try again."""

ReadDigests = Callable[[], Awaitable[frozenset[bytes]]]


class Logins:
    """Whose bad keys were tried from where, and which keys are good; for one event loop."""

    def __init__(self, read_good: ReadDigests) -> None:
        self._read_good = read_good
        self._guesses = Guesses()
        self._good: frozenset[bytes] = frozenset()
        self._read_at = float("-inf")
        self._reading = anyio.Lock()

    async def wait(self, address: str, digest: Callable[[], bytes], *, now: float) -> None:
        """Return if a key, of which `digest` is asked only if it matters, may be tried from an address; TooFast, which says when."""
        seconds = self._guesses.seconds(neighbourhood(address), now=now)
        if seconds > 0 and not await self._is_good(digest(), now):
            raise TooFast(
                f"too many API keys that are not valid were tried from {address}: try again in {seconds:.0f} s",
                seconds=seconds,
                reason="TOO_MANY_INVALID_KEYS",
            )

    def note_failed(self, address: str, *, now: float) -> None:
        """Count a key that was not good."""
        self._guesses.note(neighbourhood(address), now=now)

    async def _is_good(self, digest: bytes, now: float) -> bool:
        if digest in self._good and now - self._read_at < FRESH_S:
            return True
        async with self._reading:
            if now - self._read_at >= FRESH_S:
                self._good, self._read_at = await self._read_good(), now
        return digest in self._good
