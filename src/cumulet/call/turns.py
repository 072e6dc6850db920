"""How much one caller may have under way: nobody's requests, however many and long, hold the threads that others need.

A caller is a user, whichever of their keys they ask with, or an address where there is no key. A few of their requests
are worked on at once, the next wait in line without a thread, in their order; what comes beyond that is refused before
anything is done for it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Hashable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final

from cumulet.errors import Exhausted, TooFast

AT_ONCE: Final = 8
"""Requests of one caller that are worked on at once: a fifth of the threads that there are."""
UNDER_WAY: Final = 64
"""Requests of one caller that are worked on or wait: more than clients' own pools of connections have."""


@dataclass(slots=True)
class Line:
    """One caller's requests."""

    working: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


class Turn:
    """One request's, from its begin to its end."""

    def __init__(self, turns: Turns, caller: Hashable) -> None:
        self._turns = turns
        self.caller = caller
        """Whose it is; another one only before it begins."""
        self._is_held = False

    async def begin(self) -> None:
        """Return when it has come; Exhausted when too many wait already."""
        await self._turns.wait(self.caller)
        self._is_held = True

    def end(self) -> None:
        """Give it to the caller's next request, if it has come."""
        if self._is_held:
            self._is_held = False
            self._turns.end(self.caller)

    @asynccontextmanager
    async def aside(self) -> AsyncIterator[None]:
        """Let others have it while there is nothing to do; Exhausted when too many of the caller's stand aside."""
        with self._turns.standing_aside(self.caller):
            self.end()
            yield
        await self.begin()


class Turns:
    """The lines of all callers that have something under way; for one event loop."""

    def __init__(self) -> None:
        self._lines: dict[Hashable, Line] = {}
        self._aside: Counter[Hashable] = Counter()

    @contextmanager
    def standing_aside(self, caller: Hashable) -> Iterator[None]:
        """Count one who waits for something else; Exhausted when there are too many."""
        if self._aside[caller] >= UNDER_WAY:
            raise Exhausted(
                f"{UNDER_WAY} of your requests wait for a state already, the most that may do so at once"
            )
        self._aside[caller] += 1
        try:
            yield
        finally:
            self._aside[caller] -= 1
            if not self._aside[caller]:
                del self._aside[caller]

    async def wait(self, caller: Hashable) -> None:
        """Return when it is this caller's turn, which `end` ends; TooFast when too many wait already."""
        line = self._lines.setdefault(caller, Line())
        if line.working < AT_ONCE:
            line.working += 1
            return
        if line.working + len(line.waiting) >= UNDER_WAY:
            raise TooFast(
                f"you have {UNDER_WAY} requests in progress, the most that one caller may have: "
                "send the next when one of them has been answered",
                seconds=1,
            )
        turn = asyncio.get_running_loop().create_future()
        line.waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.end(caller)
            raise

    def end(self, caller: Hashable) -> None:
        """Give this turn to the caller's next request."""
        line = self._lines[caller]
        while line.waiting:
            turn = line.waiting.popleft()
            if not turn.cancelled():
                turn.set_result(None)
                return
        line.working -= 1
        if not line.working:
            del self._lines[caller]
