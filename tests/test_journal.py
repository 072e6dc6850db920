from uuid import UUID

import pytest
from tests.made_up import NOON

from cumulet import journal

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
