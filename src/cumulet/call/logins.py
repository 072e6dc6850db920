"""Keys that are nobody's slow down whoever tries them: each try from their address has to wait longer than the one before.

    1st to 10th bad key     answered at once
    11th, 12th, 13th…       after 1 s, 2 s, 4 s… up to a minute; what comes earlier is refused before it is looked at
    a quarter of an hour    without a bad key, and all is forgotten

Others at that address, whose keys are good, do not wait: while somebody is slowed down, all good keys are known by their digests, which are
read once a second at most. A key is found among them, as in the database, by its digest, so that no time tells how near a try was.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import anyio

from cumulet.call.rates import TooFast
from cumulet.ids import neighbourhood

FREE: Final = 10
LONGEST_S: Final = 60.0
FORGOTTEN_S: Final = 900.0
MOST: Final = 50_000
"""Addresses that are remembered; whose last try is longest ago is forgotten first."""
FRESH_S: Final = 1.0
"""How long the digests serve: a key that is younger may have to try again."""

ReadDigests = Callable[[], Awaitable[frozenset[bytes]]]


@dataclass(slots=True)
class Tries:
    """What one address has tried."""

    times: int
    last: float


class Logins:
    """Whose bad keys were tried from where, and which keys are good; for one event loop."""

    def __init__(self, read_good: ReadDigests) -> None:
        self._read_good = read_good
        self._failed: OrderedDict[str, Tries] = OrderedDict()
        self._good: frozenset[bytes] = frozenset()
        self._read_at = float("-inf")
        self._reading = anyio.Lock()

    async def wait(self, address: str, digest: Callable[[], bytes], *, now: float) -> None:
        """Return if a key, of which `digest` is asked only if it matters, may be tried from an address; TooFast, which says when."""
        seconds = self._seconds(neighbourhood(address), now) if self._failed else 0.0
        if seconds > 0 and not await self._is_good(digest(), now):
            raise TooFast(
                f"too many API keys that are not valid were tried from {address}: try again in {seconds:.0f} s",
                seconds=seconds,
                reason="TOO_MANY_INVALID_KEYS",
            )

    def note_failed(self, address: str, *, now: float) -> None:
        """Count a key that was not good."""
        place = neighbourhood(address)
        tries = self._failed.pop(place, None)
        if tries is None or now - tries.last > FORGOTTEN_S:
            tries = Tries(0, now)
        self._failed[place] = Tries(tries.times + 1, now)
        if len(self._failed) > MOST:
            self._failed.popitem(last=False)

    def _seconds(self, place: str, now: float) -> float:
        """How long the next try has to wait."""
        tries = self._failed.get(place)
        if tries is None or tries.times < FREE or now - tries.last > FORGOTTEN_S:
            return 0.0
        return float(min(2.0 ** min(tries.times - FREE, 10), LONGEST_S)) - (now - tries.last)

    async def _is_good(self, digest: bytes, now: float) -> bool:
        if digest in self._good and now - self._read_at < FRESH_S:
            return True
        async with self._reading:
            if now - self._read_at >= FRESH_S:
                self._good, self._read_at = await self._read_good(), now
        return digest in self._good
