from datetime import timedelta
from uuid import UUID

from tests.made_up import NOON

from cumulet.hosts import Leftovers
from cumulet.hosts.leftovers import GRACE

ONE, OTHER = UUID(int=1), UUID(int=2)


def test_a_leftover_is_overdue_once_it_was_seen_for_the_whole_grace():
    leftovers = Leftovers()
    looks = [leftovers.overdue("disk", {ONE}, NOON + part * GRACE / 2) for part in range(3)]
    assert looks == [[], [], [ONE]]


def test_what_was_away_in_between_starts_anew():
    leftovers = Leftovers()
    for seen in ({ONE}, set(), {ONE}):
        assert leftovers.overdue("disk", seen, NOON) == []
    assert leftovers.overdue("disk", {ONE}, NOON + GRACE - timedelta(seconds=1)) == []


def test_kinds_do_not_mix():
    leftovers = Leftovers()
    leftovers.overdue("disk", {ONE}, NOON)
    leftovers.overdue("seed", {OTHER}, NOON)
    assert leftovers.overdue("disk", {ONE, OTHER}, NOON + GRACE) == [ONE]
