"""What changes on a page, as it changes: a stream of the parts of it that look different from before.

    journal ──▶ the page's project has news ──▶ the page is made anew, once a second at most ──▶ its parts that differ
                                                                                                   └─▶ each window

A page marks what may change: its block `live`, and in it the parts that can be told alone. So a stream knows nothing of
any page. While something is under way the page is looked at every second, for progress is in no journal; a page that
changes with time says so; otherwise, when nothing happens, nothing is done. However many windows of a session show a page, it is made once for them all; the journal is looked
at once for all who follow it in this process.

Each message has as its id how the page looks after it. So a browser that comes again says what it shows.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from anyio import to_thread

from cumulet.errors import CumuletError, Unavailable
from cumulet.feed.operations import follow_all_events, follow_events
from cumulet.feed.stream import EventStream
from cumulet.web.seen import digest_of, lasting, live_block
from cumulet.web.visit import Answer, Shown, Visit

NO_MORE: Final = "nothing is told any more; come again in a moment"
PAUSE: Final = 1.0
"""Seconds between two looks at a page at least."""
PART: Final = re.compile(r"<!--part ([^\s>]+)-->(.*?)<!--/part-->", re.DOTALL)
UNDER_WAY: Final = re.compile(r'(?<!class="dot" )data-tone="wait"')
"""What is on a page while something on it will change by itself; a mere dot only explains the colour."""
AGAIN: Final = re.compile(r"<!--again (\d+)-->")
"""In how many seconds a page is to be looked at again, whatever happens."""
STILL_THERE: Final = b":\n\n"
"""What is said when nothing has happened for a while."""


@dataclass(frozen=True, eq=False)
class Look:
    """How a page looks at a moment."""

    frame: str
    """All of its block `live` but the parts."""
    parts: Mapping[str, str]
    again: float | None
    """Seconds after which it may look otherwise, though nothing has happened."""
    whole: str

    @classmethod
    def of(cls, html: str) -> Look:
        """Take a page apart."""
        whole = live_block(html)
        frame = PART.sub(lambda part: f"<!--{part[1]}-->", whole)
        return cls(frame, dict(PART.findall(whole)), _again(whole), whole)

    @property
    def all_of_it(self) -> str:
        """Give what puts it into a page, however that looks."""
        return partial_of("live", f'<div id="live">{self.whole}</div>')

    @cached_property
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


def _again(whole: str) -> float | None:
    if UNDER_WAY.search(whole):
        return PAUSE
    found = AGAIN.search(whole)
    return float(found[1]) if found else None


def partial_of(id: str, html: str) -> str:
    """Say what takes the place of the element of that id."""
    return f'<hx-partial hx-target="[id=\'{id}\']" hx-swap="outerMorph">{html}</hx-partial>'


View = Callable[[Visit], Answer]


class FollowedPage:
    """A page of a session that windows show: made anew once for all of them."""

    def __init__(self, visit: Visit, view: View, events: EventStream) -> None:
        self._visit = visit
        self._view = view
        self._events = events
        self._news = News()
        self._windows = 0
        self._look: Look | None = None
        self._turn = asyncio.Event()
        self._change: tuple[Look, Look, bytes] | None = None
        self._refused: CumuletError | None = None
        self.is_over = False
        self.looking = asyncio.create_task(self._look_on())

    async def began(self) -> None:
        """Return once it has been looked at; refused as the page itself is."""
        if self._look is None:
            await self._turn.wait()
        if self._look is None:
            if self._refused is None:
                await self.looking
            raise self._refused or Unavailable(NO_MORE)

    async def looks(self, seen: str) -> AsyncGenerator[Look, None]:
        """Give how it looks to one more window: now, after each change, and the same again when nothing has happened for a while."""
        self._windows += 1
        try:
            if self._look is not None and self._look.digest != seen:
                self._news.ring()  # this window may have been made after the last look
                await self._turn.wait()
            while True:
                turn = self._turn
                if self._look is not None:
                    yield self._look
                if self.is_over:
                    return
                await turn.wait()
        finally:
            self._windows -= 1
            if not self._windows:
                self.is_over = True
                self.looking.cancel()

    def change(self, before: Look, now: Look) -> bytes:
        """Tell a window that shows it as before how it is now; windows that are told the same share the words."""
        if before is now:
            return STILL_THERE
        if self._change is None or self._change[:2] != (before, now):
            self._change = before, now, message(now.changes(before), now)
        return self._change[2]

    async def _look_on(self) -> None:
        """Look whenever something has happened, and each second while something is under way."""
        news = self._news
        pump = asyncio.create_task(news.take_from(self._events))
        try:
            await news.wait(None)  # from here on nothing is missed
            if news.is_over:
                raise Unavailable(NO_MORE)
            look, due = await self._show_anew()
            while not news.is_over:
                await asyncio.sleep(PAUSE)
                if not self._windows:  # whoever asked for it has left before it began
                    return
                if await news.wait(due):
                    look, due = await self._show_anew()
                else:
                    self._show(look)
        except CumuletError as refused:
            self._refused = refused  # who may not look any more is told why when the browser comes again
        finally:
            pump.cancel()
            self.is_over = True
            self._turn.set()

    async def _show_anew(self) -> tuple[Look, float | None]:
        """Look, and say when it is time for the next look, whatever happens."""
        self._show(look := await to_thread.run_sync(_look, self._visit, self._view))
        return look, None if look.again is None else asyncio.get_running_loop().time() + look.again

    def _show(self, look: Look) -> None:
        self._look = look
        turn, self._turn = self._turn, asyncio.Event()
        turn.set()


class LiveStreams:
    """The pages that are followed in this process, all in one event loop."""

    def __init__(self) -> None:
        self._followed: dict[tuple[str, ...], FollowedPage] = {}

    async def follow(self, visit: Visit, view: View, seen: str) -> AsyncGenerator[bytes, None]:
        """Follow a page from how a browser shows it; refused as the page itself is."""
        page = self._find(visit)
        if page is not None:
            await to_thread.run_sync(refuse_stranger, visit)
        else:
            events = await to_thread.run_sync(_events, visit)
            page = self._find(visit) or self._begin(visit, view, events)
        await page.began()
        return self._tell(page, seen)

    def _begin(self, visit: Visit, view: View, events: EventStream) -> FollowedPage:
        key = shared_by(visit)
        page = self._followed[key] = FollowedPage(visit, view, events)

        def forget(_: object) -> None:
            if self._followed.get(key) is page:
                del self._followed[key]

        page.looking.add_done_callback(forget)
        return page

    async def _tell(self, page: FollowedPage, seen: str) -> AsyncGenerator[bytes, None]:
        before: Look | None = None
        async with aclosing(page.looks(seen)) as looks:
            async for now in looks:
                yield page.change(before, now) if before else first_message(now, seen)
                before = now

    def _find(self, visit: Visit) -> FollowedPage | None:
        page = self._followed.get(shared_by(visit))
        return None if page is None or page.is_over else page


def shared_by(visit: Visit) -> tuple[str, ...]:
    """Name what windows have in common to which a page looks the same: nobody shares what another session sees."""
    return visit.session, visit.origin, visit.address, visit.here


class News:
    """Whether something has happened since the last look."""

    def __init__(self) -> None:
        self._bell = asyncio.Event()
        self.is_over = False
        self._is_new = True

    async def take_from(self, events: EventStream) -> None:
        """Ring for the beginning and whatever comes, until nothing comes any more."""
        try:
            async for part in events:
                self.is_over |= part.startswith(b"event: end")
                if b"data:" in part:
                    self.ring()
                self._bell.set()
        finally:
            self.is_over = True
            self._bell.set()

    def ring(self) -> None:
        """Have the page looked at."""
        self._is_new = True
        self._bell.set()

    async def wait(self, due: float | None) -> bool:
        """Wait for news, until then at most; gives whether it is time for another look."""
        try:
            async with asyncio.timeout_at(due):
                await self._bell.wait()
        except TimeoutError:
            return True
        is_new, self._is_new = self._is_new, False
        self._bell.clear()
        return is_new


def first_message(look: Look, seen: str) -> bytes:
    """Have a window look so that may look otherwise."""
    return message("" if look.digest == seen else look.all_of_it, look)


def message(html: str, look: Look) -> bytes:
    """Write a change of a page as server-sent events have it; without one only that the stream is there."""
    lines = b"".join(b"data: %b\n" % line.encode() for line in html.splitlines())
    return b"id: %b\n%b\n" % (look.digest.encode(), lines or b":\n")


def _events(visit: Visit) -> EventStream:
    if visit.project_id:
        return visit.ask(follow_events, project_id=visit.project_id)
    return visit.ask(follow_all_events)


def refuse_stranger(visit: Visit) -> Visit:
    """Give the same visit as if it were made now, for who may still be here; refused as the page itself is."""
    anew = replace(visit)
    anew.caller  # noqa: B018 - refuses who may not be here any more
    return anew


def _look(visit: Visit, view: View) -> Look:
    """Make a page anew, for who may still see it."""
    shown = view(refuse_stranger(visit))
    return Look.of(shown.html if isinstance(shown, Shown) else "")
