from datetime import timedelta
from functools import partial
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import select
from tests.made_up import NOON

from cumulet import journal
from cumulet.events import DiskData, EventName, VmData
from cumulet.reconcile import Reconciler, wake
from cumulet.retention import AT_ONCE, forget_old
from cumulet.vms import operations

TOY, OTHER = UUID(int=7), UUID(int=8)


def record(db, text, subject_id=TOY, **more):
    journal.log_event(
        db, EventName.DISK_CREATED, at=NOON, project_id="default", subject_id=subject_id, text=text, **more
    )


def test_an_event_tells_who_did_what_to_what_and_when(database):
    with database.writing() as db:
        record(db, "a toy was made", actor="ann@example.org")
    with database.reading() as db:
        (event,) = journal.events_about(db, TOY)
    told = (event.subject, event.event, event.text, event.actor, event.at)
    assert told == ("disk", EventName.DISK_CREATED, "a toy was made", "ann@example.org", NOON)


def test_what_nobody_asked_for_was_done_by_the_cloud_itself(database):
    with database.writing() as db:
        record(db, "it was made")
    with database.reading() as db:
        assert journal.events_about(db, TOY)[0].actor == "cumulet"


def test_a_timeline_is_told_in_the_order_it_happened_and_about_one_thing(database):
    with database.writing() as db:
        for text in ("first", "second", "third"):
            record(db, text)
            record(db, "something else", OTHER)
    with database.reading() as db:
        assert [event.text for event in journal.events_about(db, TOY)] == ["first", "second", "third"]


def test_of_a_very_long_timeline_the_newest_part_is_told(database):
    with database.writing() as db:
        for number in range(5):
            record(db, str(number))
    with database.reading() as db:
        assert [event.text for event in journal.events_about(db, TOY, limit=2)] == ["3", "4"]


def test_a_change_that_is_rolled_back_leaves_no_event(database):
    with pytest.raises(KeyError), database.writing() as db:
        record(db, "it never was")
        raise KeyError
    with database.reading() as db:
        assert not journal.events_about(db, TOY)


def test_events_go_after_their_time_in_parts_but_none_that_is_to_be_billed(cloud):
    old, new = cloud.clock() - timedelta(days=11), cloud.clock() - timedelta(days=9)
    with cloud.database.writing() as db:
        for at in (old, new):
            for event in (EventName.VM_FIRST_BOOT_DONE, EventName.VM_STARTED):
                for number in range(AT_ONCE + 1):
                    journal.log_event(
                        db, event, at=at, project_id="default", subject_id=UUID(int=1), text=str(number)
                    )
    reconciler = Reconciler(
        cloud.database,
        {"journal": partial(forget_old, forget=journal.forget, kept_for=timedelta(days=10))},
        clock=cloud.clock,
    )
    with cloud.database.writing() as db:
        wake(db, "journal", UUID(int=2), now=cloud.clock())
    left = []
    while reconciler.run_due():
        left.append(cloud.count(journal.Event))
        cloud.clock.advance(2)
    assert left == [3 * (AT_ONCE + 1) + 1, 3 * (AT_ONCE + 1)]
    with cloud.database.reading() as db:
        kept = db.execute(select(journal.Event.event, journal.Event.at).distinct()).all()
    assert set(kept) == {("vm.started", old), ("vm.started", new), ("vm.first_boot_done", new)}


def test_the_newest_event_stays_so_that_no_other_gets_its_number(database):
    with database.writing() as db:
        for event in (EventName.VM_SHUTDOWN_SENT, EventName.VM_SHUTDOWN_SENT):
            journal.log_event(db, event, at=NOON, project_id="default", subject_id=TOY, text="old")
    with database.writing() as db:
        assert journal.forget(db, before=NOON + timedelta(days=1), most=10) == 1
    with database.reading() as db:
        assert len(journal.events_about(db, TOY)) == 1


def test_events_carry_sizes_rates_and_states_for_programs(cloud):
    cloud.running()
    cloud.ask(operations.stop_vm, "hello")
    cloud.settle()
    with cloud.database.reading() as db:
        told = {event.event: event.data for event in journal.events_about(db, cloud.row().id)}
    asked, stopped = (
        msgspec.convert(told[name], VmData) for name in (EventName.VM_CREATE_REQUESTED, EventName.VM_STOPPED)
    )
    assert (asked.state, asked.vcpus, asked.memory_gib) == ("PENDING", 2, 4)
    assert (asked.vcpu_price, asked.machine_type) == (cloud.row().vcpu_price, "standard")
    assert stopped.state == "STOPPED"


def test_every_event_of_an_owners_disk_says_how_large_it_is_and_at_what_rate(cloud):
    cloud.create_disk("data", 3)
    disk = cloud.disk_row("data")
    with cloud.database.reading() as db:
        (event,) = journal.events_about(db, disk.id)
    data = msgspec.convert(event.data, DiskData)
    assert (data.size_gib, data.pool, data.gib_price) == (3, disk.pool, disk.gib_price)
