"""The edge's tests speak HTTP to a real server: what a client cannot see is not tested here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import uvicorn
from litestar.types import ASGIApp
from tests.rest.toys import KEY, TOYS, ToyTables, admit
from tests.waiting import PATIENCE_S

from cumulet.db import Database, Row
from cumulet.rest import create_app
from cumulet.rest.connections import Door, guarded
from cumulet.rest.tls import Certificate, locked
from cumulet.serve.run import WEBSOCKETS

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@contextmanager
def serving(
    app: ASGIApp, *, most: int = 1000, certificate: Certificate | None = None, **options: float
) -> Iterator[str]:
    """Serve the app on a free port, to so many connections at once; gives its URL."""
    entered = locked(Door(most), certificate) if certificate else guarded(Door(most))
    how = {**WEBSOCKETS, **entered, **options}
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_config=None, access_log=False, lifespan="on", **how)
    )
    ready = threading.Event()
    startup = server.startup

    async def tell_when_ready(sockets=None):
        await startup(sockets)
        ready.set()

    server.startup = tell_when_ready
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert ready.wait(PATIENCE_S), "the server did not start"
    scheme = "https" if certificate else "http"
    yield f"{scheme}://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> Iterator[Database]:
    folder: Path = tmp_path_factory.mktemp("rest")
    database = Database(f"sqlite:///{folder}/toys.db")
    ToyTables.metadata.create_all(database.engine)
    Row.metadata.create_all(database.engine)
    yield database
    database.close()


@pytest.fixture(scope="module")
def url(database) -> Iterator[str]:
    app = create_app(database, admit=admit, provided={}, operations=TOYS, clock=lambda: NOON)
    with serving(app) as url:
        yield url


@pytest.fixture
def stranger(url) -> Iterator[httpx.Client]:
    """Somebody without a key."""
    with httpx.Client(base_url=url) as client:
        yield client


@pytest.fixture
def ann(url) -> Iterator[httpx.Client]:
    """Somebody with a key."""
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {KEY}"}) as client:
        yield client


@pytest.fixture
def refused(ann) -> Callable[..., str]:
    """Ask for something that is refused with code 3; gives the message."""

    def ask(method: str, path: str, **request: object) -> str:
        answer = ann.request(method, path, **request)
        assert (answer.status_code, answer.json()["code"]) == (400, 3)
        return answer.json()["message"]

    return ask
