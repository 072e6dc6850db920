"""A real `cumulet serve` in a process of its own, and its API as its owner has it."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx

IMAGES: Final = Path(os.environ.get("CUMULET_TEST_IMAGES", "/var/cache/cumulet-test/images"))
LOOK_SECONDS: Final = 0.02
_ports: Final = count(8500)


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs."""

    pid: int
    url: str
    data_dir: Path
    api: httpx.Client

    @property
    def key(self) -> str:
        """The owner's API key."""
        return read_key(self.data_dir)

    def ask(self, method: str, path: str, **request: Any) -> Any:  # noqa: ANN401 - JSON
        """Give an answer of the API; RuntimeError when it refuses."""
        answer = self.api.request(method, f"/v1/projects/default/{path}", **request)
        if not answer.is_success:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json()

    def create(self, name: str, **wishes: object) -> None:
        """Ask for a VM, as small as can be but for the wishes."""
        self.ask("POST", "vm", json=smallest_vm(name) | wishes)

    def shown(self, name: str) -> Any:  # noqa: ANN401 - JSON
        """Give what GetVM shows."""
        return self.ask("GET", f"vms/{name}")["VM"]

    def terminate(self, name: str) -> None:
        """Remove a VM and return when it is gone."""
        self.ask("POST", f"vms/{name}/terminate")
        path = f"/v1/projects/default/vms/{name}"
        wait_until(lambda: self.api.get(path).status_code == httpx.codes.NOT_FOUND, f"{name} is gone")

    def is_settled(self) -> bool:
        """Whether no VM and no disk is to be looked at any more: VMs still are after they are ACTIVE, until they are up."""
        return self._count("due WHERE kind IN ('vm', 'disk')") == 0

    def is_billed(self) -> bool:
        """Whether usage has taken over all that was told: it does so each minute."""
        return self._count("journal WHERE bills") == 0

    def running(self) -> int:
        """Count the VMs that run without asking the server, which has other things to do."""
        return self._count("vm WHERE state = 'ACTIVE'")

    def _count(self, rows: str) -> int:
        database = f"file:{self.data_dir / 'cumulet.db'}?mode=ro"
        with closing(sqlite3.connect(database, uri=True)) as db:
            (count,) = db.execute(f"SELECT count(*) FROM {rows}").fetchone()  # noqa: S608 - words of ours
        return int(count)

    def count_in(self, *states: str) -> int:
        """Count the VMs in these states."""
        return sum(vm["state"] in states for vm in self.ask("GET", "vms")["VMs"])


def smallest_vm(name: str) -> dict[str, object]:
    """Give the body of a request for a VM as small as can be."""
    offer = {"dataCenterId": "local", "machineType": "standard", "bootDiskImageId": "micro"}
    return {**offer, "vcpus": 1, "memoryGib": 1, "gpus": 0, "vmId": name}


@contextmanager
def running_server(folder: Path, **settings: str) -> Iterator[Server]:
    """Run a server with the images at hand and a data directory of its own, for as long as the block lasts.

    A folder where one has run before still has all that this one had.
    """
    data_dir, port = folder / "data", next_port()
    if not data_dir.exists():
        data_dir.mkdir(parents=True)
        (data_dir / "images").symlink_to(IMAGES)
    unbounded = folder / "unbounded.toml"
    unbounded.write_text(unbounded_catalogue())
    usual = {
        "CUMULET_DATA_DIR": str(data_dir),
        "CUMULET_LISTEN": f"127.0.0.1:{port}",
        "CUMULET_CATALOGUE": str(unbounded),
    }
    process = launch(folder, usual | settings)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: has_ended(process, folder) or answers(f"{url}/healthz"), f"{url} answers")
        authorization = f"Bearer {read_key(data_dir)}"
        with httpx.Client(base_url=url, headers={"Authorization": authorization}, timeout=60) as api:
            yield Server(process.pid, url, data_dir, api)
    finally:
        process.terminate()
        process.wait(timeout=60)


def unbounded_catalogue() -> str:
    """Give the catalogue of who has none, by which one caller may ask as often as the server can answer."""
    from cumulet.catalogue import file  # noqa: PLC0415 - beside it

    text = (Path(file.__file__).parent / "default.toml").read_text()
    return re.sub(r"^(requests_\w+) = \d+", r"\1 = 1000000", text, flags=re.MULTILINE)


def launch(folder: Path, settings: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start the process; what it logs goes to a file."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CUMULET_")}
    with (folder / "serve.log").open("wb") as log:
        return subprocess.Popen(
            (sys.executable, "-m", "cumulet", "serve"),
            env=inherited | settings,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def has_ended(process: subprocess.Popen[bytes], folder: Path) -> bool:
    """Complain with the end of its log when the server is no more."""
    if process.poll() is not None:
        raise RuntimeError(f"the server ended: {(folder / 'serve.log').read_text()[-3000:]}")
    return False


def answers(url: str) -> bool:
    """Whether somebody answers there."""
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.TransportError:
        return False


def next_port() -> int:
    """Give a port that nobody has: the host is private."""
    return next(_ports)


def read_key(data_dir: Path) -> str:
    """Read the owner's API key."""
    return (data_dir / "admin.key").read_text().strip()


def wait_until(
    look: Callable[[], bool], what: str, *, within: float = 120, pause: float = LOOK_SECONDS
) -> None:
    """Return as soon as a look is true; TimeoutError says what did not come."""
    deadline = time.monotonic() + within
    while not look():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within:g} s: {what}")
        time.sleep(pause)
