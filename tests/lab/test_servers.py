"""Two servers on two machines with one PostgreSQL: hosts are added to no machine's own, and one server dies at its work."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.resources import files

import httpx
import pytest
from tests.e2e.real_cloud import SshKey, built_images, lab_dir
from tests.lab.ground import NAMES, OUTSIDE_RANGE, UPLINK, uplinks_of
from tests.waiting import eventually

pytestmark = pytest.mark.lab
VMS = "/v1/projects/default/vms"


class Server:
    """A server on a machine, whose disk has nothing of it but its own key."""

    def __init__(self, machine, database, shared):
        self.machine = machine
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CUMULET_")}
        settings = {
            "CUMULET_HYPERVISOR": "none",
            "CUMULET_DATABASE_URL": database,
            "CUMULET_SHARED_DIR": str(shared),
            "CUMULET_CATALOGUE": str(shared / "catalogue.toml"),
            "CUMULET_LISTEN": f"{machine.address}:8480",
            "CUMULET_PLAIN_HTTP": "1",
        }
        self.log = shared / f"{machine.name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                machine.inside(sys.executable, "-m", "cumulet", "serve"),
                env=inherited | settings, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self.api = httpx.Client(base_url=f"http://{machine.address}:8480", timeout=30)
        eventually(self.answers)
        key = machine.run("cat", "/var/lib/cumulet/admin.key").strip()
        self.api.headers["Authorization"] = f"Bearer {key}"

    def answers(self):
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        try:
            return self.api.get("/healthz").is_success
        except httpx.TransportError:
            return False

    def ask(self, method, path, **body):
        answer = self.api.request(method, path, json=body or None)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def hosts(self):
        return {host["id"]: host for host in self.ask("GET", "/v1/hosts")["hosts"]}

    def states(self):
        return {vm["id"]: vm["state"] for vm in self.ask("GET", VMS)["VMs"]}

    def create(self, name, key):
        wishes = {
            "dataCenterId": "local", "machineType": "standard", "vmId": name, "bootDiskImageId": "micro",
            "vcpus": 1, "memoryGib": 1, "gpus": 0, "customSshKeys": [key.public],
            "metadata": {"cumulet/apart": "yes"},
        }  # fmt: skip
        self.ask("POST", "/v1/projects/default/vm", **wishes)

    def kill(self):
        self.machine.kill("python")
        self.process.wait()


@pytest.fixture
def shared():
    """What both have in common beside the database."""
    shared = lab_dir() / "servers"
    shared.mkdir()
    (shared / "images").symlink_to(built_images())
    offered = (files("cumulet.catalogue") / "default.toml").read_text()
    leads_out = f'external_range = "{OUTSIDE_RANGE}"\nexternal_bridge = "{UPLINK}"'
    offered = offered.replace('external_range = "198.19.0.0/18"', leads_out)
    (shared / "catalogue.toml").write_text(offered.replace("resolvers = []", 'resolvers = ["192.0.2.53"]', 1))
    return shared


@pytest.fixture
def servers(ground, postgres, shared):
    with postgres.database() as database:
        servers = [Server(machine, database, shared) for machine in ground.machines[:2]]
        yield servers
        for server in servers:
            server.api.close()
        for machine in ground.machines:
            machine.switch_off()
            machine.switch_on()


def test_one_of_two_servers_dies_at_its_work_and_the_other_goes_on_on_all_hosts(servers, ground, shared):
    first, second = servers
    for machine in ground.machines:
        key = first.ask("GET", "/v1/host-key")["publicKey"]
        machine.run("sh", "-c", f"echo '{key}' >>/root/.ssh/authorized_keys")
        first.ask("POST", "/v1/hosts", destination=machine.destination)
    eventually(lambda: {host["state"] for host in first.hosts().values()} == {"UP"}, within=180)
    eventually(lambda: first.hosts()["h1"]["central"])
    for machine in ground.machines:
        machine.open_tunnels()
    with uplinks_of(ground.machines):
        first.ask("PUT", "/v1/host-central", hosts=list(NAMES))
        own = SshKey.make(shared / "key")
        for name in ("one", "two"):
            first.create(name, own)
        first.kill()
        second.create("three", own)
        eventually(lambda: second.states() == dict.fromkeys(("one", "two", "three"), "ACTIVE"), within=180)
        assert {host["runningVms"] for host in second.hosts().values()} == {1}
        eventually(lambda: all(host["central"] for host in second.hosts().values()), within=180)
