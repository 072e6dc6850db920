"""`cumulet network`, `cumulet security-group` and what `cumulet vm` has to do with them."""

import re

import pytest
from tests.waiting import eventually


@pytest.fixture
def network(cumulet):
    cumulet("network", "create", "cli-net", "10.9.0.0/24")
    yield "cli-net"
    cumulet("network", "delete", "cli-net")


@pytest.fixture
def group(cumulet):
    cumulet("security-group", "create", "cli-group", "--allow", "tcp:22", "--from", "10.0.0.0/8")
    yield "cli-group"
    cumulet("security-group", "delete", "cli-group")


def rules(cumulet, name="cli-group"):
    """The group's rules in short words, by id."""
    lines = cumulet("security-group", "rules", name).out.splitlines()[1:]
    return dict(re.split(r"  +", line, maxsplit=1) for line in lines)


def test_a_network_goes_through_its_life(cumulet, network):
    shown = cumulet("network", "get", network).out
    assert re.search(r"^range +10\.9\.0\.0/24$", shown, re.MULTILINE)
    assert re.search(r"^gateway +10\.9\.0\.1$", shown, re.MULTILINE)
    assert network in cumulet("network", "list", "-o", "name").out.split()
    assert cumulet("network", "stop", network).code == 0
    assert cumulet("network", "get", network, "-o", "json").json["state"] in {"STOPPING", "STOPPED"}
    assert cumulet("network", "start", network).code == 0
    again = cumulet("network", "create", network, "10.9.1.0/24")
    assert (again.code, "already" in again.err) == (1, True)
    assert cumulet("network", "create", "other", "8.8.8.0/24").code == 2
    assert cumulet("network", "get", "nobody").code == 3


def test_rules_are_written_in_short_words(cumulet, group):
    assert list(rules(cumulet).values()) == ["in tcp:22@10.0.0.0/8"]
    words = ("udp:1024:2048", "icmp:8", "all@192.0.2.7", "ipsec", "icmpv6")
    options = [option for word in words for option in ("--allow", word)]
    assert cumulet("security-group", "allow", group, *options, "--allow-out", "tcp:80,443").code == 0
    said = {f"in {word}" for word in words} | {"in tcp:22@10.0.0.0/8", "out tcp:80,443"}
    found = rules(cumulet)
    assert set(found.values()) == said
    gone = [id for id, words in found.items() if words.startswith("in icmp")]
    assert cumulet("security-group", "revoke", group, *gone).code == 0
    assert set(rules(cumulet).values()) == {words for words in said if "icmp" not in words}
    assert "in tcp:22@10.0.0.0/8" in cumulet("security-group", "list").out


@pytest.mark.parametrize("words", ["ssh", "tcp:22@", "sctp:1", "tcp:22 udp:53"])
def test_words_that_are_no_rule_are_refused_with_an_example(cumulet, group, words):
    refused = cumulet("security-group", "allow", group, "--allow", words)
    assert refused.code == 2
    assert "PROTOCOL[:PORTS][@RANGE]" in refused.err


def test_a_rule_that_is_not_there_is_not_revoked(cumulet, group):
    refused = cumulet("security-group", "revoke", group, "nothing")
    assert (refused.code, "'nothing'" in refused.err) == (3, True)
    assert len(rules(cumulet)) == 1


def test_a_vm_has_cards_and_groups_and_its_reach_is_told(cumulet, network, group):
    created = cumulet(
        "vm", "create", "carded", "--image", "micro", "--wait",
        "--nic", network, "--nic", "default-local:public", "--security-group", group,
    )  # fmt: skip
    assert created.code == 0, created.err
    assert re.search(
        rf"^networks +{network} \(10\.9\.0\.2\), default-local \(\S+ = \S+\)$", created.out, re.MULTILINE
    )
    assert re.search(rf"^security groups +{group}$", created.out, re.MULTILINE)
    allowed = cumulet("vm", "reach", "carded", "--from", "10.1.2.3", "--port", "22")
    assert (allowed.code, allowed.out[:4]) == (0, "yes:")
    refused = cumulet("vm", "reach", "carded", "--from", "203.0.113.7", "--port", "22")
    assert (refused.code, refused.out[:3]) == (1, "no:")
    assert f"security group {group}" in refused.out
    assert cumulet("vm", "detach-security-group", "carded", group).code == 0
    reach = ("vm", "reach", "carded", "--from", "203.0.113.7", "--port", "22", "-o", "json")
    eventually(lambda: cumulet(*reach).json["reachable"])
    assert cumulet("vm", "attach-security-group", "carded", group).code == 0
    assert cumulet("security-group", "delete", group).code == 1
    assert cumulet("network", "delete", network).code == 1
    cumulet("vm", "delete", "carded", "--wait")


@pytest.mark.parametrize("words", ["net:private", ":public"])
def test_a_card_in_other_words_is_refused(cumulet, words):
    refused = cumulet("vm", "create", "miscarded", "--image", "micro", "--nic", words)
    assert (refused.code, "NETWORK:public" in refused.err) == (2, True)
