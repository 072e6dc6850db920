"""Waiting for a state: `?wait=ACTIVE&timeout=60` at what shows a thing answers once it is in that state.

    look ──in that state──▶ answer
     ▲ └───never will be──▶ refuse
     └─commit── wait ──time is up──▶ answer as it is

Who waits holds no thread and no turn, and looks again when something was committed: at once while the wait is young,
seldom when it is old. What is looked at is the usual answer, so operations know nothing of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from cumulet.call.turns import Turn
from cumulet.db import Database
from cumulet.errors import Invalid, Refused
from cumulet.operation import States
from cumulet.wire import Wire

OUTCOME: Final = "wait-outcome"
"""The header that tells how a wait ended: `reached` or `timeout`."""
SHORTEST_PAUSE_S: Final = 0.02
LONGEST_PAUSE_S: Final = 1.0
SHARED_LOOK_S: Final = 1.0
"""After so long there is another look where others commit whom nobody here hears."""


class WaitQuery(Wire):
    """What is asked for besides the thing itself."""

    wait: str = ""
    timeout: Annotated[int, Meta(ge=1, le=300)] = 60
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A state that somebody waits for."""

    states: States
    wanted: str
    seconds: float

    @classmethod
    def asked(cls, query: WaitQuery, states: States) -> Wait:
        """Read what is waited for; Invalid names what can be."""
        for state in states.rests:
            if query.wait in {state, state.removeprefix(states.prefix)}:
                return cls(states, state, query.timeout)
        raise Invalid.field("wait", query.wait, " or ".join(states.rests))

    def is_reached(self, content: bytes, name: str) -> bool:
        """Whether an answer shows that state; Refused when it never will."""
        shown = msgspec.json.decode(content, type=dict[str, msgspec.Raw])[self.states.member]
        thing = msgspec.json.decode(shown, type=dict[str, object])
        state = thing[self.states.field]
        if state in self.states.vain:
            why = f": {thing['problem']}" if thing.get("problem") else ""
            raise Refused(
                f"{name!r} is {state} and will not be {self.wanted}{why}", reason="WAIT_IN_VAIN", subject=name
            )
        return state == self.wanted


class Commits:
    """Tells those who wait in one event loop that something was committed in this process."""

    def __init__(self, database: Database) -> None:
        self._waiting: set[asyncio.Future[None]] = set()
        self._net = None if database.is_sqlite else SHARED_LOOK_S
        database.hear_commits.add(self._hear)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[asyncio.Future[None]]:
        """Give what is done after the next commit."""
        heard = asyncio.get_running_loop().create_future()
        self._waiting.add(heard)
        try:
            yield heard
        finally:
            self._waiting.discard(heard)

    async def wait(self, heard: asyncio.Future[None], *, most: float) -> None:
        """Wait for that commit, or until it is time for another look."""
        await asyncio.wait({heard}, timeout=most if self._net is None else min(most, self._net))

    def _hear(self) -> None:
        """Take note of a commit, in its own thread."""
        for heard in tuple(self._waiting):
            heard.get_loop().call_soon_threadsafe(_ring, heard)


def _ring(heard: asyncio.Future[None]) -> None:
    if not heard.done():
        heard.set_result(None)


async def until_reached(
    wait: Wait, name: str, look: Callable[[], Awaitable[bytes]], commits: Commits, turn: Turn
) -> tuple[bytes, str]:
    """Look until a thing is as it is waited for; gives its last answer and how the wait ended."""
    now = asyncio.get_running_loop().time
    began = now()
    while True:
        async with commits.listening() as heard:
            content = await look()
            if wait.is_reached(content, name):
                return content, "reached"
            waited = now() - began
            if waited >= wait.seconds:
                return content, "timeout"
            async with turn.aside():
                await commits.wait(heard, most=wait.seconds - waited)
                await asyncio.sleep(min(pause(waited), max(wait.seconds - (now() - began), 0)))


def pause(waited: float) -> float:
    """Say how many seconds to let pass after a commit: the longer the wait, the less they matter."""
    return min(max(SHORTEST_PAUSE_S, waited / 20), LONGEST_PAUSE_S)
