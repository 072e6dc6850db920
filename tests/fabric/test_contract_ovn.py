import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address, ip_interface

import pytest
from tests.fabric.contract import FabricContract, TraceContract
from tests.fabric.guests import run
from tests.fabric.northbound import NorthboundServer, Translator
from tests.fabric.specs import EXTERNAL, SSH, Project

from cumulet.fabric import Chassis, FabricError, FabricUnreachable, IpProtocol, Probe
from cumulet.fabric.ovn import connection, open_fabric
from cumulet.fabric.ovn.dns import LEGS, RESOLVES
from cumulet.fabric.ovn.names import group as group_name
from cumulet.fabric.ovn.southbound import Way
from cumulet.fabric.ovn.specs import encode_spec

pytestmark = pytest.mark.slow


@pytest.fixture
def northbound(tmp_path_factory):
    server = NorthboundServer(tmp_path_factory.mktemp("nb"))
    yield server
    server.kill()


@pytest.fixture
def fabric(northbound):
    fabric = open_fabric(northbound.remote, installation="here")
    yield fabric
    fabric.close()


@pytest.fixture
def project(fabric):
    return Project(fabric)


@pytest.fixture
def group(project):
    return project.group(SSH)


@pytest.fixture
def port(project, group):
    return project.port(external_address="192.0.2.10", groups={group.id})


class TestOvn(FabricContract):
    pass


class TestOvnTrace(TraceContract):
    @pytest.fixture(autouse=True)
    def translated(self, northbound):
        translator = Translator(northbound)
        yield
        translator.kill()


def columns(northbound, table, *names, where=()):
    """Columns of a table's rows, as ovn-nbctl prints them."""
    listed = northbound.ctl("--bare", "--format=csv", f"--columns={','.join(names)}", "find", table, *where)
    return sorted(tuple(line.split(",")) for line in listed.splitlines())


def test_a_router_is_at_the_first_of_its_carriers_that_is_there(northbound, fabric, project):
    external = replace(EXTERNAL, carriers=("host-1", "host-2", "host-3"))
    fabric.put_router(replace(project.router, external=external))
    assert columns(northbound, "Gateway_Chassis", "chassis_name", "priority") == [
        ("host-1", "3"),
        ("host-2", "2"),
        ("host-3", "1"),
    ]


def test_an_external_address_answers_at_its_vm_where_the_range_is_and_else_at_the_carrier(
    northbound, fabric, project, port
):
    where = ('type="dnat_and_snat"',)
    there = [("0a:c1:c0:00:02:0a", str(port.id))]
    assert columns(northbound, "NAT", "external_mac", "logical_port", where=where) == there
    fabric.put_router(
        replace(project.router, external=replace(EXTERNAL, carriers=("host-1",), everywhere=False))
    )
    assert fabric.ports()[port.id] != port
    fabric.put_network(project.network)
    assert columns(northbound, "NAT", "external_mac", "logical_port", where=where) == [("", "")]
    assert fabric.ports() == {port.id: port}


def test_a_port_whose_vm_moves_may_be_at_both_hosts_and_goes_over_when_it_is_heard(northbound, fabric, port):
    def options():
        return northbound.ctl("get", "Logical_Switch_Port", str(port.id), "options")

    fabric.put_port(replace(port, hosts=("host-1", "host-2")))
    assert 'requested-chassis="host-1,host-2"' in options()
    assert "activation-strategy=rarp" in options()
    fabric.put_port(replace(port, hosts=("host-2",)))
    assert "requested-chassis=host-2" in options()
    assert "activation-strategy" not in options()
    fabric.put_port(port)
    assert "requested-chassis" not in options()


def test_the_world_is_asked_about_at_the_carrier_where_the_range_is_not_everywhere(
    northbound, fabric, project, port
):
    translator = Translator(northbound)
    fabric.put_router(replace(project.router, external=replace(EXTERNAL, everywhere=False)))
    fabric.put_network(project.network)
    verdict = fabric.trace(port.id, Probe(ip_address("198.51.100.7"), IpProtocol.TCP, 22))
    assert (verdict.passes, verdict.rule_id) == (True, "ssh")
    translator.kill()


