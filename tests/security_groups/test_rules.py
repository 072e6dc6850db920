"""What a rule may say, and what becomes of it."""

from ipaddress import IPv4Network, IPv6Network
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cumulet.errors import Invalid
from cumulet.fabric import IpProtocol
from cumulet.security_groups.rules import (
    MOST_MATCHES,
    MOST_RULES,
    matches_of,
    plan_rules,
    read_ports,
    read_rule,
)
from cumulet.security_groups.wire import Protocol, Rule, RuleType


def a_rule(**fields):
    return Rule(**({"protocol": Protocol.TCP, "rule_type": RuleType.INBOUND} | fields))


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("", ()),
        ("22", ((22, 22),)),
        ("80,443", ((80, 80), (443, 443))),
        ("1024:2048", ((1024, 2048),)),
        ("1024-2048, 22", ((22, 22), (1024, 2048))),
        ("1,65535", ((1, 1), (65535, 65535))),
        ("443,80,81:90,22:85", ((22, 90), (443, 443))),
    ],
)
def test_ports_are_read(text, ports):
    assert read_ports(text, "ports") == ports


@given(st.lists(st.tuples(st.integers(1, 300), st.integers(1, 300)).map(sorted), max_size=20))
def test_just_the_ports_that_were_written_are_read_in_ranges_apart_from_each_other(pairs):
    ranges = read_ports(",".join(f"{first}:{last}" for first, last in pairs), "ports")
    assert {port for first, last in ranges for port in range(first, last + 1)} == {
        port for first, last in pairs for port in range(first, last + 1)
    }
    assert all(first[1] + 1 < second[0] for first, second in pairwise(ranges))


OUT_OF_RULE = [
    ("rules[0].protocol", {"protocol": Protocol.UNKNOWN}, "PROTOCOL_ALL"),
    ("rules[0].ruleType", {"rule_type": RuleType.UNKNOWN}, "RULE_TYPE_INBOUND"),
    ("rules[0].ports", {"ports": "0"}, "from 1 to 65535"),
    ("rules[0].ports", {"ports": "65536"}, "from 1 to 65535"),
    ("rules[0].ports", {"ports": "80,"}, "such as 80,443"),
    ("rules[0].ports", {"ports": "90:80"}, "such as 80,443"),
    ("rules[0].ports", {"ports": "ssh"}, "'ssh'"),
    ("rules[0].ports", {"ports": "٢٢"}, "such as 80,443"),
    ("rules[0].ports", {"ports": ",".join(map(str, range(1, 102)))}, "at most 100"),
    ("rules[0].ports", {"ports": "80", "protocol": Protocol.ALL}, "only with TCP and UDP"),
    ("rules[0].ports", {"ports": "80", "protocol": Protocol.ICMP}, "only with TCP and UDP"),
    ("rules[0].icmpType", {"icmp_type": "8"}, "none with PROTOCOL_TCP"),
    ("rules[0].icmpType", {"icmp_type": "256", "protocol": Protocol.ICMP}, "0 to 255"),
    ("rules[0].icmpType", {"icmp_type": "echo", "protocol": Protocol.ICMPV6}, "0 to 255"),
    ("rules[0].ipRangeCidr", {"ip_range_cidr": "everywhere"}, "10.0.0.0/8"),
    ("rules[0].ipRangeCidr", {"ip_range_cidr": "10.0.0.0/33"}, "10.0.0.0/8"),
    ("rules[0].ipRangeCidr", {"ip_range_cidr": "10.1.2.3/8"}, "expected 10.0.0.0/8, which begins"),
    ("rules[0].ipRangeCidr", {"ip_range_cidr": "2001:db8::1/32"}, "expected 2001:db8::/32, which begins"),
    ("rules[0].ipRangeCidr", {"ip_range_cidr": "fe80::1%x"}, "an address or a range"),
    ("rules[0].ipRangeCidr", {"ip_range_cidr": "fe80::%x/64"}, "an address or a range"),
    ("rules[0].ipRangeCidr", {"ip_range_cidr": "٢٢.0.0.0/8"}, "an address or a range"),
    ("rules[0].icmpType", {"icmp_type": "٨", "protocol": Protocol.ICMP}, "0 to 255"),
    ("rules[0].ipRangeCidr", {"ip_range_cidr": "fd00::/8", "protocol": Protocol.ICMP}, "IPv4"),
    ("rules[0].ipRangeCidr", {"ip_range_cidr": "10.0.0.0/8", "protocol": Protocol.ICMPV6}, "IPv6"),
    ("rules[0].ipRangeCidr", {"ip_range_cidr": "::ffff:10.0.0.0/104", "protocol": Protocol.ICMPV6}, "IPv6"),
    ("rules[0].id", {"id": "a b"}, "letters, digits"),
    ("rules[0].id", {"id": "x" * 64}, "1 to 63"),
]


