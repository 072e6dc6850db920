"""A disk pool that hosts share: what lies in it is on all of them, once, and its room is counted once."""

import gc

import pytest
from sqlalchemy import select
from tests.crash.faults import FaultyDatabase, insist
from tests.made_up import PROJECT, make_cloud, with_shared_pool
from tests.vms.moving import (
    LONG_ENOUGH,
    Witness,
    abort,
    arm,
    calls_of_a_move,
    host_of,
    move,
    nothing_left,
    other_of,
    reserved,
    survive,
)

from cumulet.catalogue import StorageClass, read_catalogue
from cumulet.disks import vm_operations as disk_of_vm
from cumulet.disks.wire import Disk as DiskRequest
from cumulet.errors import Invalid
from cumulet.hosts import Host
from cumulet.hosts.inventory import HOST_DISK_GIB
from cumulet.hosts.orphans import GRACE
from cumulet.hypervisor import OlderTerm
from cumulet.hypervisor.memory.contents import SharedDirectory
from cumulet.vm_record.wire import VmState
from cumulet.vms import operations
from cumulet.vms.offers import list_vm_machine_types2

SHARED, OWN = (
    DiskRequest(storage_class=StorageClass.NETWORK, size_gib=1),
    DiskRequest(storage_class=StorageClass.LOCAL, size_gib=1),
)
WHOLE = 100 - HOST_DISK_GIB


@pytest.fixture
def cloud(database, tmp_path):
    """Two hosts with 100 GiB of their own each, and 100 GiB together."""
    catalogue = with_shared_pool(read_catalogue(None))
    return make_cloud(database, tmp_path, hypervisor="memory:?hosts=2&disk_gib=100", catalogue=catalogue)


def with_another_directory(cloud):
    """Mount something else on the host on which the VM is not."""
    other_of(cloud).contents.shared["net"] = SharedDirectory("another one")
    cloud.sweep()


def stopped_on_shared(cloud):
    cloud.running(boot_disk=SHARED)
    cloud.ask(operations.stop_vm)
    cloud.settle()


def test_a_vm_whose_disk_is_shared_moves_without_its_disk_being_carried(cloud, monkeypatch):
    stopped_on_shared(cloud)
    before, there, disk_id = host_of(cloud), other_of(cloud), cloud.row().boot_disk_id
    before.write_disk(disk_id, "hard work")
    monkeypatch.setattr(type(before.disks), "send", lambda *_: pytest.fail("a shared disk is carried"))
    move(cloud)
    assert len(reserved(cloud)) == 2
    assert sum(disk for _, disk in reserved(cloud).values()) == 1, "there is one such disk"
    cloud.settle()
    assert (host_of(cloud) is there, cloud.vm().state) == (True, VmState.STOPPED)
    assert there.read_disk(disk_id) == "hard work"
    assert before.contents.own_disks == there.contents.own_disks == {}
    assert not before.contents.machines
    for _ in range(3):
        cloud.clock.advance(GRACE.total_seconds() + 1)
        cloud.sweep()
    assert there.read_disk(disk_id) == "hard work"
    cloud.ask(operations.start_vm)
    cloud.settle()
    assert cloud.vm().state is VmState.ACTIVE


def test_of_a_vm_with_disks_of_both_kinds_only_the_hosts_own_are_carried(cloud):
    cloud.create_disk("data", 1, storage_class=StorageClass.NETWORK)
    cloud.running(boot_disk=OWN, storage_disk_ids=["data"])
    cloud.ask(operations.stop_vm)
    cloud.settle()
    before, there = host_of(cloud), other_of(cloud)
    boot, data = cloud.row().boot_disk_id, cloud.disk_row("data").id
    before.write_disk(boot, "one")
    before.write_disk(data, "two")
    move(cloud)
    cloud.settle()
    assert host_of(cloud) is there
    assert (there.read_disk(boot), there.read_disk(data)) == ("one", "two")
    assert [*there.contents.own_disks] == [boot]
    assert before.contents.own_disks == {}


def test_a_directory_that_is_another_one_is_not_taken_for_the_same(cloud):
    stopped_on_shared(cloud)
    before, there, disk_id = host_of(cloud), other_of(cloud), cloud.row().boot_disk_id
    before.write_disk(disk_id, "hard work")
    with_another_directory(cloud)
    move(cloud)
    cloud.settle()
    assert there.contents.shared["net"].disks[disk_id].content == "hard work"
    assert nothing_left(before)