def test_hosts_are_known_by_what_they_report(northbound, fabric):
    translator = Translator(northbound)
    southbound = ("ovn-sbctl", f"--db={Way(northbound.remote).southbound}")
    assert fabric.chassis() == ()
    run(
        *southbound,
        "chassis-add",
        "b",
        "geneve",
        "192.0.2.5",
        "--",
        "chassis-add",
        "a",
        "geneve",
        "192.0.2.4",
    )
    run(
        *southbound,
        "set",
        "Chassis",
        "a",
        "hostname=h1",
        'other_config:ovn-bridge-mappings="one:br-1,two:br-2"',
    )
    assert fabric.chassis() == (Chassis("a", "h1", frozenset({"one", "two"})), Chassis("b", "", frozenset()))
    translator.kill()


def test_questions_can_leave_by_one_leg_only():
    networks = {part: ip_interface(address).network for part, (_, address, _) in LEGS.items()}
    assert [part for part, network in networks.items() if ip_address(RESOLVES) in network] == ["asks"]


def test_putting_again_what_is_there_writes_nothing(northbound, fabric, project, group, port):
    before = northbound.dump()
    fabric.put_external(EXTERNAL)
    fabric.put_router(project.router)
    fabric.put_network(project.network)
    fabric.put_group(group)
    fabric.put_port(port)
    assert northbound.dump() == before


def test_nothing_is_left_in_the_database_but_the_external_switch(northbound, fabric):
    fabric.put_external(EXTERNAL)
    before = northbound.dump()
    project = Project(fabric)
    group = project.group(SSH)
    port = project.port(external_address="192.0.2.10", groups={group.id})
    fabric.remove_port(port.id)
    fabric.remove_group(group.id)
    fabric.remove_network(project.network.id)
    fabric.remove_router(project.router.id)
    after = northbound.dump()
    assert [len(table["rows"]) for table in after] == [len(table["rows"]) for table in before]


class RowNames(dict):
    """The ids of things by kind, and for TABLE/PART the uuid of that row of ours."""

    def __init__(self, northbound, **ids):
        super().__init__(ids)
        self.northbound = northbound

    def __missing__(self, table_and_part):
        table, part = table_and_part.split("/", maxsplit=1)
        query = ("--bare", "--columns=_uuid", "find", table, f'external_ids:cumulet-part="{part}"')
        return self.northbound.ctl(*query).strip()


