"""What every Fabric must do: subclassed for each of them, with a fixture `fabric`."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import IPv4Address
from uuid import uuid4

import pytest
from tests.fabric.specs import EXTERNAL, Project, a_network, a_port, a_router

from cumulet.fabric import FabricError


class FabricContract:
    def test_what_was_put_is_listed(self, fabric):
        project = Project(fabric)
        port = project.port(external_address="192.0.2.10")
        assert fabric.routers() == {project.router.id: project.router}
        assert fabric.networks() == {project.network.id: project.network}
        assert fabric.ports() == {port.id: port}

    def test_an_empty_fabric_lists_nothing_and_answers(self, fabric):
        fabric.ping()
        assert (fabric.routers(), fabric.networks(), fabric.ports()) == ({}, {}, {})

    def test_a_router_needs_its_external_switch(self, fabric):
        with pytest.raises(FabricError, match="br-test"):
            fabric.put_router(a_router())
        assert fabric.routers() == {}

    def test_a_network_needs_its_router(self, fabric):
        network = a_network(a_router())
        with pytest.raises(FabricError, match=str(network.router_id)):
            fabric.put_network(network)
        assert fabric.networks() == {}

    def test_a_port_needs_its_network(self, fabric):
        port = a_port(a_network(a_router()))
        with pytest.raises(FabricError, match=str(port.network_id)):
            fabric.put_port(port)
        assert fabric.ports() == {}

    def test_a_changed_spec_takes_the_place_of_the_old_one(self, fabric):
        project = Project(fabric)
        port = project.port(external_address="192.0.2.10")
        router = replace(project.router, mac="0a:00:00:00:00:99")
        network = replace(project.network, resolvers=(IPv4Address("192.0.2.53"),), mtu=1300)
        changed = replace(port, address=IPv4Address("10.0.0.11"), hostname="other", external_address=None)
        fabric.put_router(router)
        fabric.put_network(network)
        fabric.put_port(changed)
        assert fabric.routers() == {router.id: router}
        assert fabric.networks() == {network.id: network}
        assert fabric.ports() == {port.id: changed}

    def test_a_port_can_move_to_another_network(self, fabric):
        project = Project(fabric)
        port = project.port()
        other = a_network(project.router, "10.0.1.0/24")
        fabric.put_network(other)
        moved = replace(port, network_id=other.id, address=IPv4Address("10.0.1.10"))
        fabric.put_port(moved)
        fabric.remove_network(project.network.id)
        assert fabric.ports() == {port.id: moved}

    def test_several_projects_can_use_the_same_range(self, fabric):
        one, two = Project(fabric, 2), Project(fabric, 3)
        ports = [one.port(external_address="192.0.2.10"), two.port(external_address="192.0.2.11")]
        assert fabric.ports() == {port.id: port for port in ports}

    def test_removing_twice_is_no_error(self, fabric):
        project = Project(fabric)
        port = project.port(external_address="192.0.2.10")
        for _ in range(2):
            fabric.remove_port(port.id)
            fabric.remove_network(project.network.id)
            fabric.remove_router(project.router.id)
        assert (fabric.routers(), fabric.networks(), fabric.ports()) == ({}, {}, {})

    def test_removing_what_never_was_is_no_error(self, fabric):
        fabric.remove_port(uuid4())
        fabric.remove_network(uuid4())
        fabric.remove_router(uuid4())

    def test_a_removed_network_takes_its_ports_along(self, fabric):
        project = Project(fabric)
        project.port(external_address="192.0.2.10")
        fabric.remove_network(project.network.id)
        assert (fabric.networks(), fabric.ports()) == ({}, {})
        assert fabric.routers() == {project.router.id: project.router}

    def test_what_a_removed_router_took_along_is_listed_as_changed_and_can_be_put_again(self, fabric):
        project = Project(fabric)
        port = project.port(external_address="192.0.2.10")
        fabric.remove_router(project.router.id)
        assert fabric.networks()[project.network.id] != project.network
        assert fabric.ports()[port.id] != port
        fabric.put_router(project.router)
        fabric.put_network(project.network)
        fabric.put_port(port)
        assert fabric.routers() == {project.router.id: project.router}
        assert fabric.networks() == {project.network.id: project.network}
        assert fabric.ports() == {port.id: port}

    def test_many_threads_may_call_at_once(self, fabric):
        project = Project(fabric)
        ports = [a_port(project.network, number, f"192.0.2.{number}") for number in range(10, 60)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(fabric.put_port, ports))
            assert fabric.ports() == {port.id: port for port in ports}
            list(pool.map(fabric.remove_port, [port.id for port in ports]))
        assert fabric.ports() == {}

    def test_a_data_center_can_get_another_range(self, fabric):
        project = Project(fabric)
        external = replace(EXTERNAL, gateway=IPv4Address("192.0.2.254"))
        router = replace(project.router, external=external)
        fabric.put_external(external)
        fabric.put_router(router)
        assert fabric.routers() == {router.id: router}
