"""The private host's fabric, and guests plugged into it."""

import os
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest
from tests.fabric import guests
from tests.fabric.guests import Guest
from tests.fabric.specs import EXTERNAL, Project

from cumulet.doctor.bridges import ensure_external_bridge
from cumulet.doctor.prepare import prepare_host
from cumulet.doctor.uplink import Reach
from cumulet.fabric.ovn import open_fabric

REACH = Reach(
    resolvers=(IPv4Address("192.0.2.1"),),
    networks=(IPv4Network("198.51.100.0/24"),),
    services=("8081/tcp", "8082/tcp", "8083/tcp", "8084/tcp", "8085/tcp"),
)
"""Where tests have servers of the host's and of its networks."""


@pytest.fixture(scope="module")
def fabric():
    assert "LAB_DIR" in os.environ, "this test changes its host: run it by tests/lab/enter"
    prepare_host(print)
    guests.run("ovs-vsctl", "set", "Open_vSwitch", ".", f"external_ids:system-id={EXTERNAL.carriers[0]}")
    host = prepare_host(print)
    ensure_external_bridge(
        EXTERNAL.bridge, IPv4Interface("192.0.2.1/24"), datapath=host.datapath, reach=REACH
    )
    fabric = open_fabric(host.northbound, installation="here")
    yield fabric
    fabric.close()


@pytest.fixture
def plug(fabric):
    plugged = []

    def plug(*ports):
        new = [Guest(port) for port in ports]
        plugged.extend(new)
        for port in ports:
            guests.wait_for_port(port)
        assert fabric.settled()
        return new if len(new) > 1 else new[0]

    yield plug
    for guest in plugged:
        guest.remove()
    clear(fabric)


def clear(fabric):
    """Remove all that tests put into the fabric."""
    for port_id in fabric.ports():
        fabric.remove_port(port_id)
    for group_id in fabric.groups():
        fabric.remove_group(group_id)
    for network_id in fabric.networks():
        fabric.remove_network(network_id)
    for router_id in fabric.routers():
        fabric.remove_router(router_id)
    assert fabric.settled()


@pytest.fixture
def project(fabric):
    return Project(fabric, 2, "10.0.0.0/24")


@pytest.fixture
def stranger(fabric):
    return Project(fabric, 3, "10.0.1.0/24")
