"""Streams are tested as their readers have them: over HTTP, from a real server, on a cloud of made-up hosts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import pytest
from tests.made_up import PROJECT, Cloud
from tests.projects.people import add_user
from tests.rest.conftest import serving

from cumulet import journal
from cumulet.db import Database
from cumulet.events import EventName
from cumulet.feed import Feed, operations
from cumulet.horizon import Horizon
from cumulet.operation import OPERATIONS
from cumulet.projects import Role, admit
from cumulet.rest import create_app

TOY = UUID(int=7)
STREAM = f"/v1/projects/{PROJECT}/events/stream"


def record(
    cloud: Cloud, *texts: str, project: str = PROJECT, event: EventName = EventName.VM_STARTED
) -> None:
    """Have things happen, each in a transaction of its own."""
    for text in texts:
        with cloud.database.writing() as db:
            journal.log_event(db, event, at=cloud.clock(), project_id=project, subject_id=TOY, text=text)


@dataclass
class Reader:
    """Somebody who reads a stream, and remembers the last number as a browser does."""

    lines: Iterator[str]
    last: str = ""

    def block(self) -> dict[str, str]:
        """Give the members of the next block."""
        members: dict[str, str] = {}
        for line in self.lines:
            if not line:
                break
            name, _, value = line.partition(":")
            members[name] = value.strip()
        self.last = members.get("id", self.last)
        return members

    def told(self) -> dict[str, Any]:
        """Give the next event; what only shows that the stream is there is passed over."""
        while "data" not in (block := self.block()):
            assert block, "the stream ended"
        return json.loads(block["data"])

    def texts(self, count: int) -> list[str]:
        return [self.told()["text"] for _ in range(count)]


@contextmanager
def served(cloud: Cloud, database: Database | None = None, *, most_of_one: int = 8) -> Iterator[str]:
    """Serve a cloud's events, as one process or another."""
    database = database or cloud.database
    feed = Feed(database, Horizon(database), most_of_one=most_of_one, clock=cloud.clock)
    app = create_app(
        database,
        admit=admit,
        provided={"feed": feed},
        operations=[one for one in OPERATIONS.values() if one.function.__module__ == operations.__name__],
        clock=cloud.clock,
    )
    with serving(app) as url:
        yield url
        feed.close()


@pytest.fixture
def url(cloud) -> Iterator[str]:
    assert cloud.owner  # found while they are the only one
    with cloud.database.writing() as db:
        add_user(db, "ann", default=Role.VIEWER)
    with served(cloud) as url:
        yield url


@pytest.fixture
def api(url) -> Iterator[httpx.Client]:
    """Somebody who may look at the project."""
    with httpx.Client(base_url=url, headers={"authorization": "Bearer ann"}, timeout=60) as client:
        yield client


@pytest.fixture
def follow(url) -> Iterator[Callable[..., Reader]]:
    """Open a stream that opens."""
    with ExitStack() as streams:

        def open_one(
            at: str = url, key: str = "ann", path: str = STREAM, *, last: str | None = None, **query: Any
        ) -> Reader:
            client = streams.enter_context(
                httpx.Client(base_url=at, headers={"authorization": f"Bearer {key}"}, timeout=60)
            )
            headers = {} if last is None else {"last-event-id": last}
            answer = streams.enter_context(client.stream("GET", path, params=query, headers=headers))
            assert answer.status_code == 200, answer.read()
            assert answer.headers["content-type"].startswith("text/event-stream")
            reader = Reader(answer.iter_lines())
            assert reader.block().keys() == {"retry", "id"}
            return reader

        yield open_one
