"""Who takes room keeps others from the hosts that it takes it on, and from no more of them."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from threading import Barrier

import pytest
from sqlalchemy import update
from tests.made_up import PROJECT, make_cloud, with_shared_pool
from tests.vms.moving import names
from tests.vms.test_shared_pools import SHARED
from tests.watching import statements_of

from cumulet.catalogue import read_catalogue
from cumulet.disks import allocate, snapshot_operations, vm_operations
from cumulet.disks import operations as disk_operations
from cumulet.disks.wire import CreateDiskSnapshot, CreateStorageDisk
from cumulet.errors import Invalid, Unavailable
from cumulet.hosts import Requirements, lock_hosts, lock_pool, reserve
from cumulet.hypervisor.memory.contents import SharedDirectory
from cumulet.private_images import create as private_images
from cumulet.vm_record import Vm
from cumulet.vms import change_operations, move_operations, moves, operations
from cumulet.vms.wire import MoveVm

SNAPSHOT = CreateDiskSnapshot(snapshot_id="kept")
VERBS = {
    "grow": partial(vm_operations.resize_vm_disk, id="hello", disk_id="hello-boot", size_gib=20),
    "attach": partial(vm_operations.attach_storage_disk, id="data", vm_id="hello"),
    "image": partial(private_images.create_private_vm_image, vm_id="hello", id="taken"),
    "snapshot": partial(snapshot_operations.create_disk_snapshot, id="hello-boot", data=SNAPSHOT),
    "resize": partial(change_operations.resize_vm, id="hello", memory_gib=2),
}
"""Verbs of a VM that is off which take room on its host."""


@pytest.fixture
def cloud(database, tmp_path):
    """Three hosts, on one of which is a VM that is off and may have a storage disk."""
    cloud = make_cloud(database, tmp_path, hypervisor="memory:?hosts=3&memory_gib=16")
    cloud.create_disk()
    cloud.running(memory_gib=1)
    cloud.ask(operations.stop_vm)
    cloud.settle()
    return cloud


def ask(cloud, verb):
    cloud.call(VERBS[verb].func, project_id=PROJECT, **VERBS[verb].keywords)


def in_time(work):
    """Have work done that must wait for nobody."""
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(work).result(timeout=30)
    finally:
        pool.shutdown(wait=False)


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
@pytest.mark.parametrize("verb", VERBS)
def test_what_takes_room_on_one_host_waits_for_nobody_who_is_at_work_on_others(cloud, open_database, verb):
    others = cloud.hosts.keys() - {cloud.row().host_id}
    with open_database().writing() as db:
        lock_hosts(db, others)
        in_time(lambda: ask(cloud, verb))


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_a_new_disk_waits_for_nobody_who_is_at_work_on_other_hosts_than_its_own(cloud, open_database):
    new = CreateStorageDisk(data_center_id="local", id="new", size_gib=10)
    with open_database().writing() as db:
        lock_hosts(db, [cloud.row().host_id])  # there the least is free
        in_time(lambda: cloud.call(disk_operations.create_storage_disk, project_id=PROJECT, data=new))
    assert cloud.disk_row("new").host_id != cloud.row().host_id


def third_of(cloud):
    """A host that the VM is not on, and the other one."""
    return [id for id in cloud.hosts if id != cloud.row().host_id]


def move(cloud, to=""):
    cloud.call(move_operations.move_vm, data=MoveVm(project_id=PROJECT, vm_id="hello", host_id=to))


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_a_move_waits_for_nobody_who_is_at_work_on_other_hosts_than_its_two(cloud, open_database):
    target, third = third_of(cloud)
    with open_database().writing() as db:
        lock_hosts(db, [third])
        in_time(lambda: move(cloud, names(cloud)[target]))
    assert cloud.row().moving_to == target


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_of_two_servers_that_move_vms_to_the_last_room_at_once_one_gets_it(cloud, open_database, monkeypatch):
    both_looked = Barrier(2, timeout=30)
    monkeypatch.setattr(moves, "lock_hosts", lambda *asked: both_looked.wait() >= 0 and lock_hosts(*asked))
    cloud.ask(operations.terminate_vm)
    for name in ("one", "two"):
        cloud.running(vm_id=name, memory_gib=9)
    (last,) = cloud.hosts.keys() - {cloud.row("one").host_id, cloud.row("two").host_id}
    servers = [replace(cloud, database=open_database()) for _ in range(2)]

    def race(server, name):
        data = MoveVm(project_id=PROJECT, vm_id=name, host_id=names(cloud)[last])
        with suppress(Invalid):
            server.call(move_operations.move_vm, data=data)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(race, servers, ("one", "two")))
    assert sorted([cloud.row(name).moving_to for name in ("one", "two")], key=bool) == [None, last]


def test_a_move_goes_elsewhere_where_others_took_its_room_before_the_lock(cloud, monkeypatch):
    def too_late(db, host_ids):
        lock_hosts(db, host_ids)
        (target,) = host_ids - {cloud.row().host_id}
        reserve(db, target, target, Requirements(memory_mib=15 * 1024))
        tried.append(target)

    tried = []
    monkeypatch.setattr(moves, "lock_hosts", too_late)
    move(cloud)
    assert {cloud.row().moving_to, *tried} == {*third_of(cloud)}


def test_a_vm_that_has_just_been_moved_is_not_moved_by_what_it_was_seen_at(cloud, monkeypatch):
    def late(db, *seen, **more):
        free = moves_on(db, *seen, **more)
        db.execute(update(Vm).values(host_id=third_of(cloud)[0]))
        return free

    moves_on = moves.lock_way
    monkeypatch.setattr(moves, "lock_way", late)
    with pytest.raises(Unavailable, match="VM 'hello' has just been moved to another host: try again"):
        move(cloud)


def test_a_move_into_a_pool_that_other_hosts_share_locks_all_of_them(database, tmp_path, monkeypatch):
    catalogue = with_shared_pool(read_catalogue(None))
    cloud = make_cloud(database, tmp_path, hypervisor="memory:?hosts=3", catalogue=catalogue)
    cloud.running(boot_disk=SHARED)
    monkeypatch.setattr(moves, "lock_hosts", lambda _, host_ids: locked.append(host_ids))
    locked = []
    with cloud.database.reading() as db:
        moves.lock_way(db, cloud.catalogue, cloud.row(), to="", restart=False)
    assert len(locked.pop()) == 2, "it takes no room there: its disk is there already"
    cloud.hosts[cloud.row().host_id].contents.shared["net"] = SharedDirectory("another one")
    cloud.sweep()
    with cloud.database.reading() as db:
        moves.lock_way(db, cloud.catalogue, cloud.row(), to="", restart=False)
    assert locked == []


def test_a_new_disk_goes_elsewhere_where_others_took_its_room_before_the_lock(cloud, monkeypatch):
    def too_late(db, data_center_id, host_id, pool):
        locked = lock_pool(db, data_center_id, host_id, pool)
        free = locked.free_disk_of(pool)
        reserve(db, taken := host_id, host_id, Requirements(disk_gib=free, pool=pool))
        tried.append(taken)
        return locked.with_more_disk(-free, pool)

    tried = []
    monkeypatch.setattr(allocate, "lock_pool", too_late)
    cloud.create_disk("new")
    assert cloud.disk_row("new").host_id not in tried


@pytest.mark.parametrize("verb", ["grow", "attach", "snapshot"])
def test_room_in_a_pool_that_hosts_share_is_taken_with_all_of_them_locked(database, tmp_path, verb):
    catalogue = with_shared_pool(read_catalogue(None))
    cloud = make_cloud(database, tmp_path, hypervisor="memory:?hosts=3", catalogue=catalogue)
    cloud.create_disk(storage_class=SHARED.storage_class)
    cloud.running(boot_disk=SHARED)
    cloud.ask(operations.stop_vm)
    cloud.settle()
    with statements_of(cloud.database) as asked:
        ask(cloud, verb)
    assert any("FROM host" in one and "WHERE host.data_center_id" in one for one in asked)


@pytest.mark.parametrize("verb", VERBS)
def test_who_has_just_been_moved_takes_no_room_where_it_was(cloud, monkeypatch, verb):
    def where_it_was(locks):
        def lock(*asked, **more):
            host = locks(*asked, **more)
            return replace(host, host_id=next(id for id in cloud.hosts if id != host.host_id))

        return lock

    for module in (vm_operations, snapshot_operations, private_images):
        monkeypatch.setattr(module, "lock_pool", where_it_was(lock_pool))
    monkeypatch.setattr(
        change_operations, "capacity_with_own", where_it_was(change_operations.capacity_with_own)
    )
    with pytest.raises(Unavailable, match="has just been moved to another host: try again"):
        ask(cloud, verb)
