"""How fast one caller may ask."""

import pytest

from cumulet.call import Rates
from cumulet.call.rates import FEWEST_SWEPT
from cumulet.errors import TooFast


@pytest.fixture
def rates():
    return Rates(per_second=8, at_once=3)


def allowed(rates, caller, *, now, times=100):
    """How many of so many requests are let through at one moment."""
    for done in range(times):
        try:
            rates.count(caller, now=now)
        except TooFast:
            return done
    return times


def test_some_may_come_at_once_then_so_many_a_second(rates):
    assert allowed(rates, "ann", now=0.0) == 3
    assert [allowed(rates, "ann", now=at) for at in (0.125, 0.1875, 0.25, 0.375)] == [1, 0, 1, 1]
    assert allowed(rates, "ann", now=60.0) == 3


def test_one_caller_takes_nothing_from_another(rates):
    assert allowed(rates, "ann", now=0.0) == 3
    assert allowed(rates, "bob", now=0.0) == 3


def test_who_asks_too_often_is_told_when_to_go_on_and_is_right_then(rates):
    assert allowed(rates, "ann", now=5.0) == 3
    with pytest.raises(
        TooFast, match=r"more than 8 requests a second, and had 3 at once: go on in 0.12 s"
    ) as told:
        rates.count("ann", now=5.0)
    assert (told.value.code, told.value.http, told.value.retry_after) == (8, 429, 1)
    assert told.value.details[0]["reason"] == "RATE_LIMITED"
    assert told.value.details[1]["retryDelay"] == "1s"
    rates.count("ann", now=5.125)


def test_refusals_do_not_make_the_wait_longer(rates):
    assert allowed(rates, "ann", now=0.0) == 3
    for _ in range(1000):
        assert allowed(rates, "ann", now=0.0625) == 0
    assert allowed(rates, "ann", now=0.125) == 1


def test_who_has_not_asked_for_a_while_takes_no_memory(rates):
    for caller in range(10 * FEWEST_SWEPT):
        rates.count(caller, now=caller / 100)
    assert len(rates._due) <= FEWEST_SWEPT + 1
