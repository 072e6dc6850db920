"""What the security groups of a NIC let pass together, in a sentence for each direction."""

from __future__ import annotations

from collections.abc import Sequence

from cumulet.security_groups.wire import Protocol, Rule, RuleType, SecurityGroupAnswer


def lets_in(groups: Sequence[SecurityGroupAnswer]) -> str:
    """Say what gets in."""
    if not groups:
        return "Lets in everything: it has no security group."
    rules = rules_of(groups, RuleType.INBOUND)
    return f"Lets in {listed(rules)}, and nothing else." if rules else "Lets in nothing."


def lets_out(groups: Sequence[SecurityGroupAnswer]) -> str:
    """Say what gets out; without a rule about that everything does."""
    rules = rules_of(groups, RuleType.OUTBOUND)
    return f"Lets out {listed(rules)}, and nothing else." if rules else "Lets out everything."


def rules_of(groups: Sequence[SecurityGroupAnswer], direction: RuleType) -> list[Rule]:
    """Give the rules of all of them in a direction."""
    return [rule for group in groups for rule in group.rules if rule.rule_type is direction]


def listed(rules: Sequence[Rule]) -> str:
    """Name what rules let pass, each once."""
    return "; ".join(dict.fromkeys(map(in_words, rules)))


def in_words(rule: Rule) -> str:
    """Name what a rule lets pass, such as `tcp 80,443 from anywhere`."""
    word = "from" if rule.rule_type is RuleType.INBOUND else "to"
    return f"{traffic(rule)} {word} {rule.ip_range_cidr or 'anywhere'}"


def sentence(rule: Rule) -> str:
    """Say what a rule lets pass."""
    return f"Lets {'in' if rule.rule_type is RuleType.INBOUND else 'out'} {in_words(rule)}."


def traffic(rule: Rule) -> str:
    """Name what a rule is about, such as `tcp 80,443`."""
    name = "everything" if rule.protocol is Protocol.ALL else rule.protocol.name.lower()
    return " ".join(word for word in (name, rule.ports or rule.icmp_type) if word)
