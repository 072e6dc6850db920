"""The server's pulse is slow, its end is not."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
import uvicorn

from cumulet.rest import listener
from cumulet.rest.listener import Listener

SIGNALS = (signal.SIGTERM, signal.SIGINT)


async def says_nothing(scope, receive, send):
    """An application that nobody calls."""


@pytest.fixture
def heard():
    """The signals that got through to what was there before the server."""
    signals = []
    before = {sig: signal.signal(sig, lambda sig, _: signals.append(sig)) for sig in SIGNALS}
    yield signals
    for sig, handler in before.items():
        signal.signal(sig, handler)


@pytest.mark.parametrize("sig", SIGNALS)
def test_a_signal_ends_the_server_without_waiting_for_its_next_look(monkeypatch, heard, sig):
    """It would wait for ever."""
    monkeypatch.setattr(listener, "PULSE", None)
    server = Listener(uvicorn.Config(says_nothing, port=0, log_config=None, lifespan="off"))

    async def served() -> None:
        asyncio.get_running_loop().call_later(0.1, os.kill, os.getpid(), sig)
        await asyncio.wait_for(server.serve(), 30)

    asyncio.run(served())

    assert heard == [sig]
