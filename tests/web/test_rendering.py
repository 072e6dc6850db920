"""How pages write amounts: in figures that people read, never in powers of ten."""

from decimal import Decimal

import pytest

from cumulet.web.rendering import money, rate
from cumulet.wire import Amount


@pytest.mark.parametrize(
    ("amount", "words"),
    [("1284.114", "1,284.11"), ("0", "0.00"), ("0.000086", "0.000086"), ("0.00000071", "0.00000071")],
)
def test_amounts_show_their_first_digits_however_small(amount, words):
    assert money(Decimal(amount)) == words


def test_what_costs_nothing_is_free():
    assert rate(Amount.of(Decimal(0))) == "free"
    assert rate(Amount.of(Decimal("0.0095"))) == "0.0095 an hour, 6.94 a month"
