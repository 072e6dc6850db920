"""What a request pays for being checked: who asks and whether they may, the project's quotas, and the answer kept for a repeat.

The same requests go to the same app twice, one by one in turns and within one process, without a wire: once as it is, once
with nothing in the place of those checks. The audit, which is no check, is in both.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch
from uuid import uuid4

import msgspec
from bench.figure import Figure, at_most, say
from bench.server import IMAGES, read_key
from bench.stage import MADE_UP_HOSTS, Stage
from litestar.types import ASGIApp
from structlog.testing import capture_logs

from cumulet.catalogue import Catalogue
from cumulet.limits import Quotas
from cumulet.operation import Caller
from cumulet.projects.access import authenticate
from cumulet.quotas import Allowance
from cumulet.sealing import Seal
from cumulet.serve import build as putting_together
from cumulet.serve.build import Cloud, app_of, build
from cumulet.settings import read_settings

TURNS: Final = 12
AT_ONCE: Final = 25
"""Creates in a turn, and as many looks at what they made, none of which was answered before."""
MOST_PERCENT: Final = 15
PATH: Final = "/v1/projects/default"
MUCH: Final = 1_000_000


def measure(stage: Stage) -> list[Figure]:
    """Create VMs and look at each, with the checks and without."""
    cloud = made_up_cloud(stage.folder / "checks")
    catalogue = generous(cloud.catalogue)
    with closing(cloud.database), capture_logs():  # what a server logs would stand in the table
        key = read_key(cloud.settings.data_dir)
        with cloud.database.reading() as db:
            owner = authenticate(db, key, now=datetime.now(UTC), project_id="default")
        checked = Requests(app_with(cloud, catalogue), key, "checked")
        unchecked = Unchecked(app_without(cloud, catalogue, owner), key, "unchecked")
        say(f"checks: {TURNS} turns of {AT_ONCE} creates and looks, with and without")
        for turn in range(TURNS):
            asyncio.run(take_turns(checked, unchecked, turn))
    return [
        share("GetVM, read anew", checked.looks, unchecked.looks),
        share("a create", checked.creates, unchecked.creates),
    ]


async def take_turns(checked: Requests, unchecked: Requests, turn: int) -> None:
    """Have each create some VMs, and look at each: what else the machine does meets both alike."""
    pair = (checked, unchecked)
    names = [f"{turn}-{number}" for number in range(AT_ONCE)]
    creates, looks = dict.fromkeys(pair, 0.0), dict.fromkeys(pair, 0.0)
    for number, name in enumerate(names):
        for one in pair if number % 2 else reversed(pair):
            creates[one] += await one.create(name)
    for number, name in enumerate(names):
        for one in pair if number % 2 else reversed(pair):
            looks[one] += await one.look(name)
    for one in pair:
        one.creates.append(creates[one] / AT_ONCE)
        one.looks.append(looks[one] / AT_ONCE)


def share(name: str, checked: Sequence[float], unchecked: Sequence[float]) -> Figure:
    """Say how much of the CPU of one request the checks are, in the turn in the middle: each has both, side by side."""
    parts = sorted(
        (with_all - without, with_all) for with_all, without in zip(checked[1:], unchecked[1:], strict=True)
    )
    part, whole = parts[len(parts) // 2]
    detail = f"{part * 1000:.2f} of {whole * 1000:.2f} ms of CPU"
    words = f"who may, quotas, repeats: their part of {name}"
    return at_most(words, part / whole * 100, MOST_PERCENT, unit="%", detail=detail)


def made_up_cloud(folder: Path) -> Cloud:
    """Put a cloud together that nobody runs: what is asked of it is written down and that is all."""
    data_dir = folder / "data"
    data_dir.mkdir(parents=True)
    (data_dir / "images").symlink_to(IMAGES)
    return build(read_settings({"CUMULET_HYPERVISOR": MADE_UP_HOSTS, "CUMULET_DATA_DIR": str(data_dir)}))


def generous(catalogue: Catalogue) -> Catalogue:
    """Have a quota of everything that a create takes, and let one caller ask as often as can be."""
    quotas = Quotas(vms=MUCH, vcpus=MUCH, memory_gib=MUCH, disk_gib=MUCH, external_addresses=MUCH, gpus=MUCH)
    limits = replace(catalogue.limits, requests_per_second=MUCH, requests_at_once=MUCH)
    return replace(catalogue, quotas=quotas, limits=limits)


def app_with(cloud: Cloud, catalogue: Catalogue) -> ASGIApp:
    """Give what answers requests, as it is."""
    return app_of(
        cloud.database,
        catalogue,
        cloud.backends,
        cloud.feed,
        ssh_key="",
        standing=cloud.standing,
        provider=None,
        seal=Seal(cloud.settings.shared_dir),
    )


def app_without(cloud: Cloud, catalogue: Catalogue, owner: Caller) -> ASGIApp:
    """Give what answers requests, taking everybody for the owner."""
    with patch.object(putting_together, "admit", lambda *_, **__: owner):
        return app_with(cloud, catalogue)


class Requests:
    """One who asks an app, and the seconds of CPU that each create and each look took, turn by turn."""

    repeatable = True

    def __init__(self, app: ASGIApp, key: str, name: str) -> None:
        self._app = app
        self._headers = [(b"authorization", f"Bearer {key}".encode()), (b"host", b"bench")]
        self._name = name
        self.creates: list[float] = []
        self.looks: list[float] = []

    async def create(self, name: str) -> float:
        """Create a VM; gives the seconds of CPU."""
        wishes = {
            "dataCenterId": "local",
            "machineType": "standard",
            "bootDiskImageId": "micro",
            "vmId": f"{self._name}-{name}",
        }
        sizes = {"vcpus": 1, "memoryGib": 1}
        called = [(b"idempotency-key", uuid4().hex.encode())] if self.repeatable else []
        return await self._ask("POST", f"{PATH}/vm", msgspec.json.encode(wishes | sizes), called)

    async def look(self, name: str) -> float:
        """Look at one; gives the seconds of CPU."""
        return await self._ask("GET", f"{PATH}/vms/{self._name}-{name}")

    async def _ask(
        self, method: str, path: str, body: bytes = b"", headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> float:
        """Ask once, and give the seconds of CPU; RuntimeError for anything but an answer."""
        told: list[Any] = []

        async def receive() -> Any:  # noqa: ANN401 - ASGI's
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:  # noqa: ANN401 - likewise
            told.append(message)

        began = time.process_time()
        await self._app(scope_of(method, path, [*self._headers, *headers]), receive, send)
        seconds = time.process_time() - began
        if told[0]["status"] != HTTPStatus.OK:
            raise RuntimeError(f"{method} {path}: {told[0]['status']} {told[1]['body']!r}")
        return seconds


class Unchecked(Requests):
    """One whom nobody counts, and who will not send anything again."""

    repeatable = False

    async def create(self, name: str) -> float:
        """Create one with no quota in the way."""
        with patch.object(Allowance, "take", lambda *_: None):
            return await super().create(name)


def scope_of(method: str, path: str, headers: list[tuple[bytes, bytes]]) -> Any:  # noqa: ANN401 - ASGI's
    """Describe a request as a server does."""
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("bench", 80),
        "state": {},
    }
