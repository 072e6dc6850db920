"""A VM's NICs: which it gets, what they answer, and where its guest's default route goes."""

from dataclasses import replace
from ipaddress import IPv4Network

import pytest
from tests.made_up import PROJECT

from cumulet.errors import Invalid, Refused
from cumulet.networks import Network, Nic, operations
from cumulet.networks.wire import CreateNetwork
from cumulet.security_groups import operations as group_operations
from cumulet.security_groups.wire import CreateSecurityGroup
from cumulet.vm_record import Vm
from cumulet.vms import operations as verbs
from cumulet.vms.wire import NicRequest


@pytest.fixture
def networks(cloud):
    """Two networks of the project."""
    for id, ip_range in (("front", "10.1.0.0/24"), ("back", "10.2.0.0/29")):
        data = CreateNetwork(id=id, data_center_id="local", ip_range=ip_range)
        cloud.call(operations.create_network, project_id=PROJECT, data=data)
    cloud.settle()


def ports(cloud):
    """The VM's ports, in the order of its NICs."""
    (machine,) = cloud.host.contents.machines.values()
    return [cloud.fabric.ports()[nic.port_id] for nic in machine.spec.nics]


def test_a_vm_that_asks_for_none_has_one_that_is_not_listed(cloud):
    vm = cloud.running()
    assert vm.nics == []
    assert vm.internal_ip_address
    assert vm.external_ip_address == vm.public_ip_address != ""
    assert [port.leads_out for port in ports(cloud)] == [True]


@pytest.mark.usefixtures("networks")
def test_cards_come_in_the_order_they_were_asked_for(cloud):
    vm = cloud.running(nics=[NicRequest(network_id="back"), NicRequest(network_id="front"), NicRequest()])
    assert [nic.network_id for nic in vm.nics] == ["back", "front", "default-local"]
    assert [nic.network_address for nic in vm.nics][:2] == ["10.2.0.0", "10.1.0.0"]
    assert vm.internal_ip_address == vm.nics[0].internal_ip_address == "10.2.0.2"
    assert [str(port.address) for port in ports(cloud)] == [nic.internal_ip_address for nic in vm.nics]


@pytest.mark.usefixtures("networks")
def test_without_an_external_address_the_first_card_leads_out_and_nothing_is_charged(cloud):
    vm = cloud.running(nics=[NicRequest(network_id="front"), NicRequest(network_id="back")])
    assert (vm.external_ip_address, vm.public_ip_address) == ("", "")
    assert [nic.external_ip_address for nic in vm.nics] == ["", ""]
    assert [port.leads_out for port in ports(cloud)] == [True, False]
    assert vm.price.ipv4_address_price_hr.value == "0"


@pytest.mark.usefixtures("networks")
def test_the_card_with_an_external_address_leads_out(cloud):
    wanted = [NicRequest(network_id="back"), NicRequest(network_id="front", assign_public_ip=True)]
    vm = cloud.running(nics=wanted)
    assert [bool(nic.external_ip_address) for nic in vm.nics] == [False, True]
    assert vm.external_ip_address == vm.public_ip_address == vm.nics[1].external_ip_address
    assert [port.leads_out for port in ports(cloud)] == [False, True]
    assert [str(port.external_address or "") for port in ports(cloud)] == ["", vm.external_ip_address]
    assert float(vm.price.ipv4_address_price_hr.value) > 0


@pytest.mark.usefixtures("networks")
def test_the_ipv6_address_is_what_the_guest_makes_of_its_mac(cloud):
    vm = cloud.running(nics=[NicRequest(network_id="front")])
    (port,) = ports(cloud)
    (network,) = [one for one in cloud.fabric.networks().values() if one.range == IPv4Network("10.1.0.0/24")]
    first, *_, last = port.mac.split(":")
    assert vm.nics[0].ipv6_address.startswith(str(network.local_range.network_address).rstrip(":"))
    assert vm.nics[0].ipv6_address.endswith(last.lstrip("0"))
    assert int(first, 16) & 2


@pytest.mark.usefixtures("networks")
def test_vms_are_listed_by_network(cloud):
    cloud.running(vm_id="one", nics=[NicRequest(network_id="front")])
    cloud.running(vm_id="both", nics=[NicRequest(network_id="back"), NicRequest(network_id="front")])
    cloud.running(vm_id="none")

    def listed(network_id):
        answer = cloud.call(verbs.list_vms, project_id=PROJECT, network_id=network_id)
        return [vm.id for vm in answer.vms]

    assert listed("front") == ["both", "one"]
    assert listed("back") == ["both"]
    assert listed("default-local") == ["none"]
    assert listed("unknown") == []


@pytest.mark.usefixtures("networks")
def test_a_full_network_says_so(cloud):
    for number in range(5):
        cloud.create(vm_id=f"vm-{number}", nics=[NicRequest(network_id="back")])
    with pytest.raises(Refused, match=r"'back' is full: all 5 addresses of 10\.2\.0\.0/29") as refusal:
        cloud.create(vm_id="late", nics=[NicRequest(network_id="back")])
    assert (refusal.value.code, refusal.value.reason) == (9, "NETWORK_NOT_READY")


def test_a_network_or_group_of_another_data_center_is_refused(cloud):
    here = cloud.catalogue.data_centers[0]
    there = replace(here, id="mars", external_range=IPv4Network("192.0.2.0/24"))
    cloud.catalogue = replace(cloud.catalogue, data_centers=(here, there))
    network = CreateNetwork(id="red", data_center_id="mars", ip_range="10.3.0.0/24")
    cloud.call(operations.create_network, project_id=PROJECT, data=network)
    group = CreateSecurityGroup(id="dust", data_center_id="mars")
    cloud.call(group_operations.create_security_group, project_id=PROJECT, data=group)
    with pytest.raises(Invalid, match=r"nics\[0\].networkId: 'red' .* this one is in 'mars'"):
        cloud.create(nics=[NicRequest(network_id="red")])
    with pytest.raises(Invalid, match=r"securityGroupIds: 'dust' .* this one is in 'mars'"):
        cloud.create(security_group_ids=["dust"])


@pytest.mark.usefixtures("networks")
def test_validating_only_takes_nothing(cloud):
    cloud.create(validate_only=True, nics=[NicRequest(network_id="back"), NicRequest()])
    assert (cloud.count(Network), cloud.count(Nic), cloud.count(Vm)) == (2, 0, 0)
