"""A storage disk's life without a VM, on a made-up host."""

from uuid import uuid4

import pytest
from sqlalchemy import select
from tests.made_up import PROJECT, Cloud, make_cloud
from tests.projects.people import add_user
from tests.words import NO_CAPACITY

from cumulet.disks import Disk, DiskState, DiskType, Snapshot
from cumulet.disks import operations as disk_verbs
from cumulet.disks import snapshot_operations as snapshot_verbs
from cumulet.disks import vm_operations as verbs
from cumulet.disks.wire import CreateStorageDisk
from cumulet.errors import AlreadyExists, Forbidden, Invalid, NotFound, Refused, Unavailable
from cumulet.hosts import Reservation
from cumulet.hosts.orphans import GRACE
from cumulet.hypervisor import DiskSpec
from cumulet.journal import events_about
from cumulet.projects import Role
from cumulet.reconcile import Due
from cumulet.resource import lock

AFTER_GRACE = GRACE.total_seconds() + 1


def ask_for(cloud, id="data", size_gib=10, data_center_id="local", caller=None):
    data = CreateStorageDisk(data_center_id=data_center_id, id=id, size_gib=size_gib)
    cloud.call(disk_verbs.create_storage_disk, caller, project_id=PROJECT, data=data)


def listed(cloud, **query):
    answer = cloud.call(disk_verbs.list_disks, project_id=PROJECT, **query)
    return [disk.id for disk in answer.disks], answer.total_count


def reserved(cloud):
    with cloud.database.reading() as db:
        return sum(db.scalars(select(Reservation.disk_gib)))


def test_a_disk_that_was_asked_for_is_ready_and_made_when_a_vm_gets_it(cloud):
    ask_for(cloud)
    disk = cloud.disk()
    assert (disk.disk_state, disk.disk_type, disk.size_gib) == (DiskState.READY, DiskType.STORAGE, 10)
    assert (disk.vm_id, disk.data_center_id, disk.project_id) == ("", "local", PROJECT)
    cloud.sweep()
    assert (cloud.host.disks.list(), cloud.due("disk", cloud.disk_row().id)) == ({}, None)
    cloud.running(storage_disk_ids=["data"])
    assert cloud.host.disks.list().items() >= {cloud.disk_row().id: 10}.items()


def test_its_room_is_taken_from_the_request_to_its_end(cloud):
    ask_for(cloud)
    assert reserved(cloud) == 10
    cloud.settle()
    cloud.ask(disk_verbs.delete_storage_disk, "data")
    assert reserved(cloud) == 10
    cloud.settle()
    assert [cloud.count(table) for table in (Disk, Reservation, Due)] == [0, 0, 0]
    assert cloud.host.disks.list() == {}
    with pytest.raises(NotFound, match="'data'"):
        cloud.disk()


@pytest.mark.parametrize(
    ("make", "life"),
    [(Cloud.create_disk, []), (Cloud.used_disk, ["disk.assigned", "disk.created", "disk.released"])],
    ids=["never used", "used"],
)
def test_its_story_is_told(cloud, make, life):
    id = make(cloud) and cloud.disk_row().id
    cloud.ask(disk_verbs.delete_storage_disk, "data")
    cloud.ask(disk_verbs.delete_storage_disk, "data")
    assert cloud.disk().disk_state is DiskState.DELETE
    cloud.settle()
    with cloud.database.reading() as db:
        told = [fact.event for fact in events_about(db, id)]
    assert told == ["disk.create_requested", *life, "disk.delete_requested", "disk.deleted"]


def test_a_disk_takes_room_where_most_is_free(database, tmp_path):
    cloud = make_cloud(database, tmp_path, hypervisor="memory:?hosts=2&disk_gib=100")
    for number in range(4):
        cloud.create_disk(f"disk-{number}", 40)
    places = [cloud.disk_row(f"disk-{number}").host_id for number in range(4)]
    assert [places.count(host_id) for host_id in cloud.hosts] == [2, 2]


def test_a_disk_that_no_vm_had_goes_though_its_host_does_not_answer(cloud):
    cloud.create_disk()
    cloud.host.unreachable = True
    cloud.ask(disk_verbs.delete_storage_disk, "data")
    cloud.settle()
    assert (cloud.count(Disk), reserved(cloud)) == (0, 0)


def test_no_room_tells_what_is_short_and_what_would_fit(database, tmp_path):
    cloud = make_cloud(database, tmp_path, hypervisor="memory:?hosts=1&disk_gib=100")
    cloud.create_disk("first", 60)
    with pytest.raises(Invalid) as refusal:
        ask_for(cloud, "second", 60)
    assert "memory-1: 36 GiB disk free, 60 requested" in refusal.value.message
    assert "the largest that fits is 36 GiB" in refusal.value.message
    assert refusal.value.details[0]["reason"] == "NO_CAPACITY"
    assert cloud.count(Disk) == 1


