"""What a rule may say, and what becomes of it."""

from ipaddress import IPv4Network, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cumulet.errors import Invalid
from cumulet.fabric import IpProtocol
from cumulet.security_groups.rules import MOST_RULES, plan_rules, read_ports, read_rule
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
        ("1024-2048, 22", ((1024, 2048), (22, 22))),
        ("1,65535", ((1, 1), (65535, 65535))),
    ],
)
def test_ports_are_read(text, ports):
    assert read_ports(text, "ports") == ports


@given(st.lists(st.tuples(st.integers(1, 65535), st.integers(1, 65535)).map(sorted), max_size=20))
def test_whatever_ports_were_written_are_read_again(pairs):
    text = ",".join(f"{first}:{last}" for first, last in pairs)
    assert read_ports(text, "ports") == tuple(map(tuple, pairs))


OUT_OF_RULE = [
    ("rules[0].protocol", {"protocol": Protocol.UNKNOWN}, "PROTOCOL_ALL"),
    ("rules[0].ruleType", {"rule_type": RuleType.UNKNOWN}, "RULE_TYPE_INBOUND"),
    ("rules[0].ports", {"ports": "0"}, "from 1 to 65535"),
    ("rules[0].ports", {"ports": "65536"}, "from 1 to 65535"),
    ("rules[0].ports", {"ports": "80,"}, "such as 80,443"),
    ("rules[0].ports", {"ports": "90:80"}, "such as 80,443"),
    ("rules[0].ports", {"ports": "ssh"}, "'ssh'"),
    ("rules[0].ports", {"ports": ",".join(map(str, range(1, 102)))}, "at most 100"),
    ("rules[0].ports", {"ports": "80", "protocol": Protocol.ALL}, "only with TCP and UDP"),
    ("rules[0].ports", {"ports": "80", "protocol": Protocol.ICMP}, "only with TCP and UDP"),
    ("rules[0].icmpType", {"icmp_type": "8"}, "none with PROTOCOL_TCP"),
    ("rules[0].icmpType", {"icmp_type": "256", "protocol": Protocol.ICMP}, "0 to 255"),
    ("rules[0].icmpType", {"icmp_type": "echo", "protocol": Protocol.ICMPV6}, "0 to 255"),
    ("rules[0].ipRangeCidr", {"ip_range_cidr": "everywhere"}, "10.0.0.0/8"),
    ("rules[0].ipRangeCidr", {"ip_range_cidr": "10.0.0.0/33"}, "10.0.0.0/8"),
    ("rules[0].ipRangeCidr", {"ip_range_cidr": "fd00::/8", "protocol": Protocol.ICMP}, "IPv4"),
    ("rules[0].ipRangeCidr", {"ip_range_cidr": "10.0.0.0/8", "protocol": Protocol.ICMPV6}, "IPv6"),
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
            protocol=Protocol.ICMPV6, rule_type=RuleType.OUTBOUND, icmp_type="128", ip_range_cidr="fd00::1/8"
        )
    )
    assert (out.inbound, out.icmp_type, out.peer) == (False, 128, IPv6Network("fd00::/8"))
