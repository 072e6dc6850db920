"""What changes on a page, as it changes: a stream of the parts of it that look different from before.

    journal ──▶ the page's project has news ──▶ the page is made anew, once a second at most ──▶ its parts that differ

A page marks what may change: its block `live`, and in it the parts that can be told alone. So a stream knows nothing of
any page. While something is under way the page is looked at every second, for progress is in no journal; when nothing
is, nothing is done. The journal is looked at once for all who follow it in this process.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from anyio import to_thread

from cumulet.errors import CumuletError
from cumulet.feed.operations import follow_all_events, follow_events
from cumulet.feed.stream import EventStream
from cumulet.web.seen import digest_of, lasting, live_block
from cumulet.web.visit import Answer, Shown, Visit

PAUSE: Final = 1.0
"""Seconds between two looks at a page at least."""
PART: Final = re.compile(r"<!--part ([^\s>]+)-->(.*?)<!--/part-->", re.DOTALL)
UNDER_WAY: Final = re.compile(r'(?<!class="dot" )data-tone="wait"')
"""What is on a page while something on it will change by itself; a mere dot only explains the colour."""
STILL_THERE: Final = b":\n\n"
"""What is said when nothing has happened for a while."""
PLACE: Final = re.compile(rb"^id: (\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Look:
    """How a page looks at a moment."""

    frame: str
    """All of its block `live` but the parts."""
    parts: Mapping[str, str]
    is_under_way: bool
    whole: str

    @classmethod
    def of(cls, html: str) -> Look:
        """Take a page apart."""
        whole = live_block(html)
        frame = PART.sub(lambda part: f"<!--{part[1]}-->", whole)
        return cls(frame, dict(PART.findall(whole)), UNDER_WAY.search(whole) is not None, whole)

    @property
    def all_of_it(self) -> str:
        """Give what puts it into a page, however that looks."""
        return partial_of("live", f'<div id="live">{self.whole}</div>')

    @property
    def digest(self) -> str:
        """Name it."""
        return digest_of(self.whole)

    def changes(self, before: Look) -> str:
        """Give what has to be put into a page that looks as before; empty for nothing."""
        if lasting(self.frame) != lasting(before.frame):
            return self.all_of_it
        changed = (
            (name, part)
            for name, part in self.parts.items()
            if lasting(part) != lasting(before.parts.get(name, ""))
        )
        return "".join(partial_of(name, part) for name, part in changed)


def partial_of(id: str, html: str) -> str:
    """Say what takes the place of the element of that id."""
    return f'<hx-partial hx-target="[id=\'{id}\']" hx-swap="outerMorph">{html}</hx-partial>'


async def live_parts(visit: Visit, view: Callable[[Visit], Answer], last: str) -> AsyncGenerator[bytes, None]:
    """Follow a page, from how it looked when it was sent; refused as the page itself is."""
    return _follow(visit, view, await to_thread.run_sync(_events, visit, last))


async def _follow(
    visit: Visit, view: Callable[[Visit], Answer], events: EventStream
) -> AsyncGenerator[bytes, None]:
    news = News()
    pump = asyncio.create_task(news.take_from(events))
    with suppress(CumuletError):  # who may not look any more is told why when the browser comes again
        try:
            await news.wait(None)  # from here on nothing is missed
            before = await to_thread.run_sync(_look, visit, view)
            yield message("" if visit.given("seen") == before.digest else before.all_of_it, news.place)
            while not news.is_over:
                await asyncio.sleep(PAUSE)
                if not await news.wait(PAUSE if before.is_under_way else None):
                    yield STILL_THERE
                    continue
                now = await to_thread.run_sync(_look, visit, view)
                yield message(now.changes(before), news.place)
                before = now
        finally:
            pump.cancel()
            with suppress(asyncio.CancelledError):
                await pump


class News:
    """Whether something has happened since the last look, and up to where that is known."""

    def __init__(self) -> None:
        self._bell = asyncio.Event()
        self.place = b""
        self.is_over = False
        self._is_new = True

    async def take_from(self, events: EventStream) -> None:
        """Ring for the beginning and whatever comes, until nothing comes any more."""
        try:
            async for part in events:
                self.is_over |= part.startswith(b"event: end")
                self._is_new |= b"data:" in part
                self.place = next(reversed(PLACE.findall(part)), self.place)
                self._bell.set()
        finally:
            self.is_over = True
            self._bell.set()

    async def wait(self, most: float | None) -> bool:
        """Wait for news, so many seconds at most; gives whether it is time for another look."""
        try:
            async with asyncio.timeout(most):
                await self._bell.wait()
        except TimeoutError:
            return True
        is_new, self._is_new = self._is_new, False
        self._bell.clear()
        return is_new


def message(html: str, place: bytes) -> bytes:
    """Write a change of a page as server-sent events have it; without one only that the stream is there."""
    lines = b"".join(b"data: %b\n" % line.encode() for line in html.splitlines())
    id_line = b"id: %b\n" % place if place else b""
    return id_line + (lines or b":\n") + b"\n"


def _events(visit: Visit, last: str) -> EventStream:
    if visit.project_id:
        return visit.ask(follow_events, project_id=visit.project_id, last_event_id=last)
    return visit.ask(follow_all_events, last_event_id=last)


def _look(visit: Visit, view: Callable[[Visit], Answer]) -> Look:
    """Make a page anew, for who may still see it."""
    anew = replace(visit)
    anew.caller  # noqa: B018 - refuses who may not be here any more
    shown = view(anew)
    return Look.of(shown.html if isinstance(shown, Shown) else "")
