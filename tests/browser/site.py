"""A server of one's own with pages, on made-up hosts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from tests.cli.conftest import own_settings, plain_environment, serving

AXE: Final = (Path(__file__).parents[2] / "node_modules/axe-core/axe.min.js").read_text()


@dataclass(frozen=True)
class Site:
    """Where it is, and how its owner calls it."""

    url: str
    key: str
    settings: dict[str, str]
    names: dict[str, str] = field(default_factory=dict)
    """What is only known once it is made: ids in the addresses of pages."""

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = httpx.post(self.url + path, json=body or {}, headers={"authorization": f"Bearer {self.key}"})
        answer.raise_for_status()
        return answer.json()

    def link(self) -> str:
        """What `cumulet web` opens."""
        return self.ask("/v1/sessions/tickets")["url"]

    def create(self, name: str, **fields: Any) -> None:
        right = {
            "dataCenterId": "local",
            "machineType": "standard",
            "bootDiskImageId": "micro",
            "vcpus": 1,
            "memoryGib": 1,
        }
        self.ask("/v1/projects/default/vm", right | {"vmId": name} | fields)

    def cumulet(self, *words: str) -> str:
        """Run a command as its owner."""
        return subprocess.run(
            (sys.executable, "-m", "cumulet", *words),
            env=plain_environment(self.settings), check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip


@contextmanager
def running_site(folder: Path) -> Iterator[Site]:
    settings = own_settings(folder / "data")
    with serving(settings):
        url = f"http://{settings['CUMULET_LISTEN']}"
        yield Site(url, (folder / "data/admin.key").read_text().strip(), settings)
