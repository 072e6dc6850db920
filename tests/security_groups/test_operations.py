"""The verbs of security groups, and what the fabric holds after each."""

import pytest
from sqlalchemy import select
from tests.made_up import PROJECT, make_cloud, with_limits
from tests.projects.people import add_user
from tests.words import APPLYING_GROUPS

from cumulet.errors import AlreadyExists, Exhausted, Forbidden, Invalid, NotFound, Refused
from cumulet.hosts.orphans import GRACE
from cumulet.networks import NicGroup
from cumulet.networks import operations as network_verbs
from cumulet.networks.wire import CreateNetwork
from cumulet.projects import Role
from cumulet.security_groups import SecurityGroup, operations
from cumulet.security_groups import attach_operations as group_operations
from cumulet.security_groups.wire import (
    CreateSecurityGroup,
    Protocol,
    Rule,
    RuleType,
    UpdateSecurityGroup,
)
from cumulet.vms import operations as verbs
from cumulet.vms.wire import NicRequest

SSH = Rule(protocol=Protocol.TCP, rule_type=RuleType.INBOUND, ports="22")
WEB = Rule(protocol=Protocol.TCP, rule_type=RuleType.INBOUND, ports="80,443")
RANGES = ",".join(f"{1000 + 40 * index}:{1020 + 40 * index}" for index in range(100))
HEAVY = [
    Rule(id=str(index), protocol=Protocol.TCP, rule_type=RuleType.INBOUND, ports=RANGES) for index in range(5)
]
"""They expand to 3,500 matches: 350 values of ports under masks, for IPv4 and IPv6, five times."""


@pytest.fixture
def make(cloud):
    """Ask for a group."""

    def make(id="web", rules=(SSH,), caller=None, **fields):
        data = CreateSecurityGroup(id=id, data_center_id="local", rules=list(rules), **fields)
        return cloud.call(operations.create_security_group, caller, project_id=PROJECT, data=data)

    return make


@pytest.fixture
def web(cloud, make):
    """A group that is in force; gives its id on the fabric."""
    make()
    cloud.settle()
    (id,) = cloud.fabric.groups()
    return id


@pytest.fixture
def ask(cloud):
    def ask(verb, id="web", caller=None, **fields):
        return cloud.call(verb, caller, project_id=PROJECT, id=id, **fields)

    return ask


@pytest.fixture
def attach(cloud):
    """Attach a group to a VM."""
    return lambda **which: regroup(cloud, group_operations.attach_security_group, **which)


@pytest.fixture
def detach(cloud):
    """Detach a group from a VM."""
    return lambda **which: regroup(cloud, group_operations.detach_security_group, **which)


def regroup(cloud, verb, *, group="web", id="hello", caller=None):
    cloud.call(verb, caller, project_id=PROJECT, id=id, security_group_id=group)
    cloud.settle()


def groups_of_ports(cloud):
    """Per port in the order of VMs' NICs: how many groups it is in."""
    return sorted(len(port.groups) for port in cloud.fabric.ports().values())


def ports_let_in(cloud, id):
    return [rule.ports for rule in cloud.fabric.groups()[id].rules]


# Keeping groups
def test_a_group_is_put_in_force(cloud, web):
    assert ports_let_in(cloud, web) == [((22, 22),)]


def test_it_answers_flat_and_wrapped_with_its_rules(make, ask):
    made = make(description="Lets people in.")
    assert (made.id, made.security_group.id, made.project_id) == ("web", "web", PROJECT)
    found = ask(operations.get_security_group)
    assert (found.description, found.data_center_id) == ("Lets people in.", "local")
    assert [(rule.protocol, rule.ports) for rule in found.security_group.rules] == [(Protocol.TCP, "22")]


def test_an_update_replaces_the_rules(cloud, web, ask):
    data = UpdateSecurityGroup(description="More.", rules=[WEB])
    answer = ask(operations.update_security_group, data=data)
    assert [rule.ports for rule in answer.rules] == ["80,443"]
    assert cloud.due("security_group", web).wakes == 1
    cloud.settle()
    assert ports_let_in(cloud, web) == [((80, 80), (443, 443))]
    assert ask(operations.get_security_group).description == "More."


def test_groups_are_listed_by_id_in_pages(cloud, make):
    for id in ("ccc", "aaa", "bbb"):
        make(id=id)
    first = cloud.call(operations.list_security_groups, project_id=PROJECT, page_size=2)
    assert [group.id for group in first.security_groups] == ["aaa", "bbb"]
    assert (first.total_count, first.page_number, first.page_size) == (3, 1, 2)
    elsewhere = cloud.call(operations.list_security_groups, project_id=PROJECT, data_center_id="mars")
    assert elsewhere.total_count == 0


@pytest.mark.usefixtures("web")
def test_a_group_that_is_deleted_goes_from_the_fabric_and_from_sight(cloud, ask):
    ask(operations.delete_security_group)
    with pytest.raises(NotFound, match="security group 'web'"):
        ask(operations.get_security_group)
    cloud.settle()
    assert cloud.fabric.groups() == {}
    assert cloud.count(SecurityGroup) == 0


