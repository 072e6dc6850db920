"""The JSON of security groups: one answer that clients of 2024 and of 2026 both find their members in."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from cumulet.wire import ProtoEnum, Wire


class Protocol(ProtoEnum):
    """`SecurityGroup.Rule.Protocol`."""

    UNKNOWN = "PROTOCOL_UNKNOWN", 0
    ALL = "PROTOCOL_ALL", 1
    TCP = "PROTOCOL_TCP", 2
    UDP = "PROTOCOL_UDP", 3
    ICMP = "PROTOCOL_ICMP", 4
    ICMPV6 = "PROTOCOL_ICMPv6", 5
    IPSEC = "PROTOCOL_IPSEC", 6


class RuleType(ProtoEnum):
    """`SecurityGroup.Rule.RuleType`."""

    UNKNOWN = "RULE_TYPE_UNKNOWN", 0
    INBOUND = "RULE_TYPE_INBOUND", 1
    OUTBOUND = "RULE_TYPE_OUTBOUND", 2


class Rule(Wire, kw_only=True):
    """What a security group lets pass."""

    id: str = ""
    """`""` lets us choose one; the same rule always gets the same."""
    protocol: Annotated[Protocol, Meta(examples=["PROTOCOL_TCP"])] = Protocol.UNKNOWN
    ports: Annotated[str, Meta(examples=["80,443"])] = ""
    """`80,443` or `1024:2048`; `""` for all."""
    rule_type: Annotated[RuleType, Meta(examples=["RULE_TYPE_INBOUND"])] = RuleType.UNKNOWN
    ip_range_cidr: str = ""
    """Where it may come from (inbound) or go to (outbound): an address or a range; `""` for anywhere."""
    icmp_type: str = ""


class CreateSecurityGroup(Wire, kw_only=True):
    """A new security group."""

    id: Annotated[str, Meta(examples=["web"])]
    data_center_id: Annotated[str, Meta(examples=["local"])]
    description: str = ""
    rules: list[Rule] = []


class UpdateSecurityGroup(Wire, kw_only=True):
    """What a security group is to be; its rules are replaced by these."""

    data_center_id: str = ""
    """Where it is: a group cannot move."""
    description: str = ""
    rules: list[Rule] = []


class SecurityGroupAnswer(Wire, kw_only=True):
    """A security group."""

    project_id: str
    data_center_id: str
    id: str
    description: str
    rules: list[Rule]


class SecurityGroupResponse(SecurityGroupAnswer, kw_only=True):
    """A security group, flat as in 2026, and wrapped as in 2024."""

    security_group: SecurityGroupAnswer


class ListSecurityGroupsResponse(Wire, kw_only=True):
    """A page of security groups."""

    security_groups: list[SecurityGroupAnswer]
    total_count: int
    page_number: int
    """0 when the page was asked for by its token."""
    page_size: int
    page_token: str
