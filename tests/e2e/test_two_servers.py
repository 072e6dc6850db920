"""Two servers on one PostgreSQL and one host: they share the work, and one of them may die at it."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import httpx
import pytest
from tests.e2e import world
from tests.e2e.real_cloud import RealCloud, built_images, lab_dir
from tests.waiting import eventually

pytestmark = pytest.mark.lab

NAMES = ("first", "second", "third")


@dataclass(frozen=True)
class Server:
    """One of the two, with its own way in."""

    process: subprocess.Popen[bytes]
    api: httpx.Client

    def answers(self) -> bool:
        assert self.process.poll() is None, "the server ended"
        try:
            return self.api.get("/healthz").is_success
        except httpx.TransportError:
            return False

    def knows(self, name: str) -> bool:
        return self.api.get(f"/v1/projects/default/vms/{name}").is_success

    def states(self) -> dict[str, str]:
        vms = self.api.get("/v1/projects/default/vms").json()["VMs"]
        return {vm["id"]: vm["state"] for vm in vms}


@contextmanager
def running(cloud: RealCloud, database: str, port: int) -> Iterator[Server]:
    process = cloud.launch(CUMULET_DATABASE_URL=database, CUMULET_LISTEN=f"127.0.0.1:{port}")
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as api:
        server = Server(process, api)
        try:
            eventually(server.answers)
            api.headers["Authorization"] = f"Bearer {(cloud.data_dir / 'admin.key').read_text().strip()}"
            yield server
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def pair(postgres) -> Iterator[tuple[Server, Server]]:
    """Both, with a range of their own beside the other cloud of this host."""
    cloud = RealCloud(lab_dir() / "pair", built_images(), resolver=world.ADDRESS)
    cloud.catalogue.write_text(cloud.catalogue.read_text().replace("198.19.0.0/18", "198.19.64.0/18"))
    with ExitStack() as stack:
        database = stack.enter_context(postgres.database())
        yield (
            stack.enter_context(running(cloud, database, 8481)),
            stack.enter_context(running(cloud, database, 8482)),
        )


def create(server: Server, name: str) -> None:
    wishes = {
        "dataCenterId": "local",
        "machineType": "standard",
        "vmId": name,
        "bootDiskImageId": "micro",
        "vcpus": 1,
        "memoryGib": 1,
        "gpus": 0,
    }
    assert server.api.post("/v1/projects/default/vm", json=wishes).is_success


def test_what_a_killed_server_had_accepted_the_other_one_does(pair):
    dying, living = pair
    for name in NAMES:
        create(dying, name)
    dying.process.kill()
    eventually(lambda: living.states() == dict.fromkeys(NAMES, "ACTIVE"), within=180)
    for name in NAMES:
        assert living.api.post(f"/v1/projects/default/vms/{name}/terminate").is_success
    assert living.states() == {}
    eventually(lambda: not any(map(living.knows, NAMES)))
