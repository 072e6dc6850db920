from datetime import timedelta
from functools import partial
from uuid import UUID

import pytest
from sqlalchemy import select
from tests.made_up import NOON

from cumulet import journal
from cumulet.reconcile import Reconciler, wake
from cumulet.retention import AT_ONCE, forget_old_facts

TOY, OTHER = UUID(int=7), UUID(int=8)


def record(db, text, subject_id=TOY, **more):
    journal.record(db, "toy.made", at=NOON, project_id="default", subject_id=subject_id, text=text, **more)


def test_a_fact_tells_who_did_what_to_what_and_when(database):
    with database.writing() as db:
        record(db, "a toy was made", actor="ann@example.org")
    with database.reading() as db:
        (fact,) = journal.facts_about(db, TOY)
    told = (fact.subject, fact.event, fact.text, fact.actor, fact.at)
    assert told == ("toy", "toy.made", "a toy was made", "ann@example.org", NOON)


def test_what_nobody_asked_for_was_done_by_the_cloud_itself(database):
    with database.writing() as db:
        record(db, "it was made")
    with database.reading() as db:
        assert journal.facts_about(db, TOY)[0].actor == "cumulet"


def test_a_story_is_told_in_the_order_it_happened_and_about_one_thing(database):
    with database.writing() as db:
        for text in ("first", "second", "third"):
            record(db, text)
            record(db, "something else", OTHER)
    with database.reading() as db:
        assert [fact.text for fact in journal.facts_about(db, TOY)] == ["first", "second", "third"]


def test_of_a_very_long_story_the_newest_part_is_told(database):
    with database.writing() as db:
        for number in range(5):
            record(db, str(number))
    with database.reading() as db:
        assert [fact.text for fact in journal.facts_about(db, TOY, limit=2)] == ["3", "4"]


def test_a_change_that_is_rolled_back_leaves_no_fact(database):
    with pytest.raises(KeyError), database.writing() as db:
        record(db, "it never was")
        raise KeyError
    with database.reading() as db:
        assert not journal.facts_about(db, TOY)


def test_facts_go_after_their_time_in_parts_but_none_that_is_to_be_billed(cloud):
    old, new = cloud.clock() - timedelta(days=11), cloud.clock() - timedelta(days=9)
    with cloud.database.writing() as db:
        for at in (old, new):
            for event in ("vm.first_boot", "vm.started"):
                for number in range(AT_ONCE + 1):
                    journal.record(
                        db, event, at=at, project_id="default", subject_id=UUID(int=1), text=str(number)
                    )
    reconciler = Reconciler(
        cloud.database, {"journal": partial(forget_old_facts, days=10)}, clock=cloud.clock
    )
    with cloud.database.writing() as db:
        wake(db, "journal", UUID(int=2), now=cloud.clock())
    left = []
    while reconciler.run_due():
        left.append(cloud.count(journal.Fact))
        cloud.clock.advance(2)
    assert left == [3 * (AT_ONCE + 1) + 1, 3 * (AT_ONCE + 1)]
    with cloud.database.reading() as db:
        kept = db.execute(select(journal.Fact.event, journal.Fact.at).distinct()).all()
    assert set(kept) == {("vm.started", old), ("vm.started", new), ("vm.first_boot", new)}
