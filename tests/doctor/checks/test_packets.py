import json
from ipaddress import IPv4Network

from cumulet.doctor.checks.packets import (
    judge_datapath,
    judge_firewalls,
    judge_forwarding,
    judge_taps,
    judge_uplink,
)
from cumulet.doctor.findings import Level
from cumulet.doctor.uplink import Reach


def chain(table: str, name: str, **more: str) -> dict[str, object]:
    return {"chain": {"family": "ip", "table": table, "name": name} | more}


def chains(*entries: dict[str, object]) -> str:
    return json.dumps({"nftables": [{"metainfo": {"version": "1.0.6"}}, *entries]})


def test_the_userspace_datapath_has_a_cost():
    assert judge_datapath("system").level is Level.OK
    assert judge_datapath("netdev").cost


def test_forwarding_is_on_or_off():
    assert judge_forwarding("1\n", for_vms_alone=False, chains=chains()).level is Level.OK
    assert judge_forwarding("0\n", for_vms_alone=True, chains=chains()).level is Level.BROKEN


def test_a_host_that_has_become_a_router_for_all_is_told():
    guarded = chains(chain("cumulet_forwarding", "forward", family="inet"))
    assert "for VMs alone" in judge_forwarding("1\n", for_vms_alone=True, chains=guarded).text
    router = judge_forwarding("1\n", for_vms_alone=True, chains=chains())
    assert (router.level, router.cure) == (Level.DEGRADED, "cumulet doctor prepare")


def test_what_guests_reach_of_their_host_is_told_and_when_nothing_keeps_them_off():
    reach = Reach(networks=(IPv4Network("192.168.1.0/24"),), services=("8480/tcp",))
    closed = judge_uplink("br-ex", reach, chains(chain("cumulet_br-ex", "input", family="inet")))
    assert closed.level is Level.OK
    assert closed.text.endswith("ping, 8480/tcp, 192.168.1.0/24")
    open_to_all = judge_uplink("br-ex", reach, chains(chain("cumulet_br-ex", "input", family="ip")))
    assert (open_to_all.level, open_to_all.cure) == (Level.DEGRADED, "cumulet doctor prepare")


def test_a_host_that_hears_its_vms_is_told_with_what_is_missing():
    deaf = chains(chain("cumulet_taps", "hear", family="inet"), chain("cumulet_taps", "hear", family="arp"))
    assert judge_taps(deaf).level is Level.OK
    hears = judge_taps(chains(chain("cumulet_taps", "hear", family="inet")))
    assert hears.level is Level.DEGRADED
    assert hears.text.endswith("arp cumulet_taps")


def test_a_policy_of_drop_on_forwarded_packets_is_told_with_its_cure():
    docker = chains(
        chain("filter", "FORWARD", type="filter", hook="forward", policy="drop"),
        chain("filter", "DOCKER-USER"),
    )
    finding = judge_firewalls(docker, ("br-ex",))
    assert finding.level is Level.DEGRADED
    assert "ip filter FORWARD" in finding.text
    assert (
        finding.cure
        == "iptables -I DOCKER-USER -i br-ex -j ACCEPT; iptables -I DOCKER-USER -o br-ex -j ACCEPT"
    )


def test_without_docker_the_rules_go_into_the_chain_itself():
    closed = chains(chain("filter", "FORWARD", type="filter", hook="forward", policy="drop"))
    assert "iptables -I FORWARD -i br-ex" in judge_firewalls(closed, ()).cure


def test_chains_that_accept_or_see_other_packets_are_fine():
    open_host = chains(
        chain("filter", "FORWARD", type="filter", hook="forward", policy="accept"),
        chain("filter", "INPUT", type="filter", hook="input", policy="drop"),
    )
    assert judge_firewalls(open_host, ()).level is Level.OK
