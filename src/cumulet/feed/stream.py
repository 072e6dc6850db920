"""A stream of events as browsers' EventSource and every line reader understand it.

    retry: 2000                                    first, with the number from which on all will be told
    id: 41

    id: 42
    data: {"id": "42", "event": "vm.started", …}    an event

    :                                              nothing happened for a while

    event: end                                     at the end, why
    data: {"code": 16, "message": …}

Who comes again with the last number that they read, as `Last-Event-ID`, misses nothing and is told nothing twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Final

import msgspec

from cumulet.errors import CumuletError
from cumulet.feed.choice import Choice
from cumulet.feed.feed import Feed
from cumulet.operation import Caller
from cumulet.wire import Status, Stream

HEARTBEAT: Final = 15.0
"""Seconds after which a silent stream says that it is there."""
RETRY_MS: Final = 2000
"""How long a browser waits before it comes again."""


class EventStream(Stream):
    """What a caller is told of a choice of events, after a place in the journal or from now on."""

    media_type = "text/event-stream"

    def __init__(self, feed: Feed, caller: Caller, choice: Choice, after: int | None) -> None:
        self._feed = feed
        self._caller = caller
        self._choice = choice
        self._after = after

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        """Give it in parts, each to be sent before the next is read."""
        try:
            async with self._feed.following(self._caller, self._choice) as follower:
                place = self._feed.place if self._after is None else self._after
                yield b"retry: %d\nid: %d\n\n" % (RETRY_MS, place)
                while follower.end is None:
                    follower.bell.clear()
                    lines, place = await self._feed.read(self._choice, place)
                    if lines:
                        yield b"".join(lines)
                    elif place >= self._feed.place and not await rung(follower.bell):
                        yield b"id: %d\n:\n\n" % place
                raise follower.end
        except CumuletError as why:
            yield b"event: end\ndata: %b\n\n" % msgspec.json.encode(Status.of(why))


async def rung(bell: asyncio.Event) -> bool:
    """Wait for a bell; gives whether it rang before it was time for a heartbeat."""
    with suppress(TimeoutError):
        async with asyncio.timeout(HEARTBEAT):
            return await bell.wait()
    return False
