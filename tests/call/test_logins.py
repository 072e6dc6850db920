"""Whoever tries keys waits longer each time; whose keys are good does not."""

import anyio
import pytest

from cumulet.call import Logins
from cumulet.errors import TooFast
from cumulet.projects.guesses import FREE

HOME, ELSEWHERE = "192.0.2.7", "192.0.2.8"


class Good:
    """The keys that are good, and how often they were read."""

    def __init__(self):
        self.keys = {b"good"}
        self.reads = 0

    async def __call__(self):
        self.reads += 1
        return frozenset(self.keys)


@pytest.fixture
def good():
    return Good()


@pytest.fixture
def logins(good):
    return Logins(good)


def waits(logins, now, *, address=HOME, key=b"bad"):
    """How many seconds a try with a key has to wait."""
    try:
        anyio.run(lambda: logins.wait(address, lambda: key, now=now))
    except TooFast as told:
        return told.retry_after
    return 0


def fail(logins, times, *, now=0.0, address=HOME):
    for _ in range(times):
        logins.note_failed(address, now=now)


def test_the_first_tries_are_answered_and_then_each_waits_twice_as_long_up_to_a_minute(logins):
    fail(logins, FREE - 1)
    assert waits(logins, 0.0) == 0
    found = []
    for _ in range(9):
        fail(logins, 1)
        found.append(waits(logins, 0.0))
    assert found == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_after_the_wait_one_may_try_again_and_after_a_quarter_of_an_hour_all_is_forgotten(logins):
    fail(logins, FREE + 2)
    assert [waits(logins, now) for now in (0.0, 3.9, 4.0)] == [4, 1, 0]
    fail(logins, 1, now=901.0)
    assert waits(logins, 901.0) == 0


def test_a_good_key_behind_the_same_address_never_waits_and_nobody_elsewhere_does(logins, good):
    fail(logins, FREE + 5)
    assert waits(logins, 0.0, key=b"good") == 0
    assert waits(logins, 0.0, address=ELSEWHERE) == 0
    good.keys = {b"new"}
    assert waits(logins, 1.0, key=b"good") > 0
    assert waits(logins, 1.0, key=b"new") == 0


def test_a_flood_of_tries_reads_the_good_keys_once_a_second(logins, good):
    assert waits(logins, 0.0) == 0
    assert good.reads == 0
    fail(logins, FREE + 10)
    for _ in range(100):
        assert waits(logins, 0.5) > 0
    assert good.reads == 1
    assert waits(logins, 1.5) > 0
    assert good.reads == 2


def test_a_network_of_ipv6_addresses_is_one_address(logins):
    for number in range(FREE):
        logins.note_failed(f"2001:db8::{number:x}", now=0.0)
    assert waits(logins, 0.0, address="2001:db8::ffff") == 1
    assert waits(logins, 0.0, address="2001:db8:0:1::1") == 0
