"""Consoles are tested as viewers have them: by websockets of a real server, on made-up hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from litestar.types import ASGIApp
from tests.made_up import PROJECT, Cloud
from tests.rest.conftest import serving
from tests.waiting import PATIENCE_S
from websockets.sync.client import ClientConnection, connect

from cumulet.console import Consoles, operations
from cumulet.operation import OPERATIONS
from cumulet.projects import admit
from cumulet.rest import create_app
from cumulet.web import console_pages

GREETING = b"RFB 003.008\n"


def app_of(cloud: Cloud) -> ASGIApp:
    """What a server of this cloud serves of consoles."""
    return create_app(
        cloud.database,
        admit=admit,
        provided={"hosts": cloud.hosts},
        operations=[
            OPERATIONS[verb.__name__] for verb in (operations.connect_vm, operations.get_vm_screenshot)
        ],
        pages=console_pages(Consoles(cloud.database, cloud.hosts, cloud.catalogue.limits, cloud.clock)),
        clock=cloud.clock,
    )


@pytest.fixture
def url(cloud) -> Iterator[str]:
    with serving(app_of(cloud)) as url:
        yield url


@pytest.fixture
def ticket(cloud) -> Callable[..., str]:
    """Ask for a ticket as the API's callers do."""
    return lambda vm="hello", caller=None: cloud.ask(operations.connect_vm, vm, caller).token


@contextmanager
def socket_to(url: str, kind: str, vm: str = "hello", **options) -> Iterator[ClientConnection]:
    address = f"ws{url.removeprefix('http')}/console/{PROJECT}/{vm}/{kind}/socket"
    with connect(address, proxy=None, compression=None, **options) as line:
        yield line


@pytest.fixture
def look(url, ticket) -> Iterator[Callable[..., ClientConnection]]:
    """Open a console that opens, and have its line."""
    with ExitStack() as lines:

        def open_one(kind: str = "screen", *, with_ticket: str = "") -> ClientConnection:
            line = lines.enter_context(socket_to(url, kind))
            line.send(with_ticket or ticket())
            assert line.recv(timeout=PATIENCE_S) == "open"
            if kind == "screen":
                assert line.recv(timeout=PATIENCE_S) == GREETING
            return line

        yield open_one
