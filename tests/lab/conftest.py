"""A network over the server and the three machines, and stand-ins for VMs on any of them; machines as hosts of the cloud."""

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from tests.e2e.real_cloud import URL, lab_dir
from tests.fabric import guests
from tests.fabric.conftest import clear, fabric
from tests.fabric.guests import Guest, run
from tests.fabric.specs import EXTERNAL
from tests.lab.ground import NAMES, SERVER_TUNNELS, open_tunnels
from tests.waiting import eventually

from cumulet.doctor import calls
from cumulet.hosts.overlay import Centre, Vouching

__all__ = ["fabric"]
FROM_THE_SERVER = replace(EXTERNAL, everywhere=False)
"""The external range is led to by the server alone."""


@pytest.fixture(autouse=True)
def all_on(request):
    """A machine that a test which failed left off is on again: that is one failure, not a hundred."""
    yield
    if "ground" in request.fixturenames:
        for machine in request.getfixturevalue("ground").machines:
            if not machine.is_on():
                machine.switch_on()


@pytest.fixture(scope="module")
def centre() -> Centre:
    """The server, as machines are taken into its network; by the authority of a cloud that may be on this private host."""
    return Centre(calls, Vouching.below(lab_dir() / "cloud/data", lambda: datetime.now(UTC)))


@pytest.fixture(scope="module")
def taken_in(ground, fabric, centre):
    """The machines, taken into the network."""
    for machine in ground.machines:
        centre.take_in(machine.doctor, machine.name)
        machine.open_tunnels()
    open_tunnels(run, SERVER_TUNNELS)
    eventually(lambda: len(fabric.chassis()) == 1 + len(ground.machines))
    return ground.machines


@pytest.fixture
def plug_at(fabric, taken_in):
    """Plugs a stand-in for a VM in at a machine, or at the server (None)."""
    with plugging(fabric) as plug_at:
        yield plug_at


@contextmanager
def plugging(fabric):
    """Plug stand-ins in for as long as the block lasts, and clear the fabric."""
    plugged = []

    def plug_at(machine, port):
        guest = Guest(port, machine)
        plugged.append(guest)
        guests.wait_for_port(port)
        assert fabric.settled()
        return guest

    try:
        yield plug_at
    finally:
        for guest in plugged:
            guest.remove()
        clear(fabric)


@pytest.fixture(scope="session")
def cumulet(real_cloud):
    """Runs a command of the operator's and gives what it printed, on both ways."""

    def run(*argv):
        key = (real_cloud.data_dir / "admin.key").read_text().strip()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CUMULET_")}
        return subprocess.run(
            (sys.executable, "-m", "cumulet", *argv), check=True, capture_output=True, text=True,
            env=inherited | {"CUMULET_URL": URL, "CUMULET_API_KEY": key},
        )  # fmt: skip

    return run


@pytest.fixture(scope="session")
def hosts_of_the_cloud(cumulet):
    """Gives the names of the hosts that the cloud has now."""
    return lambda: set(cumulet("host", "list", "-o", "name").stdout.split())


@pytest.fixture(scope="session")
def home(hosts_of_the_cloud):
    """The host that the server is on."""
    (home,) = hosts_of_the_cloud() - set(NAMES)
    return home


@pytest.fixture(scope="session")
def let_in(cumulet):
    """Has a machine let the server's key in, which it forgets when it is off."""

    def let_in(machine):
        key = cumulet("host", "key").stdout.strip()
        machine.run("sh", "-c", f"echo '{key}' >>/root/.ssh/authorized_keys")

    return let_in


@pytest.fixture(scope="module")
def none_stays(cumulet, hosts_of_the_cloud):
    """No machine is a host of the cloud any more when the module has ended."""
    yield
    for name in hosts_of_the_cloud() & set(NAMES):
        cumulet("host", "remove", name)


@pytest.fixture(scope="module")
def make_hosts(cumulet, home, let_in, none_stays):
    """Makes machines the hosts that the cloud's VMs go to, until the module has ended."""

    def make_hosts(machines):
        for machine in machines:
            let_in(machine)
            cumulet("host", "add", machine.destination, "--timeout", "3m")
            machine.open_tunnels()
        open_tunnels(run, SERVER_TUNNELS)
        cumulet("host", "cordon", home)
        return machines

    yield make_hosts
    cumulet("host", "uncordon", home)
