"""Webhooks are tested against a real receiver on this machine, which a test tells what to answer."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from tests.feed.conftest import record
from tests.made_up import PROJECT, Cloud, make_cloud

from cumulet.catalogue import read_catalogue
from cumulet.webhooks import operations as hooks
from cumulet.webhooks.herald import wake_those_behind
from cumulet.webhooks.wire import CreateWebhook, EnableWebhook, WebhookAnswer


@dataclass
class Receiver:
    """Somebody who is told, and what they were sent."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    """What is answered next; 200 when that is empty."""
    headers: dict[str, str] = field(default_factory=dict)
    """What is answered besides."""
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    hold: threading.Event | None = None
    """It answers once this is set."""

    @property
    def told(self) -> list[str]:
        return [json.loads(body)["text"] for _, body in self.requests]

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.requests]


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
            if receiver.hold:
                receiver.hold.wait()
            self.send_response(receiver.answers.pop(0) if receiver.answers else 200)
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook?token=hidden"
    yield receiver
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


@pytest.fixture
def cloud(database, tmp_path) -> Cloud:
    """Its operator lets webhooks go to this machine."""
    return make_cloud(
        database, tmp_path, catalogue=replace(read_catalogue(None), webhook_networks=("127.0.0.0/8",))
    )


def make(cloud: Cloud, url: str, id: str = "chat", **choice: list[str]) -> str:
    """Make a webhook; gives its secret."""
    data = CreateWebhook(id=id, url=url, **choice)
    return cloud.call(hooks.create_webhook, project_id=PROJECT, data=data).secret


def look(cloud: Cloud, id: str = "chat") -> WebhookAnswer:
    return cloud.call(hooks.get_webhook, project_id=PROJECT, id=id).webhook


def enable(cloud: Cloud, id: str = "chat", *, from_now_on: bool = False) -> None:
    data = EnableWebhook(from_now_on=from_now_on)
    cloud.call(hooks.enable_webhook, project_id=PROJECT, id=id, data=data)


def happen(cloud: Cloud, *texts: str, **where: Any) -> None:
    """Have things happen, and webhooks told of them."""
    record(cloud, *texts, **where)
    tell(cloud)


def tell(cloud: Cloud) -> None:
    wake_those_behind(cloud.database, now=cloud.clock())
    cloud.run()


def signs(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """Check a signature as its receivers do."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    return (
        headers["webhook-signature"]
        == "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    )
