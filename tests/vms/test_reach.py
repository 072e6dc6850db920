"""Whether a packet would arrive, in the owner's names: asked of the fabric in memory, which evaluates its rules."""

import pytest
from tests.made_up import PROJECT

from cumulet.errors import Invalid, NotFound
from cumulet.networks import operations as networks
from cumulet.networks.wire import CreateNetwork
from cumulet.security_groups import operations as groups
from cumulet.security_groups.wire import CreateSecurityGroup, Protocol, Rule, RuleType
from cumulet.vms import reach
from cumulet.vms.wire import NicRequest

WORLD = "203.0.113.7"
SSH = Rule(
    id="ssh", protocol=Protocol.TCP, rule_type=RuleType.INBOUND, ports="22", ip_range_cidr="203.0.113.0/24"
)


@pytest.fixture
def database_kind() -> str:
    """Of a database it takes a few rows by their names: what it tells is the fabric's."""
    return "sqlite"


@pytest.fixture
def ask(cloud):
    def ask(source=WORLD, port=22, protocol="tcp", id="hello", network_id=""):
        return cloud.call(
            reach.get_vm_reachability,
            project_id=PROJECT,
            id=id,
            from_=source,
            protocol=protocol,
            port=port,
            network_id=network_id,
        )

    return ask


@pytest.fixture
def web(cloud):
    data = CreateSecurityGroup(id="web", data_center_id="local", rules=[SSH])
    cloud.call(groups.create_security_group, project_id=PROJECT, data=data)


def test_a_vm_without_groups_is_open(cloud, ask):
    cloud.running()
    for protocol, port in (("tcp", 1), ("UDP", 65535), ("icmp", 0)):
        answer = ask(protocol=protocol, port=port)
        assert answer.reachable
        assert (answer.security_group_id, answer.rule_id) == ("", "")
        assert answer.reason


@pytest.mark.usefixtures("web")
def test_the_rule_that_lets_it_pass_is_named(cloud, ask):
    cloud.running(security_group_ids=["web"])
    answer = ask()
    assert (answer.reachable, answer.security_group_id, answer.rule_id) == (True, "web", "ssh")
    assert answer.reason == "a rule allows it: ssh of security group web"


@pytest.mark.usefixtures("web")
def test_the_lack_of_a_rule_is_named(cloud, ask):
    cloud.running(security_group_ids=["web"])
    for answer in (ask(port=80), ask("198.51.100.1"), ask(protocol="udp")):
        assert (answer.reachable, answer.security_group_id, answer.rule_id) == (False, "web", "")
        assert answer.reason == "no rule of its group allows it: security group web"


@pytest.mark.usefixtures("web")
def test_a_sender_s_own_rules_count(cloud, ask):
    out = Rule(id="dns", protocol=Protocol.UDP, rule_type=RuleType.OUTBOUND, ports="53")
    data = CreateSecurityGroup(id="quiet", data_center_id="local", rules=[out])
    cloud.call(groups.create_security_group, project_id=PROJECT, data=data)
    cloud.running()
    sender = cloud.running(vm_id="sender", security_group_ids=["quiet"])
    answer = ask(sender.internal_ip_address)
    assert (answer.reachable, answer.security_group_id) == (False, "quiet")
    assert answer.reason.startswith("no rule of the sender's groups allows it")
    assert ask(sender.internal_ip_address, 53, "udp").reachable


def test_without_an_external_address_the_world_does_not_arrive(cloud, ask):
    network = CreateNetwork(id="backend", data_center_id="local", ip_range="10.1.0.0/24")
    cloud.call(networks.create_network, project_id=PROJECT, data=network)
    cloud.running(nics=[NicRequest(network_id="backend")])
    answer = ask()
    assert not answer.reachable
    assert "external address" in answer.reason


@pytest.mark.usefixtures("web")
def test_the_card_on_a_network_can_be_meant(cloud, ask):
    network = CreateNetwork(id="backend", data_center_id="local", ip_range="10.1.0.0/24")
    cloud.call(networks.create_network, project_id=PROJECT, data=network)
    cloud.running(
        nics=[NicRequest(assign_public_ip=True), NicRequest(network_id="backend", security_group_ids=["web"])]
    )
    neighbour = cloud.running(vm_id="neighbour", nics=[NicRequest(network_id="backend")])
    assert ask(neighbour.internal_ip_address).reachable
    assert not ask(neighbour.internal_ip_address, network_id="backend").reachable
    with pytest.raises(NotFound, match="no network of VM 'hello' 'unknown'; there are 'backend'"):
        ask(network_id="unknown")


OUT_OF_RULE = [
    ("from", {"source": "everywhere"}),
    ("from", {"source": "fd00::1"}),
    ("protocol", {"protocol": "sctp"}),
    ("port", {"port": 0}),
    ("port", {"port": 65536}),
    ("port", {"port": 8, "protocol": "icmp"}),
]


@pytest.mark.parametrize(("field", "fields"), OUT_OF_RULE)
def test_a_question_out_of_its_rule_is_refused_by_name(cloud, ask, field, fields):
    cloud.running()
    with pytest.raises(Invalid, match=f"^{field}: "):
        ask(**fields)


def test_a_vm_that_is_not_there_is_named(ask):
    with pytest.raises(NotFound, match="VM 'hello'"):
        ask()