@pytest.mark.parametrize(("field", "fields", "words"), OUT_OF_RULE)
def test_a_rule_out_of_its_rule_is_refused_by_name(field, fields, words):
    with pytest.raises(Invalid) as refusal:
        plan_rules([a_rule(**fields)])
    assert refusal.value.message.startswith(f"{field}: ")
    assert words in refusal.value.message


def test_too_many_rules_are_refused():
    with pytest.raises(Invalid, match=f"at most {MOST_RULES}"):
        plan_rules([a_rule()] * (MOST_RULES + 1))
    assert len(plan_rules([a_rule(ports=str(port)) for port in range(1, MOST_RULES + 1)])) == MOST_RULES


def test_an_id_twice_is_refused():
    with pytest.raises(Invalid, match=r"rules\[1\].id: 'ssh'"):
        plan_rules([a_rule(id="ssh"), a_rule(id="ssh", ports="22")])


def test_a_rule_without_an_id_always_gets_the_same():
    ssh, web = a_rule(ports="22"), a_rule(ports="80")
    first, second = plan_rules([ssh, web])
    assert [rule.id for rule in plan_rules([web, ssh])] == [second.id, first.id]
    assert len({rule.id for rule in plan_rules([ssh, ssh, web])}) == 3


def test_a_rule_is_said_to_the_fabric():
    spec = read_rule(a_rule(id="web", ports="80,8000:8010", ip_range_cidr="192.0.2.7"))
    assert (spec.id, spec.inbound, spec.protocol) == ("web", True, IpProtocol.TCP)
    assert spec.ports == ((80, 80), (8000, 8010))
    assert spec.peer == IPv4Network("192.0.2.7/32")
    out = read_rule(
        a_rule(
            protocol=Protocol.ICMPV6, rule_type=RuleType.OUTBOUND, icmp_type="128", ip_range_cidr="fd00::/8"
        )
    )
    assert (out.inbound, out.icmp_type, out.peer) == (False, 128, IPv6Network("fd00::/8"))
    assert read_rule(a_rule(ip_range_cidr="::ffff:192.0.2.7")).peer == IPv4Network("192.0.2.7/32")


@pytest.mark.parametrize(
    ("written", "spelled"),
    [
        ("2001:DB8:0::1", "2001:db8::1"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::FFFF:0:0/96", "0.0.0.0/0"),
        ("::/0", "::/0"),
    ],
)
def test_a_range_is_spelled_in_one_way(written, spelled):
    (rule,) = plan_rules([a_rule(ip_range_cidr=written)])
    (again,) = plan_rules([a_rule(ip_range_cidr=spelled)])
    assert (rule.ip_range_cidr, rule.id) == (spelled, again.id)


@pytest.mark.parametrize(
    ("matches", "fields"),
    [
        (2, {"ports": ""}),
        (2, {"ports": "22"}),
        (1, {"ports": "22", "ip_range_cidr": "10.0.0.0/8"}),
        (8, {"ports": "1000:1599"}),
        (60, {"ports": "1:65534"}),
        (8, {"protocol": Protocol.IPSEC}),
        (1, {"protocol": Protocol.ICMPV6}),
    ],
)
def test_what_a_rule_expands_to_is_counted_by_kinds_of_ip_and_values_of_ports(matches, fields):
    assert matches_of(read_rule(a_rule(**fields))) == matches


def test_a_group_that_expands_to_too_much_is_refused_with_the_figure():
    ranges = ",".join(f"{1000 + 40 * index}:{1020 + 40 * index}" for index in range(100))
    with pytest.raises(Invalid, match=rf"rules: 'what expands to 28000 matches'.* at most {MOST_MATCHES}"):
        plan_rules([a_rule(ports=ranges, id=str(index)) for index in range(40)])
    assert len(plan_rules([a_rule(ports=ranges, id=str(index)) for index in range(5)])) == 5
