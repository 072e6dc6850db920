"""Two server processes on one PostgreSQL, with one host and one shared directory: one is killed, or each is replaced, under load."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from tests.line.conftest import helping
from tests.made_up import IMAGE
from tests.ports import free_port
from tests.waiting import PATIENCE_S, eventually

from cumulet.catalogue import read_catalogue
from cumulet.hypervisor.memory import memory_hosts
from cumulet.serve.ssh_key import ensure_ssh_key
from cumulet.settings import LONGEST_DRAIN

VMS = "/v1/projects/default/vms"
GROUPS = "/v1/projects/default/security-groups"
POOLS = read_catalogue(None).data_centers[0].pool_paths
DRAIN_SECONDS = LONGEST_DRAIN
"""Until a second signal tells that nobody asks any more."""


@dataclass
class Server:
    """One of them: its process is replaced, its address stays."""

    command: tuple[str, ...]
    environment: dict[str, str]
    url: str
    log: Path
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, env=self.environment, stdout=log, stderr=log)
        eventually(self.is_ready)

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return httpx.get(f"{self.url}/readyz").is_success
        except httpx.TransportError:
            return False

    def replace(self, until_left: Callable[[], object]) -> None:
        self.process.send_signal(signal.SIGTERM)
        eventually(self.wants_nothing_new)
        until_left()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE_S)
        self.start()

    def wants_nothing_new(self) -> bool:
        """It still takes connections, and says that it wants none."""
        return httpx.get(f"{self.url}/readyz").status_code == httpx.codes.SERVICE_UNAVAILABLE


class Spreader:
    """What stands before the servers: asks who is ready, and keeps to one as long as that is."""

    def __init__(self, servers: tuple[Server, ...], key: str) -> None:
        self._apis = [
            httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {key}"}, timeout=60)
            for server in servers
        ]
        self.ready = self._apis[0]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        for api in self._apis:
            api.close()

    def _follow(self) -> None:
        while not self._ended.wait(0.1):
            if not self._is_ready(self.ready):
                self.ready = next(filter(self._is_ready, self._apis), self.ready)

    def _is_ready(self, api: httpx.Client) -> bool:
        try:
            return api.get("/readyz").is_success
        except httpx.TransportError:
            return False

    def create(self, name: str) -> httpx.Response:
        """Ask for a VM; whoever loses a connection sends the same request again."""
        wishes = {
            "dataCenterId": "local", "machineType": "standard", "vmId": name, "bootDiskImageId": IMAGE,
            "vcpus": 1, "memoryGib": 1, "bootDisk": {"sizeGib": 1},
        }  # fmt: skip
        named = {"Idempotency-Key": str(uuid4())}

        def send() -> httpx.Response | None:
            try:
                return self.ready.post("/v1/projects/default/vm", json=wishes, headers=named)
            except httpx.TransportError:
                return None

        return eventually(send)

    def states(self) -> dict[str, str]:
        return {vm["id"]: vm["state"] for vm in self.ready.get(VMS).json()["VMs"]}


def make_server(folder: Path, name: str, database: str, line: Path) -> Server:
    """Give a server a data directory of its own, and what all share."""
    others = {key: value for key, value in os.environ.items() if not key.startswith("CUMULET_")}
    url = f"127.0.0.1:{free_port()}"
    own = {
        "CUMULET_DATA_DIR": str(folder / name),
        "CUMULET_SHARED_DIR": str(folder / "shared"),
        "CUMULET_HYPERVISOR": "memory:",
        "CUMULET_DATABASE_URL": database,
        "CUMULET_LISTEN": url,
        "CUMULET_DRAIN_SECONDS": str(DRAIN_SECONDS),
    }
    command = (sys.executable, "-m", "tests.server_with_a_far_host", str(line))
    return Server(command, {**others, **own}, f"http://{url}", folder / f"{name}.log")


@contextmanager
def running(server: Server) -> Iterator[Server]:
    try:
        server.start()
        yield server
    finally:
        server.process.kill()
        server.process.wait()


@pytest.fixture
def host():
    return memory_hosts("memory:", pools=POOLS)["memory-1"]


@pytest.fixture
def pair(postgres, host, tmp_path) -> Iterator[tuple[Server, Server]]:
    line = tmp_path / "line"
    with ExitStack() as stack:
        stack.enter_context(helping(lambda _: host, line))
        database = stack.enter_context(postgres.database())
        first, second = (
            stack.enter_context(running(make_server(tmp_path, name, database, line)))
            for name in ("one", "two")
        )
        yield first, second


@pytest.fixture
def spreader(pair, tmp_path) -> Iterator[Spreader]:
    spreader = Spreader(pair, (tmp_path / "one" / "admin.key").read_text().strip())
    yield spreader
    spreader.close()


def test_of_two_servers_one_is_killed_and_all_that_was_asked_of_either_is_done_once(pair, spreader, host):
    names = [f"vm-{number}" for number in range(24)]
    for name in names[:12]:
        assert spreader.create(name).is_success
    pair[0].process.send_signal(signal.SIGKILL)
    for name in names[12:]:
        assert spreader.create(name).is_success
    eventually(lambda: spreader.states() == dict.fromkeys(names, "ACTIVE"), within=240)
    assert len(host.machines.list()) == len(names)


def test_servers_are_replaced_one_after_the_other_and_no_request_is_refused(pair, spreader):
    refused: list[object] = []
    rounds = [0] * 3
    ended = threading.Event()

    def ask(number: int) -> None:
        while not ended.is_set():
            rounds[number] += 1
            try:
                answers = [spreader.ready.get(VMS) for _ in range(5)]
                answers.append(spreader.ready.post(GROUPS, json=group()))
            except httpx.TransportError as problem:
                refused.append(problem)
                continue
            refused.extend(answer.text for answer in answers if not answer.is_success)

    def group() -> dict[str, str]:
        return {"id": f"group-{uuid4().hex}", "dataCenterId": "local"}

    def leave(server: Server) -> None:
        """Return when nobody asks this server any more: whoever had begun to has begun another round since."""
        eventually(lambda: spreader.ready.base_url.port != httpx.URL(server.url).port)
        before = tuple(rounds)
        eventually(lambda: all(now > then for now, then in zip(rounds, before, strict=True)))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(rounds))]
    for thread in threads:
        thread.start()
    try:
        for server in pair:
            server.replace(partial(leave, server))
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert refused == []


def test_servers_that_start_at_once_have_one_ssh_key(tmp_path):
    keys: list[str] = []
    threads = [
        threading.Thread(target=lambda: keys.append(ensure_ssh_key(tmp_path).public)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(keys)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["hosts.key"]
