"""A network over the server and the three machines, and stand-ins for VMs on any of them."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from tests.e2e.real_cloud import lab_dir
from tests.fabric import guests
from tests.fabric.conftest import clear, fabric
from tests.fabric.guests import Guest, run
from tests.fabric.specs import EXTERNAL
from tests.lab.ground import SERVER_TUNNELS, open_tunnels
from tests.waiting import eventually

from cumulet.doctor import calls
from cumulet.hosts.overlay import Centre

__all__ = ["fabric"]
FROM_THE_SERVER = replace(EXTERNAL, everywhere=False)
"""The external range is led to by the server alone."""


@pytest.fixture(scope="module")
def centre() -> Centre:
    """The server, as machines are taken into its network; by the authority of a cloud that may be on this private host."""
    return Centre(calls, lab_dir() / "cloud/data/overlay", datetime.now(UTC))


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
    plugged = []

    def plug_at(machine, port):
        guest = Guest(port, machine)
        plugged.append(guest)
        guests.wait_for_port(port)
        assert fabric.settled()
        return guest

    yield plug_at
    for guest in plugged:
        guest.remove()
    clear(fabric)
