"""The rules by which guests leave, and what they are made of."""

import json
from ipaddress import IPv4Address, IPv4Network

import pytest

from cumulet.doctor.forwarding import guard
from cumulet.doctor.uplink import NOTHING, Reach, decode_reach, encode_reach, rules, surroundings

GUESTS, LAN = IPv4Network("198.51.100.0/24"), IPv4Network("192.168.1.0/24")
REACH = Reach(
    resolvers=(IPv4Address("192.0.2.53"), IPv4Address("192.0.2.54")),
    networks=(IPv4Network("192.168.1.77/32"),),
    services=("8480/tcp", "123/udp"),
)


def lines(*arguments) -> list[str]:
    return [line.strip() for line in rules("br-ex", *arguments).splitlines()]


def test_what_leaves_the_range_is_masqueraded():
    assert 'ip saddr 198.51.100.0/24 oifname != "br-ex" masquerade' in lines(GUESTS, NOTHING, [LAN])


def test_what_is_beside_the_host_is_refused_as_one_set_whatever_overlaps():
    within = IPv4Network("192.168.1.128/25")
    refused = "ip daddr { 169.254.0.0/16, 192.168.1.0/24 } reject with icmpx admin-prohibited"
    assert refused in lines(GUESTS, NOTHING, [LAN, within])


def test_what_the_operator_lists_comes_before_what_is_refused():
    script = lines(GUESTS, REACH, [LAN])
    opened = script.index("ip daddr { 192.168.1.77/32, 198.51.100.0/24 } accept")
    assert opened < next(place for place, line in enumerate(script) if "169.254.0.0/16" in line)
    assert "meta l4proto . th dport { tcp . 8480, udp . 123 } accept" in script
    assert "ip daddr { 192.0.2.53, 192.0.2.54 } meta l4proto { tcp, udp } th dport 53 accept" in script


@pytest.mark.parametrize("reach", [NOTHING, REACH])
def test_what_guests_reach_is_kept_as_text(reach):
    assert decode_reach(encode_reach(reach)) == reach


def test_the_networks_that_a_host_is_in_are_its_routes_without_a_gateway():
    routes = [
        {"dst": "default", "dev": "ppp0"},
        {"dst": "0.0.0.0/1", "dev": "wg0"},
        {"dst": "192.168.1.0/24", "dev": "eth0"},
        {"dst": "10.8.0.1", "dev": "tun0"},
        {"dst": "198.51.100.0/24", "dev": "br-ex"},
        {"type": "broadcast", "dst": "192.168.1.255", "dev": "eth0"},
    ]
    assert [*surroundings(json.dumps(routes), ours={"br-ex"})] == [LAN, IPv4Network("10.8.0.1/32")]


def test_nothing_is_forwarded_but_for_guests():
    script = [line.strip() for line in guard({"br-b", "br-a"}).splitlines()]
    assert script.index('iifname "br-a" accept') < script.index('oifname "br-b" accept')
    assert script.index('oifname "br-b" accept') < script.index("meta nfproto ipv4 drop")
    assert "meta nfproto ipv4 drop" in guard(())
