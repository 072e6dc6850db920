from ipaddress import IPv4Address, IPv4Network
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cumulet.networks.addresses import capacity, mac_of, pick_address

RANGE = IPv4Network("10.0.0.0/28")
GIVEN_OUT = [str(RANGE[offset]) for offset in range(2, 15)]
taken = st.sets(st.sampled_from(GIVEN_OUT))


def pick(taken):
    numbers = {int(IPv4Address(address)) for address in taken}
    return pick_address(RANGE, max(numbers, default=None), lambda: numbers)


@given(taken, st.sets(st.ip_addresses(v=4).map(str), max_size=3))
def test_an_address_is_never_given_twice_nor_one_that_is_reserved_or_of_another_range(taken, others):
    address = pick(taken | others)
    assert address is None or str(address) in set(GIVEN_OUT) - taken


@given(taken)
def test_only_a_full_range_has_none_left(taken):
    assert (pick(taken) is None) == (len(taken) == capacity(RANGE) == len(GIVEN_OUT))


def test_the_first_are_the_network_s_own_and_the_gateway_s():
    assert pick([]) == IPv4Address("10.0.0.2")


def test_one_that_was_given_back_is_left_alone_while_there_are_others():
    assert pick(["10.0.0.2", "10.0.0.4"]) == IPv4Address("10.0.0.5")
    assert pick(["10.0.0.2", "10.0.0.14"]) == IPv4Address("10.0.0.3")


@pytest.mark.parametrize(("range_", "count"), [("10.0.0.0/29", 5), ("10.0.0.0/16", 65533)])
def test_how_many_can_be_given_out(range_, count):
    assert capacity(IPv4Network(range_)) == count


def test_a_mac_is_one_s_own_local_and_for_one_card():
    id = uuid4()
    first = int(mac_of(id).split(":")[0], 16)
    assert mac_of(id) == mac_of(UUID(str(id))) != mac_of(uuid4())
    assert (first & 0b10, first & 0b01) == (0b10, 0)
