"""Pages are tested as browsers have them: over HTTP, from a real server, on a cloud of made-up hosts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from itertools import zip_longest

import httpx
import pytest
from litestar.enums import ScopeType
from litestar.handlers import HTTPRouteHandler
from litestar.types import Receive, Scope, Send
from tests.made_up import Cloud
from tests.projects.people import add_user
from tests.rest.conftest import serving

from cumulet.call import Calls
from cumulet.feed import Feed
from cumulet.horizon import Horizon
from cumulet.operation import OPERATIONS
from cumulet.projects import Role, admit, write_uses
from cumulet.rest import create_app
from cumulet.rest.edge import Edge
from cumulet.web import ASSETS, Asking, site

COOKIE = "__Host-cumulet"
BESIDE_PAGES = [
    one
    for one in OPERATIONS.values()
    if one.path.startswith(("/v1/auth", "/v1/audit", "/v1/sessions")) or one.path == "/v1/projects/{id}"
]
"""What these tests ask of the API; routes for all of it took most of their time. The pages themselves need none."""


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


@pytest.fixture
def feed(cloud: Cloud) -> Feed:
    return feed_of(cloud)


@pytest.fixture
def asking(cloud: Cloud, feed: Feed) -> Asking:
    return asking_of(cloud, feed)


def feed_of(cloud: Cloud) -> Feed:
    return Feed(cloud.database, Horizon(cloud.database), most_of_one=4, clock=cloud.clock)


def asking_of(cloud: Cloud, feed: Feed) -> Asking:
    return Asking(Calls(cloud.database, admit, {**cloud.provided, "feed": feed}, cloud.clock, write_uses))


@pytest.fixture
def url(cloud: Cloud, feed: Feed, asking: Asking) -> Iterator[str]:
    with served(cloud, feed, asking) as url:
        yield url


class WithPages:
    """An app that has each page from when it is asked for: to make routes for them all took most of these tests' time."""

    def __init__(self, app: Edge, pages: list[HTTPRouteHandler]) -> None:
        self._app = app
        self._to_come = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            self._make(scope["raw_path"].decode())
        await self._app(scope, receive, send)

    def _make(self, asked: str) -> None:
        for page in [one for one in self._to_come if any(leads_to(path, asked) for path in one.paths)]:
            self._to_come.remove(page)
            self._app._app._app.register(page)


def leads_to(path: str, asked: str) -> bool:
    """Whether a path with `{places}` is the one asked for."""
    parts = [*zip_longest(path.split("/"), asked.split("/"))]
    return all(part == is_asked or (is_asked and part and part.startswith("{")) for part, is_asked in parts)


@contextmanager
def served(cloud: Cloud, feed: Feed, asking: Asking) -> Iterator[str]:
    """Run a server of a cloud; gives its address."""
    provided = {**cloud.provided, "feed": feed}
    app = create_app(
        cloud.database,
        admit=admit,
        provided=provided,
        operations=BESIDE_PAGES,
        pages=[ASSETS.route()],
        clock=cloud.clock,
    )
    with serving(WithPages(app, site(asking))) as url:
        yield url
        feed.close()


@dataclass
class Browser:
    """A browser without scripts."""

    client: httpx.Client
    origin: str
    session: str = ""

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.client.get(path, headers=self.headers(headers))

    def send(self, path: str, *, on: str = "", origin: str = "", **fields: str) -> httpx.Response:
        """Send a form as it is on a page, and with these fields."""
        hidden = hidden_fields(self.get(on).text) if on else {}
        headers = self.headers({"origin": origin or self.origin})
        return self.client.post(path, data=hidden | fields, headers=headers)

    def sign_in(self, key: str) -> None:
        answer = self.send("/login", apiKey=key)
        assert answer.status_code == 303, answer.text
        self.session = re.search(f"{COOKIE}=([^;]+)", answer.headers["set-cookie"])[1]

    def headers(self, further: dict[str, str]) -> dict[str, str]:
        return further | ({"cookie": f"{COOKIE}={self.session}"} if self.session else {})


def hidden_fields(html: str) -> dict[str, str]:
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', html)
    return {name: unescape(value) for name, value in found}


@pytest.fixture
def stranger(url) -> Iterator[Browser]:
    with httpx.Client(base_url=url, timeout=60) as client:
        yield Browser(client, url)


@pytest.fixture
def signed_in(url, cloud) -> Iterator[Callable[..., Browser]]:
    """Sign somebody in who is this in the project."""
    with httpx.Client(base_url=url, timeout=60) as client:

        def sign_in(role: Role = Role.EDITOR, name: str = "ann") -> Browser:
            with cloud.database.writing() as db:
                add_user(db, name, default=role)
            browser = Browser(client, url)
            browser.sign_in(name)
            return browser

        yield sign_in