def test_lists_come_in_pages_and_by_data_center(cloud):
    for name in ("b", "c", "a"):
        cloud.create_disk(name)
    assert listed(cloud) == (["a", "b", "c"], 3)
    assert listed(cloud, page_size=2) == (["a", "b"], 3)
    assert listed(cloud, page_size=2, page_number=2) == (["c"], 3)
    assert listed(cloud, data_center_id="local")[1] == 3
    assert listed(cloud, data_center_id="mars") == ([], 0)


def test_names_of_disks_are_taken_once_in_a_project_whatever_the_disk_is_for(cloud):
    cloud.create()
    cloud.create_disk()
    for name in ("data", "hello-boot"):
        with pytest.raises(AlreadyExists, match=f"^id: .*'{name}'"):
            ask_for(cloud, name)
    with pytest.raises(AlreadyExists, match=r"^bootDisk.id: .*'x-boot'"):
        ask_for(cloud, "x-boot")
        cloud.create(vm_id="x")


def test_an_unknown_data_center_is_refused_by_name(cloud):
    with pytest.raises(Invalid, match=r"^dataCenterId: .* 'mars'; there is only 'local'"):
        ask_for(cloud, data_center_id="mars")


def test_others_neither_see_nor_touch_it(cloud):
    cloud.create_disk()
    with cloud.database.writing() as db:
        stranger, viewer = add_user(db, "eve"), add_user(db, "vi", default=Role.VIEWER)
    for verb in (disk_verbs.get_disk, disk_verbs.delete_storage_disk):
        with pytest.raises(NotFound, match="project"):
            cloud.ask(verb, "data", stranger)
    assert cloud.ask(disk_verbs.get_disk, "data", viewer).disk.id == "data"
    for verb in (disk_verbs.delete_storage_disk, verbs.detach_storage_disk):
        with pytest.raises(Forbidden):
            cloud.ask(verb, "data", viewer)
    with pytest.raises(Forbidden):
        ask_for(cloud, "other", caller=viewer)


def test_a_lost_disk_is_never_replaced_by_an_empty_one_and_found_again(cloud):
    cloud.used_disk()
    id = cloud.disk_row().id
    lost = cloud.host.contents.disks.pop(id)
    cloud.sweep()
    assert (cloud.disk().disk_state, cloud.host.disks.list()) == (DiskState.ERROR, {})
    assert "restore it, or delete it" in cloud.disk().problem
    cloud.host.contents.disks[id] = lost
    cloud.sweep()
    assert (cloud.disk().disk_state, cloud.disk().problem) == (DiskState.READY, "")


def test_a_lost_disk_can_be_deleted(cloud):
    cloud.used_disk()
    cloud.host.contents.disks.clear()
    cloud.sweep()
    cloud.ask(disk_verbs.delete_storage_disk, "data")
    cloud.settle()
    assert cloud.count(Disk) == 0


def test_a_disk_with_a_row_is_a_leftover_only_where_the_host_of_its_row_has_it_too(database, tmp_path):
    cloud = make_cloud(database, tmp_path, hypervisor="memory:?hosts=2")
    cloud.used_disk()
    id = cloud.disk_row().id
    (other,) = [host for host in cloud.hosts.values() if id not in host.disks.list()]
    own = cloud.hosts[cloud.disk_row().host_id]
    other.disks.create(DiskSpec(id, 10, None, "local"))
    kept = own.contents.disks.pop(id)
    for _ in range(2):
        cloud.sweep()
        cloud.clock.advance(AFTER_GRACE)
    assert id in other.disks.list()
    own.contents.disks[id] = kept
    for _ in range(2):
        cloud.sweep()
        cloud.clock.advance(AFTER_GRACE)
    assert [id in host.disks.list() for host in (own, other)] == [True, False]


def test_orphans_go_from_each_of_several_hosts(database, tmp_path):
    cloud = make_cloud(database, tmp_path, hypervisor="memory:?hosts=2")
    for host in cloud.hosts.values():
        host.disks.create(DiskSpec(stray := uuid4(), 10, None, "local"))
        cloud.remember(stray)
    cloud.sweep()
    cloud.clock.advance(AFTER_GRACE)
    cloud.sweep()
    assert [host.disks.list() for host in cloud.hosts.values()] == [{}, {}]


def test_a_disk_without_a_row_goes_after_the_grace(cloud):
    cloud.used_disk()
    cloud.host.disks.create(DiskSpec(stray := uuid4(), 10, None, "local"))
    cloud.remember(stray)
    cloud.sweep()
    assert stray in cloud.host.disks.list()
    cloud.clock.advance(AFTER_GRACE)
    cloud.sweep()
    assert cloud.host.disks.list().keys() == {cloud.disk_row().id}


