"""uvicorn's server with a calmer pulse: it wakes ten times a second to see whether it is to end; this one is told."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import FrameType
from typing import Final

import uvicorn

PULSE: Final = 1.0
"""Seconds: the date in answers is to the second."""


class Listener(uvicorn.Server):
    """Serves until a signal asks for its end, and ends at once then."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ending = asyncio.Event()

    async def main_loop(self) -> None:
        """Keep the date in answers right until the end is asked for."""
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), PULSE)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take note of a signal, wherever in the loop it came."""
        super().handle_exit(sig, frame)
        asyncio.get_running_loop().call_soon_threadsafe(self._ending.set)