TAMPERINGS = {
    "a port's address": ("set Logical_Switch_Port {port} addresses=unknown", "ports"),
    "a port's security": ("clear Logical_Switch_Port {port} port_security", "ports"),
    "a port switched off": ("set Logical_Switch_Port {port} enabled=false", "ports"),
    "a port without DHCP": ("clear Logical_Switch_Port {port} dhcpv4_options", "ports"),
    "a port's spec": ("remove Logical_Switch_Port {port} external_ids cumulet-spec", "ports"),
    "a port gone": ("lsp-del {port}", "ports"),
    "a port's external address": ("set NAT {NAT/external} external_ip=192.0.2.99", "ports"),
    "no external address": ("clear Logical_Router {Logical_Router/router} nat", "ports"),
    "a name changed": ("set DNS {DNS/names} records:vm-10=10.0.0.99", "routers"),
    "a name added": ("set DNS {DNS/names} records:bank=10.0.0.99", "routers"),
    "no names": ("destroy DNS {DNS/names}", "routers"),
    "a router port": ("set Logical_Router_Port external-{router} mac='\"0a:00:00:00:00:99\"'", "routers"),
    "a router without port": ("lrp-del external-{router}", "routers"),
    "a router elsewhere": ("lrp-set-gateway-chassis external-{router} other 1", "routers"),
    "a router without chassis": ("lrp-del-gateway-chassis external-{router} host-1", "routers"),
    "a router without plug": ("lsp-del plug-{router}", "routers"),
    "no uplink": ("lr-route-del router-{router}", "routers"),
    "a wrong uplink": (
        "set Logical_Router_Static_Route {Logical_Router_Static_Route/default} nexthop=192.0.2.77",
        "routers",
    ),
    "a router gone": ("lr-del router-{router}", "routers"),
    "no rule between projects": ("acl-del external-br-test-here", "routers"),
    "no bridge": ("lsp-del bridge-br-test-here", "routers"),
    "no external switch": ("ls-del external-br-test-here", "routers"),
    "a network without gateway": ("lrp-del gateway-{network}", "networks"),
    "a network without plug": ("lsp-del plug-{network}", "networks"),
    "DHCP's options": ("set DHCP_Options {DHCP_Options/dhcp} options:mtu=9000", "networks"),
    "no DHCP": ("destroy DHCP_Options {DHCP_Options/dhcp}", "networks"),
    "no outward translation": ("lr-nat-del router-{router} snat 10.0.0.0/24", "networks"),
    "names where they are not safe": (
        "set Logical_Switch network-{network} dns_records={DNS/names}",
        "networks",
    ),
    "no way to the names": ("lr-policy-del router-{router}", "routers"),
    "a wrong way to the names": (
        "set Logical_Router_Policy {Logical_Router_Policy/round} nexthops=192.0.2.77",
        "routers",
    ),
    "a switch without names": ("clear Logical_Switch names-{router} dns_records", "routers"),
    "no switch for names": ("ls-del names-{router}", "routers"),
    "no port to the names": ("lrp-del asks-{router}", "routers"),
    "no port back from the names": ("lrp-del resolves-{router}", "routers"),
    "no announcements": ("clear Logical_Router_Port gateway-{network} ipv6_ra_configs", "networks"),
    "another IPv6 range": ("set Logical_Router_Port gateway-{network} networks=10.0.0.1/24", "networks"),
    "no way to DHCP": ("clear Logical_Switch network-{network} acls", "networks"),
    "DHCP's options without uplink": (
        "set DHCP_Options {DHCP_Options/dhcp-inside} options:router=10.0.0.99",
        "networks",
    ),
    "a port out of its group": ("clear Port_Group {group_name} ports", "ports"),
    "a port in another group": ("pg-add foreign {port}", "ports"),
    "a group gone": ("destroy Port_Group {group_name}", "groups"),
    "a group without rules": ("clear Port_Group {group_name} acls", "groups"),
    "a group's spec": ("remove Port_Group {group_name} external_ids cumulet-spec", "groups"),
    "a rule's match": ("set ACL {ACL/rule/ssh} match=ip", "groups"),
    "a rule's direction": ("set ACL {ACL/rule/ssh} direction=from-lport", "groups"),
    "a rule that drops": ("set ACL {ACL/rule/ssh} action=drop", "groups"),
    "a rule after all others": ("set ACL {ACL/rule/ssh} priority=0", "groups"),
    "no rest that is dropped": ("set ACL {ACL/rest-in} action=allow", "groups"),
    "a rule added": ("--type=port-group acl-add {group_name} to-lport 1500 ip allow", "groups"),
    "a network gone": ("ls-del network-{network}", "networks"),
}


@pytest.mark.parametrize(("command", "listing"), TAMPERINGS.values(), ids=TAMPERINGS.keys())
def test_what_others_change_is_seen_and_mended(northbound, fabric, project, group, port, command, listing):
    def everything():
        return fabric.routers(), fabric.networks(), fabric.groups(), fabric.ports()

    right, listed = everything(), getattr(fabric, listing)()
    names = RowNames(
        northbound,
        port=port.id,
        router=project.router.id,
        network=project.network.id,
        group_name=group_name(group.id),
    )
    northbound.ctl(*command.format_map(names).split())
    assert getattr(fabric, listing)() != listed
    fabric.put_external(EXTERNAL)
    fabric.put_router(project.router)
    fabric.put_network(project.network)
    fabric.put_group(group)
    fabric.put_port(port)
    assert everything() == right


def test_an_impossible_spec_is_seen_and_mended(northbound, fabric, project, port):
    spec = encode_spec(replace(port, mac="nonsense")).replace('"', '\\"')
    northbound.ctl("set", "Logical_Switch_Port", str(port.id), f'external_ids:cumulet-spec="{spec}"')
    assert fabric.ports()[port.id] != port
    fabric.put_port(port)
    assert fabric.ports() == {port.id: port}


def test_a_row_of_ours_that_somebody_copied_is_removed(northbound, fabric, project, port):
    for _ in range(5):  # whichever is taken for the right one: hardly ever the one that the port has
        northbound.ctl(
            "create", "DHCP_Options", "cidr=10.0.0.0/24",
            "external_ids:cumulet-installation=here", "external_ids:cumulet-part=dhcp",
            f"external_ids:cumulet-id={project.network.id}",
        )  # fmt: skip
    assert fabric.networks()[project.network.id] != project.network
    fabric.put_network(project.network)
    fabric.put_port(port)
    assert len(northbound.rows("DHCP_Options")) == 2
    assert fabric.networks() == {project.network.id: project.network}