@pytest.mark.parametrize("id", ["", "Upper", "1st", "ends-", "x" * 64])
def test_an_id_out_of_its_rule_is_refused(make, id):
    with pytest.raises(Invalid, match=r"^id: "):
        make(id=id)


@pytest.mark.parametrize("description", ["x" * 256, "<script>", "a-b"])
def test_a_description_out_of_its_rule_is_refused(make, description):
    with pytest.raises(Invalid, match=r"^description: "):
        make(description=description)


@pytest.mark.usefixtures("web")
def test_what_is_taken_unknown_or_elsewhere_is_refused(make, ask):
    with pytest.raises(AlreadyExists, match="'web'"):
        make()
    with pytest.raises(NotFound, match="'other'"):
        ask(operations.update_security_group, "other", data=UpdateSecurityGroup())
    with pytest.raises(Invalid, match="dataCenterId: 'mars'"):
        ask(operations.update_security_group, data=UpdateSecurityGroup(data_center_id="mars"))


def test_a_rule_out_of_its_rule_changes_nothing(cloud, web, ask):
    with pytest.raises(Invalid, match=r"rules\[0\].ports"):
        ask(
            operations.update_security_group,
            data=UpdateSecurityGroup(
                rules=[Rule(protocol=Protocol.TCP, rule_type=RuleType.INBOUND, ports="no")]
            ),
        )
    cloud.settle()
    assert ports_let_in(cloud, web) == [((22, 22),)]


@pytest.mark.usefixtures("web")
def test_a_viewer_looks_and_changes_nothing(cloud, make, ask, attach, detach):
    cloud.running()
    with cloud.database.writing() as db:
        viewer = add_user(db, "viewer", **{PROJECT: Role.VIEWER})
    assert ask(operations.get_security_group, caller=viewer).id == "web"
    for forbidden in (
        lambda: make(id="other", caller=viewer),
        lambda: ask(operations.update_security_group, caller=viewer, data=UpdateSecurityGroup()),
        lambda: ask(operations.delete_security_group, caller=viewer),
        lambda: attach(caller=viewer),
        lambda: detach(caller=viewer),
    ):
        with pytest.raises(Forbidden):
            forbidden()


# On VMs
def test_a_vm_is_created_with_groups(cloud, web):
    vm = cloud.running(security_group_ids=["web"])
    assert vm.security_group_ids == ["web"]
    assert [group.id for group in vm.security_groups] == ["web"]
    assert [(rule.protocol, rule.ports) for rule in vm.rules] == [(Protocol.TCP, "22")]
    assert [port.groups for port in cloud.fabric.ports().values()] == [{web}]


def test_cards_have_groups_of_their_own(cloud, web, make):
    make(id="more", rules=[WEB])
    network = CreateNetwork(id="backend", data_center_id="local", ip_range="10.1.0.0/24")
    cloud.call(network_verbs.create_network, project_id=PROJECT, data=network)
    vm = cloud.running(
        nics=[
            NicRequest(network_id="backend", security_group_ids=["web", "more", "web"]),
            NicRequest(security_group_ids=["web"]),
        ],
        security_group_ids=["unknown"],
    )
    assert [nic.security_group_ids for nic in vm.nics] == [["more", "web"], ["web"]]
    assert vm.security_group_ids == ["more", "web"]
    assert sorted(rule.ports for rule in vm.rules) == ["22", "80,443"]
    assert groups_of_ports(cloud) == [1, 2]
    assert all(web in port.groups for port in cloud.fabric.ports().values())


def test_a_vm_waits_until_its_groups_are_in_force(cloud, make):
    make()
    cloud.fabric.unreachable = True
    cloud.create(security_group_ids=["web"])
    cloud.run()
    assert cloud.vm().waiting_for == APPLYING_GROUPS
    cloud.fabric.unreachable = False
    cloud.settle()
    assert groups_of_ports(cloud) == [1]


def test_a_group_is_attached_and_detached_while_the_vm_runs(cloud, web, attach, detach):
    started = cloud.running()
    attach()
    assert cloud.vm().security_group_ids == ["web"]
    assert [port.groups for port in cloud.fabric.ports().values()] == [{web}]
    detach()
    assert (cloud.vm().security_group_ids, cloud.vm().rules) == ([], [])
    assert groups_of_ports(cloud) == [0]
    assert cloud.vm().state is started.state


@pytest.mark.usefixtures("web")
def test_attaching_again_changes_nothing(cloud, attach):
    cloud.running()
    attach()
    attach()
    assert cloud.count(NicGroup) == 1


@pytest.mark.usefixtures("web")
def test_what_is_not_attached_cannot_be_detached(cloud, detach):
    cloud.running()
    with pytest.raises(Refused, match="not attached to VM 'hello'") as refusal:
        detach()
    assert refusal.value.reason == "SECURITY_GROUP_NOT_IN_USE"


