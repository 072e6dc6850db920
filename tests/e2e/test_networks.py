"""Networks of a project's own: several NICs, networks cut off and joined again, IPv6, and their end."""

import subprocess

import pytest
from tests.e2e.real_cloud import RealCloud, Vm
from tests.e2e.test_network import host_connects, pings
from tests.waiting import eventually

pytestmark = pytest.mark.lab

NETWORKS = "/v1/projects/default/networks"


@pytest.fixture(scope="module")
def networks(cloud: RealCloud) -> None:
    """Two networks of the project; of `back` another project has one with the same range."""
    cloud.make_project("twins")
    for project, id, ip_range in (
        ("default", "front", "10.20.0.0/24"),
        ("default", "back", "10.30.0.0/24"),
        ("twins", "back", "10.30.0.0/24"),
    ):
        body = {"id": id, "dataCenterId": "local", "ipRange": ip_range}
        cloud.ask("POST", f"/v1/projects/{project}/networks", json=body)


@pytest.fixture(scope="module")
def trio(cloud: RealCloud, networks: None) -> list[Vm]:
    """One with a NIC on both, one on `back` alone, one on the other project's; asked for at once."""
    return [
        cloud.create("both", nics=[{"networkId": "back"}, {"networkId": "front", "assignPublicIp": True}]),
        cloud.create("inner", nics=[{"networkId": "back", "assignPublicIp": True}]),
        cloud.create("twin", project="twins", nics=[{"networkId": "back", "assignPublicIp": True}]),
    ]


@pytest.fixture(scope="module")
def both(trio: list[Vm]) -> Vm:
    return trio[0].wait_for_ssh()


@pytest.fixture(scope="module")
def inner(trio: list[Vm]) -> Vm:
    return trio[1].wait_for_ssh()


@pytest.fixture(scope="module")
def twin(trio: list[Vm]) -> Vm:
    return trio[2].wait_for_ssh()


def ovn(*command: str) -> str:
    return subprocess.run(("ovn-nbctl", *command), check=True, capture_output=True, text=True).stdout


def test_each_card_has_its_address_in_request_order_and_one_leads_out(both):
    shown = both.shown()
    assert [nic["networkId"] for nic in shown["nics"]] == ["back", "front"]
    for number, nic in enumerate(shown["nics"]):
        shows_it = f"ip -4 addr show eth{number} | grep -F {nic['internalIpAddress']}"
        eventually(lambda shows_it=shows_it: both.ssh(shows_it).returncode == 0)
    assert both.output_of("ip route show default").split()[2] == "10.20.0.1"
    assert both.output_of("ip route show default").count("default") == 1


def test_cards_meet_on_their_networks_and_by_name(both, inner):
    eventually(lambda: pings(both, inner.internal()))
    eventually(lambda: pings(both, "inner"))
    assert pings(inner, both.shown()["nics"][0]["internalIpAddress"])


def test_the_same_range_in_another_project_is_another_network(both, inner, twin):
    assert twin.internal() in {inner.internal(), both.internal()}
    assert not pings(twin, "inner", patience=2)
    heard = inner.output_of("grep ^Icmp: /proc/net/snmp")
    assert not pings(twin, inner.internal(), patience=2) or twin.internal() == inner.internal()
    assert inner.output_of("grep ^Icmp: /proc/net/snmp") == heard


def test_unique_local_ipv6_works_within_the_project(both, inner):
    address = inner.shown()["nics"][0]["ipv6Address"]
    eventually(lambda: address in inner.output_of("ip -6 addr show eth0"))
    eventually(lambda: both.ssh(f"ping -6 -q -c 1 -W 3 {address}").returncode == 0)


def test_a_network_that_is_stopped_keeps_its_vms_together_and_from_all_others(cloud, both, inner):
    inside, outside = inner.internal(), inner.external()
    eventually(lambda: host_connects(outside))
    cloud.ask("POST", f"{NETWORKS}/back/stop")
    eventually(lambda: cloud.ask("GET", f"{NETWORKS}/back")["state"] == "STOPPED")
    eventually(lambda: not host_connects(outside))
    assert pings(both, inside)
    eventually(lambda: host_connects(both.external()))
    cloud.ask("POST", f"{NETWORKS}/back/start")
    eventually(lambda: host_connects(outside))
    assert pings(both, inside)


def test_a_network_taken_away_by_hand_comes_back_and_the_others_did_not_notice(cloud, both, inner):
    (id,) = cloud.column("select id from network where name = 'back' and project_id = 'default'")
    dashed = f"{id[:8]}-{id[8:12]}-{id[12:16]}-{id[16:20]}-{id[20:]}" if "-" not in id else id
    ovn("ls-del", f"network-{dashed}")
    assert host_connects(both.external())
    eventually(lambda: host_connects(inner.external()))
    eventually(lambda: pings(both, inner.internal(), patience=2))


def test_a_network_in_use_stays_and_one_that_is_not_goes_without_a_trace(cloud, trio):
    refused = cloud.api.delete(f"{NETWORKS}/back")
    assert (refused.status_code, refused.json()["code"]) == (400, 9)
    for vm in trio:
        vm.verb("terminate")
    for vm in trio:
        eventually(vm.gone)
    for path in (f"{NETWORKS}/back", f"{NETWORKS}/front", "/v1/projects/twins/networks/back"):
        cloud.ask("DELETE", path)
        eventually(lambda path=path: cloud.api.get(path).status_code == 404)
    assert "10.30.0" not in ovn("list", "Logical_Router_Port")
    assert "10.30.0" not in ovn("list", "DHCP_Options")