# Snapshots
def snapshots(cloud):
    return cloud.ask(disk_verbs.get_disk, "data").snapshots


def take(cloud, name, **query):
    data = snapshot_verbs.CreateDiskSnapshot(snapshot_id=name, **query)
    cloud.call(snapshot_verbs.create_disk_snapshot, project_id=PROJECT, id="data", data=data)


def change(cloud, verb, name, **query):
    cloud.call(verb, project_id=PROJECT, id="data", snapshot_id=name, **query)


def test_a_snapshot_brings_back_what_the_disk_held(cloud):
    cloud.used_disk()
    id = cloud.disk_row().id
    cloud.host.write_disk(id, "first")
    take(cloud, "one")
    assert cloud.disk().disk_state is DiskState.LOCKED
    cloud.settle()
    assert cloud.disk().disk_state is DiskState.READY
    cloud.host.write_disk(id, "second")
    take(cloud, "two")
    cloud.settle()
    assert [(one.id, one.active, one.size_gib) for one in snapshots(cloud)] == [
        ("one", False, 10),
        ("two", True, 10),
    ]
    change(cloud, snapshot_verbs.revert_disk, "one")
    cloud.settle()
    assert cloud.host.read_disk(id) == "first"
    assert [one.active for one in snapshots(cloud)] == [True, False]
    cloud.host.write_disk(id, "third")
    take(cloud, "three")
    cloud.settle()
    assert cloud.host.read_disk(id) == "third"


def test_a_snapshot_takes_room_until_it_is_gone(cloud):
    cloud.used_disk()
    take(cloud, "one")
    assert reserved(cloud) == 20
    cloud.settle()
    change(cloud, snapshot_verbs.delete_disk_snapshot, "one")
    assert (snapshots(cloud), reserved(cloud)) == ([], 20)
    cloud.settle()
    assert (reserved(cloud), cloud.count(Snapshot)) == (10, 0)
    assert cloud.host.disks.snapshots(cloud.disk_row().id) == frozenset()


def test_a_disk_goes_with_its_snapshots(cloud):
    cloud.used_disk()
    take(cloud, "one")
    cloud.settle()
    cloud.ask(disk_verbs.delete_storage_disk, "data")
    cloud.settle()
    assert [cloud.count(table) for table in (Disk, Snapshot, Reservation)] == [0, 0, 0]


def test_a_disk_that_is_being_changed_is_not_changed_further(cloud):
    cloud.used_disk()
    take(cloud, "one")
    with pytest.raises(Refused, match="DISK_STATE_LOCKED") as refusal:
        take(cloud, "two")
    assert refusal.value.reason == "DISK_NOT_READY"


def test_a_disk_that_changes_hands_just_now_is_to_be_asked_for_again(cloud, monkeypatch):
    cloud.used_disk()

    def changes_hands(db, seen):
        disk = lock(db, seen)
        disk.vm_id = uuid4()
        return disk

    monkeypatch.setattr(snapshot_verbs, "lock", changes_hands)
    with pytest.raises(Unavailable, match="try again"):
        take(cloud, "one")
    assert cloud.disk().vm_id == ""


def test_snapshots_are_refused_by_name(cloud):
    cloud.used_disk()
    take(cloud, "one")
    cloud.settle()
    with pytest.raises(AlreadyExists, match="'one'"):
        take(cloud, "one")
    with pytest.raises(Invalid, match=r"^snapshotId: 'One'"):
        take(cloud, "One")
    with pytest.raises(Invalid, match=r"^vmId: 'hello' .* the disk is attached to no VM"):
        take(cloud, "two", vm_id="hello")
    for verb in (snapshot_verbs.revert_disk, snapshot_verbs.delete_disk_snapshot):
        with pytest.raises(NotFound, match="called 'nothing'; there is only 'one'"):
            change(cloud, verb, "nothing")


def test_a_disk_that_no_vm_had_has_nothing_to_keep_in_a_snapshot(cloud):
    cloud.create_disk()
    with pytest.raises(Refused, match=r"disk 'data': it is empty .*: attach it to a VM first$") as refusal:
        take(cloud, "one")
    assert (refusal.value.reason, cloud.count(Snapshot)) == ("DISK_NOT_READY", 0)


def test_a_snapshot_for_which_there_is_no_room_is_refused(database, tmp_path):
    cloud = make_cloud(database, tmp_path, hypervisor="memory:?hosts=1&disk_gib=20")
    cloud.used_disk()
    with pytest.raises(Invalid, match=NO_CAPACITY):
        take(cloud, "one")
    assert (cloud.count(Snapshot), cloud.disk().disk_state) == (0, DiskState.READY)