@pytest.mark.usefixtures("web")
def test_a_group_in_use_is_not_deleted(cloud, ask, attach, detach):
    cloud.running()
    attach()
    with pytest.raises(Refused, match=r"VMs use it \(hello\): detach it first") as refusal:
        ask(operations.delete_security_group)
    assert refusal.value.reason == "SECURITY_GROUP_IN_USE"
    detach()
    ask(operations.delete_security_group)


@pytest.mark.usefixtures("web")
def test_groups_of_a_vm_that_is_gone_can_be_deleted(cloud, ask):
    cloud.running(security_group_ids=["web"])
    cloud.ask(verbs.terminate_vm)
    cloud.settle()
    ask(operations.delete_security_group)
    cloud.settle()
    assert (cloud.fabric.groups(), cloud.count(NicGroup)) == ({}, 0)


def test_an_unknown_group_or_vm_is_named(cloud, attach):
    with pytest.raises(NotFound, match="VM 'hello'"):
        attach()
    cloud.running()
    with pytest.raises(NotFound, match="security group 'web'"):
        attach()
    with pytest.raises(Invalid, match=r"^securityGroupIds: there is no security group 'web'"):
        cloud.create(vm_id="other", security_group_ids=["web"])


# The look at the whole fabric
def test_what_others_did_to_groups_is_mended(cloud, web, attach):
    cloud.running()
    attach()
    right = (cloud.fabric.groups(), cloud.fabric.ports())
    for harm in (cloud.fabric.break_group, cloud.fabric.remove_group):
        harm(web)
        cloud.sweep()
        cloud.settle()
        cloud.sweep()
        cloud.settle()
        assert (cloud.fabric.groups(), cloud.fabric.ports()) == right


def test_a_group_without_an_owner_is_removed_after_its_grace(cloud, web):
    with cloud.database.writing() as db:
        db.delete(db.scalars(select(SecurityGroup)).one())
    cloud.sweep()
    assert web in cloud.fabric.groups()
    cloud.clock.advance(GRACE.total_seconds())
    cloud.sweep()
    assert cloud.fabric.groups() == {}


# What they come to
def test_groups_that_come_to_too_much_on_one_card_are_refused_with_the_figure(cloud, make, attach):
    for id in ("one", "two", "three"):
        make(id=id, rules=HEAVY)
    cloud.running(security_group_ids=["one", "two"])
    refusal = r"a NIC would expand to 10500 matches; at most 8000 are accepted"
    with pytest.raises(Exhausted, match=refusal):
        attach(group="three")
    with pytest.raises(Exhausted, match=refusal):
        cloud.create(vm_id="other", security_group_ids=["one", "two", "three"])
    assert cloud.vm().security_group_ids == ["one", "two"]
    assert cloud.count(NicGroup) == 2


def test_rules_that_come_to_too_much_where_they_are_attached_already_are_refused(cloud, make, ask):
    for id, rules in {"one": HEAVY, "two": HEAVY, "web": [SSH]}.items():
        make(id=id, rules=rules)
    cloud.running(security_group_ids=["one", "two", "web"])
    with pytest.raises(Exhausted, match="expand to 10500 matches"):
        ask(operations.update_security_group, data=UpdateSecurityGroup(rules=HEAVY))
    assert len(ask(operations.get_security_group).rules) == 1


def test_a_project_s_groups_count_once_for_each_network_where_they_are_attached(cloud, make):
    for id in ("one", "two"):
        make(id=id, rules=HEAVY)
    for number in range(3):
        network = CreateNetwork(id=f"net{number}", data_center_id="local", ip_range=f"10.{number + 1}.0.0/24")
        cloud.call(network_verbs.create_network, project_id=PROJECT, data=network)
    for number in (0, 0, 1):
        cloud.create(
            vm_id=f"vm-{cloud.count(NicGroup)}",
            nics=[NicRequest(network_id=f"net{number}", security_group_ids=["one", "two"])],
        )
    with pytest.raises(Exhausted, match="a project would expand to 21000 matches; at most 20000"):
        cloud.create(vm_id="third", nics=[NicRequest(network_id="net2", security_group_ids=["one", "two"])])


def test_a_project_has_no_more_groups_than_the_operator_allows_though_they_have_no_rules(database, tmp_path):
    cloud = make_cloud(database, tmp_path, catalogue=with_limits(security_groups_per_project=2))

    def make(id):
        data = CreateSecurityGroup(id=id, data_center_id="local")
        cloud.call(operations.create_security_group, project_id=PROJECT, data=data)

    make("one")
    make("two")
    cloud.settle()
    with pytest.raises(Exhausted, match="has 2 security groups, the most that it may have"):
        make("three")
    cloud.call(operations.delete_security_group, project_id=PROJECT, id="one")
    cloud.settle()
    make("three")


def test_a_group_whose_end_was_asked_for_gives_up_its_name(cloud, web, make, ask):
    ask(operations.delete_security_group)
    with pytest.raises(NotFound):
        ask(operations.get_security_group)
    make()
    assert ask(operations.get_security_group).id == "web"
    cloud.settle()
    assert ask(operations.get_security_group).id == "web"
    assert cloud.count(SecurityGroup) == 1
