"""The server has no pulse: it waits for its end, and reads the date when it answers."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
import uvicorn
from tests.waiting import PATIENCE_S

from cumulet.rest import listener
from cumulet.rest.listener import Dated, Listener

SIGNALS = (signal.SIGTERM, signal.SIGINT)


async def says_nothing(scope, receive, send):
    """An application that nobody calls."""


async def answers(scope, receive, send):
    """An application with nothing to say."""
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


async def started(server):
    while not server.started:  # noqa: ASYNC110 - uvicorn tells nobody
        await asyncio.sleep(0.01)


@pytest.fixture
def heard():
    """The signals that got through to what was there before the server."""
    signals = []
    before = {sig: signal.signal(sig, lambda sig, _: signals.append(sig)) for sig in SIGNALS}
    yield signals
    for sig, handler in before.items():
        signal.signal(sig, handler)


@pytest.mark.parametrize("sig", SIGNALS)
def test_a_signal_ends_a_server_that_nobody_calls(heard, sig):
    server = Listener(uvicorn.Config(says_nothing, port=0, log_config=None, lifespan="off"))

    async def served() -> None:
        serving = asyncio.create_task(server.serve())
        await started(server)
        os.kill(os.getpid(), sig)
        await asyncio.wait_for(serving, PATIENCE_S)

    asyncio.run(served())

    assert heard == [sig]


def test_a_server_serves_on_for_a_while_after_the_first_signal_and_ends_each_connection(heard):
    ending = asyncio.Event()
    config = uvicorn.Config(answers, port=0, log_config=None, lifespan="off")
    server = Listener(config, on_end=ending.set, drain_seconds=600)

    async def asked() -> bytes:
        serving = asyncio.create_task(server.serve())
        await started(server)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(ending.wait(), PATIENCE_S)
        reader, writer = await asyncio.open_connection(*server.servers[0].sockets[0].getsockname())
        writer.write(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")
        answer = await reader.read()
        writer.close()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(serving, PATIENCE_S)
        return answer

    answer = asyncio.run(asked())
    assert answer.startswith(b"HTTP/1.1 204")
    assert b"connection: close" in answer
    assert heard == [signal.SIGTERM] * 2


def test_each_answer_has_the_date_of_its_own_second_before_what_else_all_begin_with(monkeypatch):
    state = Dated()
    state.default_headers = [(b"server", b"uvicorn")]
    for second, date in ((0.9, b"Thu, 01 Jan 1970 00:00:00 GMT"), (1.2, b"Thu, 01 Jan 1970 00:00:01 GMT")):
        monkeypatch.setattr(listener.time, "time", lambda second=second: second)
        assert state.default_headers == [(b"date", date), (b"server", b"uvicorn")]


def test_an_answer_of_a_server_is_dated_once(heard):
    server = Listener(uvicorn.Config(answers, port=0, log_config=None, lifespan="off"))

    async def asked() -> bytes:
        serving = asyncio.create_task(server.serve())
        await started(server)
        reader, writer = await asyncio.open_connection(*server.servers[0].sockets[0].getsockname())
        writer.write(b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(serving, PATIENCE_S)
        return answer

    assert asyncio.run(asked()).lower().count(b"\r\ndate: ") == 1