def test_room_in_a_shared_pool_is_counted_once_for_all_hosts(cloud):
    cloud.create_disk("one", 40, storage_class=StorageClass.NETWORK)
    cloud.create_disk("two", 40, storage_class=StorageClass.NETWORK)
    with pytest.raises(Invalid, match=f"2 hosts: {WHOLE - 80} GiB disk free in pool 'net', 40 requested"):
        cloud.create_disk("three", 40, storage_class=StorageClass.NETWORK)
    (offer, *_) = cloud.call(list_vm_machine_types2).machine_types
    assert offer.total_storage_gib_free == 2 * WHOLE + WHOLE - 80


def test_a_host_that_lost_its_mount_makes_no_more_room_in_the_pool(cloud):
    cloud.create_disk("one", 60, storage_class=StorageClass.NETWORK)
    holder = cloud.hosts[cloud.disk_row("one").host_id]
    holder.unmount("net")
    cloud.sweep()
    with pytest.raises(Invalid, match=f"{WHOLE - 60} GiB disk free"):
        cloud.create_disk("two", 60, storage_class=StorageClass.NETWORK)


def test_a_host_without_the_mount_is_no_place_for_a_vm_on_it(cloud):
    stopped_on_shared(cloud)
    other_of(cloud).unmount("net")
    cloud.sweep()
    with pytest.raises(Invalid, match="0 GiB disk free in pool 'net'"):
        move(cloud)
    assert cloud.vm().state is VmState.STOPPED


def test_a_disk_on_a_shared_pool_goes_from_a_vm_on_one_host_to_one_on_the_other(cloud):
    cloud.create_disk("data", 1, storage_class=StorageClass.NETWORK)
    cloud.running(boot_disk=OWN, storage_disk_ids=["data"])
    host_of(cloud).write_disk(cloud.disk_row("data").id, "hard work")
    cloud.running(vm_id="other", boot_disk=OWN, metadata={"cumulet/apart": "a"})
    there = cloud.row("other").host_id
    assert there != cloud.row().host_id, "hosts are filled evenly"
    cloud.call(disk_of_vm.detach_storage_disk, project_id=PROJECT, id="data")
    cloud.settle()
    cloud.call(disk_of_vm.attach_storage_disk, project_id=PROJECT, id="data", vm_id="other")
    cloud.settle()
    assert (
        cloud.hosts[there].contents.machine_with(cloud.disk_row("data").id).spec.id == cloud.row("other").id
    )
    assert cloud.disk_row("data").host_id == there
    assert cloud.hosts[there].read_disk(cloud.disk_row("data").id) == "hard work"


def test_a_new_vm_gets_storage_disks_that_were_last_on_different_hosts(cloud):
    for number, host in enumerate(cloud.hosts):
        cloud.create_disk(f"data-{number}", 1, storage_class=StorageClass.NETWORK)
        cloud.running(vm_id=f"vm-{number}", boot_disk=OWN, storage_disk_ids=[f"data-{number}"])
        assert cloud.hosts[host]
        cloud.ask(operations.terminate_vm, f"vm-{number}")
    cloud.settle()
    cloud.running(boot_disk=OWN, storage_disk_ids=["data-0", "data-1"])
    assert len(host_of(cloud).contents.machines[cloud.row().id].spec.disks) == 2


def test_a_deleted_disk_is_gone_for_all_hosts(cloud):
    stopped_on_shared(cloud)
    cloud.ask(operations.terminate_vm)
    cloud.settle()
    assert not any(host.contents.disks for host in cloud.hosts.values())


def test_a_later_term_on_shared_storage_keeps_a_host_that_never_heard_of_it_from_starting_the_vm(cloud):
    stopped_on_shared(cloud)
    before, there, vm_id = host_of(cloud), other_of(cloud), cloud.row().id
    there.machines.keep_term(vm_id, 1)
    with pytest.raises(OlderTerm):
        before.machines.start(vm_id, term=0)


def test_an_image_is_copied_once_for_all_that_share_a_pool(cloud):
    stopped_on_shared(cloud)
    before, there = host_of(cloud), other_of(cloud)
    assert before.contents.own_copies == there.contents.own_copies == {}
    assert len(before.images.copies()) == len(there.images.copies()) == 1