def test_two_installations_do_not_touch_each_other(northbound, fabric, group, port):
    other = open_fabric(northbound.remote, installation="there")
    before = northbound.dump()
    assert (other.routers(), other.networks(), other.groups(), other.ports()) == ({}, {}, {}, {})
    other.remove_port(port.id)
    other.remove_group(group.id)
    other.remove_network(port.network_id)
    assert northbound.dump() == before
    theirs = Project(other, 3)
    with pytest.raises(FabricError, match=f"no group {group.id}"):
        theirs.port(groups={group.id})
    their_port = theirs.port(external_address="192.0.2.20")
    assert fabric.ports() == {port.id: port}
    assert other.ports() == {their_port.id: their_port}
    other.close()


def test_another_client_of_the_database_is_left_alone(northbound, fabric, project, port):
    northbound.ctl("ls-add", "foreign", "--", "lsp-add", "foreign", "foreign-port")
    foreign = northbound.ctl("show", "foreign")
    assert fabric.networks() == {project.network.id: project.network}
    fabric.remove_network(project.network.id)
    assert northbound.ctl("show", "foreign") == foreign


def test_a_killed_and_restarted_database_is_found_again(northbound, fabric, project, port):
    northbound.kill()
    with pytest.raises(FabricUnreachable, match=northbound.remote):
        fabric.put_port(port)
    with pytest.raises(FabricUnreachable):
        fabric.ports()
    northbound.start()
    assert fabric.ports() == {port.id: port}
    fabric.remove_port(port.id)
    assert fabric.ports() == {}


def test_a_database_that_is_not_there_is_named(tmp_path):
    fabric = open_fabric(f"unix:{tmp_path}/nowhere", installation="here")
    with pytest.raises(FabricUnreachable, match="nowhere"):
        fabric.ping()
    fabric.close()


@pytest.mark.parametrize("remotes", ["{nowhere},{there}", "{there},{nowhere}"])
def test_of_several_servers_of_the_database_any_that_is_there_will_do(northbound, tmp_path, remotes):
    servers = remotes.format(nowhere=f"unix:{tmp_path}/nowhere", there=northbound.remote)
    fabric = open_fabric(servers, installation="here")
    project = Project(fabric)
    assert fabric.networks() == {project.network.id: project.network}
    fabric.close()


@contextmanager
def hanging(northbound: NorthboundServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The database stands still for as long as the block lasts, and answers are not waited for long."""
    os.kill(northbound.process.pid, signal.SIGSTOP)
    with monkeypatch.context() as impatient:
        impatient.setattr(connection, "ANSWER_SECONDS", 0.2)
        yield
    os.kill(northbound.process.pid, signal.SIGCONT)


def test_a_database_that_hangs_is_not_waited_for_forever(monkeypatch, northbound, fabric, project):
    fabric.close()
    with hanging(northbound, monkeypatch), pytest.raises(FabricUnreachable):
        fabric.networks()
    fabric.ping()
    with hanging(northbound, monkeypatch), pytest.raises(FabricUnreachable):
        fabric.networks()
    assert fabric.networks() == {project.network.id: project.network}


def test_without_hosts_that_follow_nothing_is_settled(monkeypatch, fabric):
    monkeypatch.setattr(connection, "SETTLE_SECONDS", 0.05)
    assert not fabric.settled()


def test_a_refusal_of_the_database_is_a_fabric_error(northbound, fabric, project, port):
    northbound.ctl("ls-add", "foreign", "--", "lsp-add", "foreign", "11111111-1111-1111-1111-111111111111")
    taken = replace(port, id="11111111-1111-1111-1111-111111111111")
    with pytest.raises(FabricError, match="constraint violation"):
        fabric.put_port(taken)


def test_another_server_that_writes_at_the_same_time_loses_no_name(northbound, fabric, project):
    other = open_fabric(northbound.remote, installation="here")
    ports = [project.port(number) for number in range(10, 14)]
    other.put_port(replace(ports[0], hostname="changed"))
    fabric.put_port(replace(ports[1], hostname="too"))
    assert fabric.routers() == {project.router.id: project.router}
    assert other.routers() == {project.router.id: project.router}
    other.close()
