"""What every Fabric must do: subclassed for each of them, with a fixture `fabric`."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Network
from uuid import uuid4

import pytest
from tests.fabric.specs import EXTERNAL, SSH, Project, a_network, a_port, a_router, a_rule

from cumulet.fabric import FabricError, GroupSpec, IpProtocol, Probe

WEB = a_rule(IpProtocol.TCP, (80, 80), (8000, 8100), id="web")


class FabricContract:
    def test_what_was_put_is_listed(self, fabric):
        project = Project(fabric)
        port = project.port(external_address="192.0.2.10")
        assert fabric.routers() == {project.router.id: project.router}
        assert fabric.networks() == {project.network.id: project.network}
        assert fabric.ports() == {port.id: port}

    @pytest.mark.parametrize(
        "rule",
        [
            a_rule(IpProtocol.ALL),
            a_rule(IpProtocol.TCP, (80, 80), (1000, 2000), peer="10.0.0.0/8"),
            a_rule(IpProtocol.UDP, inbound=False, peer="fd00::/8"),
            a_rule(IpProtocol.ICMP, icmp_type=8),
            a_rule(IpProtocol.ICMPV6, icmp_type=0, id="with spaces, 'quotes' and \"more\""),
            a_rule(IpProtocol.IPSEC, peer="0.0.0.0/0"),
        ],
        ids=lambda rule: rule.protocol.value,
    )
    def test_a_group_is_listed_with_its_rules(self, fabric, rule):
        group = GroupSpec(uuid4(), (SSH, rule))
        fabric.put_group(group)
        assert fabric.groups() == {group.id: group}

    def test_a_groups_rules_can_change(self, fabric):
        project = Project(fabric)
        group = project.group(SSH, WEB)
        port = project.port(groups={group.id})
        for rules in ((WEB,), (WEB, a_rule(IpProtocol.ALL, id="out", inbound=False)), (), (SSH, WEB)):
            changed = replace(group, rules=rules)
            fabric.put_group(changed)
            assert fabric.groups() == {group.id: changed}
        assert fabric.ports() == {port.id: port}

    def test_a_port_is_in_just_the_groups_of_its_spec(self, fabric):
        project = Project(fabric)
        groups = [project.group(SSH), project.group(), project.group(WEB)]
        port, other = project.port(10), project.port(11, groups={groups[0].id})
        for some in ((0,), (0, 1), (1, 2), ()):
            changed = replace(port, groups=frozenset(groups[number].id for number in some))
            fabric.put_port(changed)
            assert fabric.ports() == {port.id: changed, other.id: other}

    def test_a_port_needs_its_groups(self, fabric):
        project, missing = Project(fabric), uuid4()
        with pytest.raises(FabricError, match=str(missing)):
            project.port(groups={missing, project.group().id})
        assert fabric.ports() == {}

    def test_a_port_whose_group_was_removed_is_listed_as_changed_until_it_is_put_again(self, fabric):
        project = Project(fabric)
        gone, kept = project.group(SSH), project.group(WEB)
        port = project.port(groups={gone.id, kept.id})
        for _ in range(2):
            fabric.remove_group(gone.id)
        assert fabric.groups() == {kept.id: kept}
        assert fabric.ports()[port.id] != port
        changed = replace(port, groups=frozenset({kept.id}))
        fabric.put_port(changed)
        assert fabric.ports() == {port.id: changed}

    def test_a_group_of_a_thousand_rules_is_listed_as_it_was_put(self, fabric):
        rules = [a_rule(IpProtocol.TCP, (number, number), id=f"r{number}") for number in range(1, 1001)]
        group = GroupSpec(uuid4(), tuple(rules))
        fabric.put_group(group)
        assert fabric.groups() == {group.id: group}

    def test_a_network_can_be_stopped_and_started_again(self, fabric):
        project = Project(fabric)
        port = project.port(external_address="192.0.2.10")
        for joined in (False, True):
            network = replace(project.network, joined=joined)
            fabric.put_network(network)
            assert fabric.networks() == {network.id: network}
            assert fabric.ports() == {port.id: port}

    def test_a_port_without_default_route_is_listed_so(self, fabric):
        project = Project(fabric)
        port = replace(project.port(), leads_out=False)
        fabric.put_port(port)
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
        network = replace(
            project.network,
            resolvers=(IPv4Address("192.0.2.53"),),
            mtu=1300,
            local_range=IPv6Network("fd00:99::/64"),
        )
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
        fabric.remove_group(uuid4())

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


def a_probe(source: str, protocol: IpProtocol = IpProtocol.TCP, port: int = 80) -> Probe:
    return Probe(IPv4Address(source), protocol, port)


class TraceContract:
    """What every Fabric must answer about packets."""

    @pytest.fixture
    def project(self, fabric):
        return Project(fabric)

    def test_a_port_in_no_group_is_open(self, fabric, project):
        _, port = project.port(10), project.port(11, "192.0.2.11")
        for source in ("10.0.0.10", "198.51.100.7"):
            for probe in (a_probe(source), a_probe(source, IpProtocol.UDP, 53), ping_from(source)):
                verdict = fabric.trace(port.id, probe)
                assert (verdict.passes, verdict.group_id, verdict.rule_id) == (True, None, "")

    @pytest.mark.parametrize("source", ["10.0.0.10", "198.51.100.7"])
    def test_the_rule_that_lets_a_packet_in_is_named(self, fabric, project, source):
        web = project.group(SSH, WEB, a_rule(IpProtocol.ICMP, icmp_type=8, id="ping"))
        port = project.port(11, "192.0.2.11", {web.id, project.group(SSH).id})
        project.port(10)
        for probe, rule_id in ((a_probe(source, port=8042), "web"), (ping_from(source), "ping")):
            verdict = fabric.trace(port.id, probe)
            assert (verdict.passes, verdict.group_id, verdict.rule_id) == (True, web.id, rule_id)

    @pytest.mark.parametrize("source", ["10.0.0.10", "198.51.100.7"])
    def test_without_a_rule_a_group_is_named(self, fabric, project, source):
        group = project.group(SSH, a_rule(IpProtocol.TCP, (80, 80), peer="10.0.9.0/24"))
        port = project.port(11, "192.0.2.11", {group.id})
        project.port(10)
        for probe in (a_probe(source), a_probe(source, IpProtocol.UDP, 22), ping_from(source)):
            verdict = fabric.trace(port.id, probe)
            assert (verdict.passes, verdict.group_id, verdict.rule_id) == (False, group.id, "")
            assert "no rule of its group allows it" in verdict.why

    def test_the_lack_of_a_rule_in_several_groups_is_one_of_theirs(self, fabric, project):
        groups = {project.group(SSH).id, project.group().id}
        port = project.port(11, "192.0.2.11", groups)
        verdict = fabric.trace(port.id, a_probe("198.51.100.7"))
        assert verdict.group_id in groups
        assert "2 groups" in verdict.why

    def test_the_senders_rules_about_what_goes_out_decide_as_well(self, fabric, project):
        sender_group = project.group(
            a_rule(IpProtocol.TCP, (80, 80), id="out", inbound=False, peer="10.0.0.0/24")
        )
        port_group = project.group(WEB, SSH)
        project.port(10, groups={sender_group.id})
        bare, grouped = project.port(11), project.port(12, groups={port_group.id})
        let_out, let_in, kept_in = (
            fabric.trace(bare.id, a_probe("10.0.0.10")),
            fabric.trace(grouped.id, a_probe("10.0.0.10")),
            fabric.trace(grouped.id, a_probe("10.0.0.10", port=22)),
        )
        assert (let_out.passes, let_out.group_id, let_out.rule_id) == (True, sender_group.id, "out")
        assert (let_in.passes, let_in.group_id, let_in.rule_id) == (True, port_group.id, "web")
        assert (kept_in.passes, kept_in.group_id, kept_in.rule_id) == (False, sender_group.id, "")
        assert "sender" in kept_in.why

    def test_a_sender_in_another_network_of_the_project_enters_there(self, fabric, project):
        other = a_network(project.router, "10.0.1.0/24")
        fabric.put_network(other)
        restricting = project.group(a_rule(IpProtocol.UDP, inbound=False))
        fabric.put_port(a_port(other, 10, groups=frozenset({restricting.id})))
        port = project.port(11)
        assert fabric.trace(port.id, a_probe("10.0.1.10", IpProtocol.UDP)).passes
        assert fabric.trace(port.id, a_probe("10.0.1.10")).group_id == restricting.id

    def test_nothing_outside_reaches_a_port_without_external_address(self, fabric, project):
        verdict = fabric.trace(project.port().id, a_probe("198.51.100.7"))
        assert (verdict.passes, verdict.group_id) == (False, None)
        assert "external address" in verdict.why

    def test_only_its_own_guests_reach_a_stopped_network(self, fabric, project):
        other = a_network(project.router, "10.0.1.0/24")
        fabric.put_network(other)
        fabric.put_port(a_port(other, 10))
        _, port = project.port(10), project.port(11, "192.0.2.11")
        fabric.put_network(replace(project.network, joined=False))
        assert fabric.trace(port.id, a_probe("10.0.0.10")).passes
        for source in ("10.0.1.10", "198.51.100.7"):
            verdict = fabric.trace(port.id, a_probe(source))
            assert (verdict.passes, verdict.group_id) == (False, None)
            assert "stopped" in verdict.why

    def test_nothing_comes_from_a_stopped_network(self, fabric, project):
        other = replace(a_network(project.router, "10.0.1.0/24"), joined=False)
        fabric.put_network(other)
        fabric.put_port(a_port(other, 10))
        verdict = fabric.trace(project.port(11).id, a_probe("10.0.1.10"))
        assert not verdict.passes
        assert "sender's network is stopped" in verdict.why

    def test_a_guest_reaches_itself(self, fabric, project):
        port = project.port(10, groups={project.group().id})
        assert fabric.trace(port.id, a_probe("10.0.0.10")).passes

    def test_a_changed_rule_counts_at_once(self, fabric, project):
        group = project.group()
        project.port(10)
        port = project.port(11, groups={group.id})
        assert not fabric.trace(port.id, a_probe("10.0.0.10")).passes
        fabric.put_group(replace(group, rules=(WEB,)))
        assert fabric.trace(port.id, a_probe("10.0.0.10")).rule_id == "web"

    def test_a_port_that_is_not_there_is_no_answer(self, fabric):
        missing = uuid4()
        with pytest.raises(FabricError, match=str(missing)):
            fabric.trace(missing, a_probe("10.0.0.10"))


def ping_from(source: str) -> Probe:
    return a_probe(source, IpProtocol.ICMP, 0)