def test_hosts_say_which_directory_they_have_even_while_it_is_not_mounted(cloud):
    other = [*cloud.hosts][1]
    cloud.hosts[other].unmount("net")
    cloud.sweep()
    with cloud.database.reading() as db:
        rows = {host.id: host for host in db.scalars(select(Host))}
    assert rows[other].shared_pools == {"net": "the net of all"}
    assert rows[other].disk_gib["net"] == 0


def test_a_vm_whose_disk_is_shared_moves_while_it_runs_and_its_disk_stays_where_it_is(cloud):
    cloud.running(boot_disk=SHARED)
    before, there, row = host_of(cloud), other_of(cloud), cloud.row()
    before.write_disk(row.boot_disk_id, "hard work")
    disk = before.contents.disks[row.boot_disk_id]
    move(cloud)
    assert sum(disk for _, disk in reserved(cloud).values()) == 1, "there is one such disk"
    cloud.settle()
    assert (host_of(cloud), cloud.vm().state, cloud.row().started) == (there, VmState.ACTIVE, row.started)
    assert there.contents.disks[row.boot_disk_id] is disk
    assert before.contents.own_disks == there.contents.own_disks == {}
    assert not before.contents.machines


def test_of_one_with_disks_of_both_kinds_that_runs_only_the_hosts_own_are_copied(cloud):
    cloud.create_disk("data", 1, storage_class=StorageClass.NETWORK)
    cloud.running(boot_disk=OWN, storage_disk_ids=["data"])
    before, there = host_of(cloud), other_of(cloud)
    boot, data = cloud.row().boot_disk_id, cloud.disk_row("data").id
    before.write_disk(boot, "one")
    before.write_disk(data, "two")
    disk = before.contents.disks[data]
    move(cloud)
    cloud.settle()
    assert (host_of(cloud), cloud.row().crashes) == (there, 0)
    assert (there.read_disk(boot), there.contents.disks[data]) == ("one", disk)
    assert (before.contents.own_disks, [*there.contents.own_disks]) == ({}, [boot])


def test_a_shared_disk_is_neither_copied_nor_removed_while_either_host_lacks_its_mount(cloud):
    cloud.running(boot_disk=SHARED)
    before, there, disk_id = host_of(cloud), other_of(cloud), cloud.row().boot_disk_id
    before.write_disk(disk_id, "hard work")
    for host in (before, there):
        move(cloud)
        host.unmount("net")
        cloud.pass_time(20)
        assert cloud.vm().state is VmState.MIGRATING
        abort(cloud)
        cloud.pass_time(20)
        host.mount("net")
        cloud.pass_time(120)
        assert (host_of(cloud), cloud.vm().state) == (before, VmState.ACTIVE)
        assert before.read_disk(disk_id) == there.read_disk(disk_id) == "hard work"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # who dies closes no line
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.slow
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("dies", [True, False], ids=["dies", "fails"])
@pytest.mark.parametrize("after", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("which", ["source", "target", "commit"])
def test_wherever_a_live_move_on_a_shared_pool_is_hit_the_vm_runs_once_with_the_one_disk_that_it_has(
    cloud, monkeypatch, which, after, dies
):
    cloud.database = FaultyDatabase(cloud.database.url)
    cloud.reconciler = cloud.new_reconciler()
    cloud.running(boot_disk=SHARED)
    witness = Witness(cloud, monkeypatch)
    started, disk = cloud.row().started, host_of(cloud).contents.disks[cloud.row().boot_disk_id]
    for call in range(1, calls_of_a_move(cloud, which, restart=False) + 1):
        source, target = host_of(cloud), other_of(cloud)
        arm(cloud, which, call, after=after, dies=dies, source=source, target=target)
        insist(lambda: move(cloud))
        survive(cloud, LONG_ENOUGH)
        assert (call, cloud.vm().state, host_of(cloud)) == (call, VmState.ACTIVE, target)
        assert (call, cloud.row().started, cloud.row().crashes) == (call, started, 0)
        assert (source.contents.disks, source.contents.own_disks) == ({cloud.row().boot_disk_id: disk}, {})
        assert (call, source.contents.machines, witness.most) == (call, {}, 1)
    cloud.database.close()
    gc.collect()  # what those who died had open, here and not in a later test
