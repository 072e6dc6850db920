from dataclasses import replace
from uuid import uuid4

import pytest
from sqlalchemy import select
from tests.made_up import PROJECT

from cumulet import journal
from cumulet.disks import Disk
from cumulet.errors import AlreadyExists, NotFound
from cumulet.events import EventName
from cumulet.hypervisor import HypervisorError
from cumulet.reconcile import Due, NotYet, Reconciler, Run, wake
from cumulet.resource import Event, Wanted, change, changing, find, lock, note, refuse_taken
from cumulet.security_groups import SecurityGroup, operations
from cumulet.security_groups.wire import CreateSecurityGroup
from cumulet.vm_record import Vm


@pytest.fixture
def disk(cloud):
    cloud.create_disk("data")
    return cloud.disk_row("data")


def run_of(cloud, row):
    """A run that a reconciler has begun on the row."""
    with cloud.database.writing() as db:
        wake(db, row.kind, row.id, now=cloud.clock())
    (claim,) = cloud.reconciler._claim(limit=1)
    return Run(cloud.database, claim, cloud.clock())


def want(cloud, row, wanted):
    with cloud.database.writing() as db:
        db.get_one(type(row), row.id).wanted = wanted


def test_what_is_not_there_is_told_with_what_is(cloud, disk):
    with cloud.database.reading() as db, pytest.raises(NotFound) as refused:
        find(db, Disk, PROJECT, "date")
    assert refused.value.message == "there is no disk 'date'; there is only 'data'"


def test_a_name_is_taken_until_its_resource_is_gone_and_one_that_goes_is_waited_for(cloud, disk):
    for wanted in (Wanted.KEPT, Wanted.DELETED):
        want(cloud, disk, wanted)
        with cloud.database.reading() as db, pytest.raises(AlreadyExists) as refused:
            refuse_taken(db, Disk, PROJECT, "data", field="id")
        assert refused.value.message == "id: there is already a disk 'data' in project 'default'"
        assert refused.value.passing is (wanted is Wanted.DELETED)
    with cloud.database.reading() as db:
        refuse_taken(db, Vm, PROJECT, "data", field="id")


def test_what_is_gone_once_it_is_locked_is_not_there(cloud, disk):
    with cloud.database.writing() as db:
        db.delete(db.get_one(Disk, disk.id))
    with cloud.database.writing() as db, pytest.raises(NotFound):
        lock(db, disk)


def test_what_is_gone_at_once_is_not_locked_after_its_end_was_asked_for(cloud):
    data = CreateSecurityGroup(id="web", data_center_id="local", rules=[])
    cloud.call(operations.create_security_group, project_id=PROJECT, data=data)
    with cloud.database.reading() as db:
        group = find(db, SecurityGroup, PROJECT, "web")
    want(cloud, group, Wanted.DELETED)
    with cloud.database.writing() as db, pytest.raises(NotFound):
        lock(db, group)
    with cloud.database.reading() as db, pytest.raises(NotFound):
        find(db, SecurityGroup, PROJECT, "web")


def test_columns_and_the_events_that_tell_why_are_written_together(cloud, disk):
    run = run_of(cloud, disk)
    told = Event(EventName.DISK_CHANGED, "grown")
    with pytest.raises(KeyError, match="nonsense"), changing(run, disk, {"size_gib": 99}, told):
        raise KeyError("nonsense")
    assert cloud.disk_row("data").size_gib == 10
    change(run, cloud.disk_row("data"), {"size_gib": 99}, Event(EventName.DISK_CHANGED, "grown"))
    with cloud.database.reading() as db:
        told = journal.events_about(db, disk.id)[-1]
    assert (told.event, told.text, told.data["size_gib"]) == ("disk.changed", "grown", 99)


def test_what_was_seen_does_not_overrule_what_its_owner_asked_for_since(cloud, disk):
    run = run_of(cloud, disk)
    want(cloud, disk, Wanted.DELETED)
    with pytest.raises(NotYet, match="its owner requested something else"):
        change(run, disk, {"size_gib": 99})
    assert cloud.disk_row("data").size_gib == 10


SEEN = {"size_gib": 99}
TOLD = Event(EventName.DISK_CHANGED, "grown")


@pytest.mark.parametrize(
    ("end", "attempts"), [(None, 0), (NotYet("it rests", 60), 0), (HypervisorError("it broke"), 1)]
)
def test_what_was_noted_is_written_with_the_end_of_the_run_however_it_ends(cloud, disk, end, attempts):
    def reconcile(run):
        note(run, copy, SEEN, TOLD)
        assert (copy.size_gib, cloud.disk_row("data").size_gib) == (99, 10)
        if end:
            raise end

    copy, claim = cloud.disk_row("data"), run_of(cloud, disk).claim
    Reconciler(cloud.database, {"disk": reconcile}, clock=cloud.clock).settle(claim)
    assert cloud.disk_row("data").size_gib == 99
    with cloud.database.reading() as db:
        assert journal.events_about(db, disk.id)[-1].text == "grown"
        assert [due.attempts for due in db.scalars(select(Due).where(Due.id == disk.id))] == [
            attempts
        ] * bool(end)


def test_what_was_noted_goes_before_what_is_changed_after_it(cloud, disk):
    run = run_of(cloud, disk)
    note(run, disk, SEEN, TOLD)
    change(run, disk, {"size_gib": 100}, Event(EventName.DISK_CHANGED, "grown again"))
    assert (cloud.disk_row("data").size_gib, run.noted) == (100, [])
    with cloud.database.reading() as db:
        assert [event.text for event in journal.events_about(db, disk.id)[-2:]] == ["grown", "grown again"]


def test_what_was_noted_is_not_written_over_what_its_owner_asked_for_since_nor_by_who_outlived_the_lease(
    cloud, disk
):
    for overtaken in (True, False):
        run = run_of(cloud, disk)
        note(run, disk, SEEN, TOLD)
        if overtaken:
            want(cloud, disk, Wanted.DELETED)
        else:
            run.claim = replace(run.claim, lease=uuid4())
        cloud.reconciler._put_back(run, at=cloud.clock())
        assert cloud.disk_row("data").size_gib == 10
        want(cloud, disk, Wanted.KEPT)
