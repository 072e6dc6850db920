from datetime import timedelta
from uuid import UUID

from tests.made_up import NOON

from cumulet.hosts import Orphans
from cumulet.hosts.orphans import GRACE

ONE, OTHER = UUID(int=1), UUID(int=2)


def test_a_leftover_is_overdue_once_it_was_seen_for_the_whole_grace():
    orphans = Orphans()
    looks = [orphans.overdue("disk", {ONE}, NOON + part * GRACE / 2) for part in range(3)]
    assert looks == [[], [], [ONE]]


def test_what_was_away_in_between_starts_anew():
    orphans = Orphans()
    for seen in ({ONE}, set(), {ONE}):
        assert orphans.overdue("disk", seen, NOON) == []
    assert orphans.overdue("disk", {ONE}, NOON + GRACE - timedelta(seconds=1)) == []


def test_kinds_do_not_mix():
    orphans = Orphans()
    orphans.overdue("disk", {ONE}, NOON)
    orphans.overdue("seed", {OTHER}, NOON)
    assert orphans.overdue("disk", {ONE, OTHER}, NOON + GRACE) == [ONE]
