"""However many refusals there are, the audit tells of all of them in a bounded number of records and writes."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import event
from tests.made_up import NOON

from cumulet.audit import Act, Outcome, Refusals

STRANGER = Act(operation="list_vms", address="192.0.2.7")
ANN = Act(operation="list_vms", address="192.0.2.7", user_id=UUID(int=1), email="ann@example.org")


@pytest.fixture
def note(database):
    refusals = Refusals(database, of_one=3, of_strangers=5)

    def note(act, outcome=Outcome.UNAUTHENTICATED, reason="", now=NOON):
        refusals.note(act, outcome, reason, now=now)

    return note


def test_the_same_again_is_counted_and_written_when_its_number_has_doubled(database, note, told):
    writes = []
    event.listen(database.engine, "commit", writes.append)
    for second in range(1000):
        note(STRANGER, now=NOON + timedelta(seconds=second))
    (one,) = told()
    assert (one.count, one.at, one.last_at) == (512, NOON, NOON + timedelta(seconds=511))
    assert len(writes) == 10


def test_the_next_hour_has_a_record_of_its_own(note, told):
    for hour in (0, 0, 1):
        note(STRANGER, now=NOON + timedelta(hours=hour))
    assert [one.count for one in told()] == [2, 1]


def test_kinds_are_told_apart_by_who_what_and_why_and_beyond_so_many_counted_together(note, told):
    for number in range(10):
        note(replace(ANN, target=f"id=vm-{number}", address=f"192.0.2.{number}"), Outcome.NOT_FOUND)
    note(ANN, Outcome.PERMISSION_DENIED)
    assert [(one.email, one.operation, one.target, one.outcome, one.count) for one in told()] == [
        *(("ann@example.org", "list_vms", f"id=vm-{number}", Outcome.NOT_FOUND, 1) for number in range(3)),
        ("ann@example.org", "", "", Outcome.NOT_FOUND, 4),
        ("ann@example.org", "", "", Outcome.PERMISSION_DENIED, 1),
    ]


def test_strangers_from_everywhere_fill_a_bounded_number_of_records_and_hide_no_user(note, told):
    for number in range(100):
        note(replace(STRANGER, address=f"192.0.2.{number}"))
    note(ANN, Outcome.NOT_FOUND)
    *strangers, together, ann = told()
    assert [one.address for one in strangers] == [f"192.0.2.{number}" for number in range(5)]
    assert (together.address, together.operation, together.count) == ("*", "", 64)
    assert (ann.email, ann.operation) == ("ann@example.org", "list_vms")


def test_a_network_of_ipv6_addresses_is_one_stranger(note, told):
    for number in range(20):
        note(replace(STRANGER, address=f"2001:db8::{number:x}", target=f"id=vm-{number}"))
    assert [(one.address, one.count) for one in told()][3:] == [("2001:db8::/64", 16)]
