"""uvicorn's server without a pulse: it wakes ten times a second for the date and to see whether it is to end; this one is told."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from functools import lru_cache
from types import FrameType

import uvicorn
from uvicorn.server import ServerState


class Dated(ServerState):
    """What all connections share: the date in answers is read when there is an answer."""

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """What every answer begins with."""
        return [date_in(int(time.time())), *self._others]

    @default_headers.setter
    def default_headers(self, others: list[tuple[bytes, bytes]]) -> None:
        self._others = others


@lru_cache(maxsize=1)
def date_in(second: int) -> tuple[bytes, bytes]:
    """Write the date header of a second."""
    return b"date", formatdate(second, usegmt=True).encode()


class Listener(uvicorn.Server):
    """Serves until a signal asks for its end; its `config` leaves the date to it.

    It goes on for `drain_seconds` then, or until a second signal: whoever spreads requests over servers needs a moment to see
    that this one is not ready any more. Each answer meanwhile ends its connection, so that the next request goes elsewhere.

    `on_start` is called in its loop once it takes requests, `on_end` when it is to end; `end_streams` then ends the answers
    that would not end by themselves: it waits for all. `on_hangup` is called when a SIGHUP comes; without it that ends
    the process, as it does any other.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        on_start: Callable[[], object] = lambda: None,
        on_end: Callable[[], object] = lambda: None,
        drain_seconds: float = 0.0,
        end_streams: Callable[[], object] = lambda: None,
        on_hangup: Callable[[], object] | None = None,
    ) -> None:
        config.date_header = False
        super().__init__(config)
        self._on_start = on_start
        self._on_end = on_end
        self._drain_seconds = drain_seconds
        self._end_streams = end_streams
        self._on_hangup = on_hangup
        self.server_state = Dated()
        self._ending = asyncio.Event()
        self._ending_now = asyncio.Event()

    async def main_loop(self) -> None:
        """Wait for the end to be asked for."""
        if self._on_hangup is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._on_hangup)
        await self.on_tick(0)
        self._on_start()
        await self._ending.wait()
        self._on_end()
        await self._drain()
        self._end_streams()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take note of a signal, wherever in the loop it came."""
        super().handle_exit(sig, frame)
        asked = self._ending_now if self._ending.is_set() else self._ending
        asyncio.get_running_loop().call_soon_threadsafe(asked.set)

    async def _drain(self) -> None:
        if not self._drain_seconds:
            return
        self.server_state.default_headers = [
            *self.server_state.default_headers[1:],
            (b"connection", b"close"),
        ]
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ending_now.wait(), self._drain_seconds)
