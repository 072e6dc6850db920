from ipaddress import IPv4Network
from uuid import UUID

import pytest
from tests.fabric.specs import SSH, a_network, a_port, a_router, a_rule

from cumulet.fabric import GroupSpec, IpProtocol, PortSpec
from cumulet.fabric.ovn.southbound import Way
from cumulet.fabric.ovn.specs import decode_spec, encode_spec


def test_the_order_in_which_groups_were_named_is_forgotten():
    ids = [UUID(int=number * (2**61 - 1) + 1) for number in range(30)]  # of one hash value
    there, back = (
        a_port(a_network(a_router()), groups=frozenset(groups)).groups for groups in (ids, reversed(ids))
    )
    assert list(there) != list(back)
    assert encode_spec(there) == encode_spec(back)


@pytest.mark.parametrize("peer", ["", "10.0.0.0/8", "fd00::/8"])
def test_a_group_is_read_as_it_was_written(peer):
    group = GroupSpec(UUID(int=1), (SSH, a_rule(IpProtocol.UDP, (1, 2), peer=peer, id="b")))
    assert decode_spec(encode_spec(group), GroupSpec) == group


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"id": 1, "rules": []}',
        '{"id": "00000000-0000-0000-0000-000000000001", "rules": [1]}',
    ],
)
def test_what_is_no_spec_any_more_is_none(text):
    assert decode_spec(text, GroupSpec) is None
    assert decode_spec(text, PortSpec) is None


@pytest.mark.parametrize(
    ("northbound", "southbound"),
    [
        ("unix:/run/ovn/ovnnb_db.sock", "unix:/run/ovn/ovnsb_db.sock"),
        ("unix:/run/inb/nb.sock", "unix:/run/inb/sb.sock"),
        ("ssl:10.0.0.1:6641,ssl:[fd00::1]:6641", "ssl:10.0.0.1:6642,ssl:[fd00::1]:6642"),
    ],
)
def test_the_southbound_database_is_beside_the_northbound_one(northbound, southbound):
    assert Way(northbound).southbound == southbound


def test_a_range_is_written_as_people_do():
    assert '"10.0.0.0/8"' in encode_spec(IPv4Network("10.0.0.0/8"))
