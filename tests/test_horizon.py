"""The journal is followed no further than to where nothing can appear any more that is not there yet."""

from contextlib import ExitStack
from uuid import UUID

import pytest
from tests.made_up import NOON

from cumulet import journal
from cumulet.events import EventName
from cumulet.horizon import Horizon

TOY = UUID(int=7)


def record(db):
    journal.log_event(
        db, EventName.DISK_CREATED, at=NOON, project_id="default", subject_id=TOY, text="a toy was made"
    )


def newest(database) -> int:
    with database.reading() as db:
        return max((event.id for event in journal.events_about(db, TOY)), default=0)


@pytest.fixture
def horizon(database):
    with database.writing() as db:
        record(db)
    return Horizon(database)


def test_an_empty_journal_is_settled(database):
    assert Horizon(database).look() == (0, True)


def test_what_is_committed_is_settled_when_nobody_writes(database, horizon):
    first = newest(database)
    assert horizon.look() == (first, True)
    with database.writing() as db:
        record(db)
    assert horizon.look() == (newest(database), True) != (first, True)


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
class TestWhereManyWrite:
    def test_a_later_event_waits_for_the_earlier_whose_writer_has_not_ended(self, database, horizon):
        first = horizon.look().upto
        with ExitStack() as slow:
            record(slow.enter_context(database.writing()))
            with database.writing() as db:
                record(db)
            assert newest(database) == first + 2
            assert horizon.look() == (first, False)
            assert horizon.look() == (first, False)
        assert horizon.look() == (first + 2, True)

    def test_an_event_that_is_rolled_back_holds_up_nobody(self, database, horizon):
        first = horizon.look().upto
        with pytest.raises(KeyError), database.writing() as slow:
            record(slow)
            with database.writing() as db:
                record(db)
            assert horizon.look() == (first, False)
            raise KeyError
        assert horizon.look() == (first + 2, True)

    def test_those_who_begin_later_are_not_waited_for(self, database, horizon):
        first = horizon.look().upto
        with ExitStack() as late, ExitStack() as slow:
            record(slow.enter_context(database.writing()))
            with database.writing() as db:
                record(db)
            horizon.look()
            record(late.enter_context(database.writing()))
            slow.close()
            assert horizon.look().upto == first + 2

    def test_what_is_settled_is_not_known_while_somebody_writes_at_the_first_look(self, database, horizon):
        with ExitStack() as slow:
            record(slow.enter_context(database.writing()))
            assert horizon.look() == (None, False)
        assert horizon.look() == (newest(database), True)
