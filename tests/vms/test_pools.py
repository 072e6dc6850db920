"""A data center with two disk pools on a made-up host: what is asked for by class lies, counts and costs by pool."""

from dataclasses import replace
from decimal import Decimal

import pytest
from sqlalchemy import select
from tests.made_up import PROJECT, make_cloud, two_pools

from cumulet.catalogue import StorageClass, read_catalogue
from cumulet.disks import Disk, DiskState
from cumulet.disks import operations as disk_verbs
from cumulet.disks import snapshot_operations as snapshot_verbs
from cumulet.disks import vm_operations as verbs
from cumulet.disks.wire import CreateDiskSnapshot, CreateStorageDisk
from cumulet.disks.wire import Disk as DiskRequest
from cumulet.errors import Invalid
from cumulet.hosts import Reservation
from cumulet.hosts.inventory import HOST_DISK_GIB
from cumulet.hosts.orphans import GRACE
from cumulet.hypervisor import HypervisorError
from cumulet.vm_record import Vm
from cumulet.vm_record.wire import VmState
from cumulet.vms import operations as vm_verbs
from cumulet.vms.offers import list_vm_data_centers, list_vm_machine_types2

FAST, OWN = StorageClass.LOCAL, StorageClass.NETWORK
"""The class that each of the two pools serves."""
WHOLE = 100 - HOST_DISK_GIB


@pytest.fixture
def cloud(database, tmp_path):
    """A host with 100 GiB in each of two pools."""
    catalogue = two_pools(read_catalogue(None))
    return make_cloud(database, tmp_path, hypervisor="memory:?disk_gib=100", catalogue=catalogue)


def boot_disk(storage_class, size_gib=1):
    return DiskRequest(storage_class=storage_class, size_gib=size_gib)


def ask_for_disk(cloud, storage_class, **fields):
    wish = {"id": "data", "size_gib": 1, "storage_class": storage_class} | fields
    data = CreateStorageDisk(data_center_id="local", **wish)
    cloud.call(disk_verbs.create_storage_disk, project_id=PROJECT, data=data)


def pool_on_host(cloud, id):
    """Where a disk was made."""
    return cloud.host.contents.disks[cloud.disk_row(id).id].spec.pool


def taken(cloud):
    """GiB that are reserved, by pool."""
    with cloud.database.reading() as db:
        rows = db.scalars(select(Reservation)).all()
    return {pool: sum(row.disk_gib for row in rows if row.pool == pool) for pool in ("local", "fast", "")}


def resize(cloud, disk_id, size_gib):
    cloud.call(verbs.resize_vm_disk, project_id=PROJECT, id="hello", disk_id=disk_id, size_gib=size_gib)


def take_snapshot(cloud, disk_id):
    data = CreateDiskSnapshot(snapshot_id="one")
    cloud.call(snapshot_verbs.create_disk_snapshot, project_id=PROJECT, id=disk_id, data=data)


def test_each_disk_is_made_in_the_pool_that_serves_its_class(cloud):
    cloud.create_disk("slow", 20, storage_class=OWN)
    cloud.create_disk("default", 5)
    cloud.running(boot_disk=boot_disk(FAST, 10), storage_disk_ids=["slow", "default"])
    assert [pool_on_host(cloud, id) for id in ("hello-boot", "slow", "default")] == ["fast", "local", "local"]
    assert [cloud.disk(id).storage_class for id in ("hello-boot", "slow", "default")] == [FAST, OWN, OWN]
    assert taken(cloud) == {"fast": 10, "local": 25, "": 0}
    cloud.ask(vm_verbs.terminate_vm)
    cloud.settle()
    assert taken(cloud) == {"fast": 0, "local": 25, "": 0}


def test_what_one_pool_lacks_the_other_does_not_give(cloud):
    cloud.create_disk("most", WHOLE - 10, storage_class=FAST)
    with pytest.raises(Invalid, match="1 host: 10 GiB disk free in pool 'fast', 20 requested"):
        cloud.create(boot_disk=boot_disk(FAST, 20))
    with pytest.raises(
        Invalid, match=r"10 GiB disk free in pool 'fast', 20 requested.* largest that fits is 10 GiB"
    ):
        cloud.create_disk("more", 20, storage_class=FAST)
    assert (cloud.count(Vm), cloud.count(Disk)) == (0, 1)
    cloud.running(boot_disk=boot_disk(OWN, 20))
    cloud.create_disk("rest", 10, storage_class=FAST)
    assert taken(cloud) == {"fast": WHOLE, "local": 20, "": 0}


def test_disks_grow_and_keep_snapshots_in_the_room_of_their_own_pool(cloud):
    cloud.create_disk("most", WHOLE - 30, storage_class=FAST)
    cloud.create_disk("data", 10, storage_class=FAST)
    cloud.running(boot_disk=boot_disk(OWN), storage_disk_ids=["data"])
    with pytest.raises(Invalid, match="20 GiB disk free in pool 'fast', 21 requested"):
        resize(cloud, "data", 31)
    resize(cloud, "data", 20)
    resize(cloud, "hello-boot", 40)
    cloud.ask(vm_verbs.stop_vm)
    cloud.settle()
    with pytest.raises(Invalid, match="10 GiB disk free in pool 'fast', 20 requested"):
        take_snapshot(cloud, "data")
    take_snapshot(cloud, "hello-boot")
    cloud.settle()
    assert taken(cloud) == {"fast": WHOLE - 10, "local": 80, "": 0}


@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
def test_a_class_that_no_pool_serves_is_refused_and_nothing_is_written(cloud, nested):
    (data_center,) = cloud.catalogue.data_centers
    own, fast = data_center.disk_pools
    pools = (own, replace(fast, storage_classes=()))
    cloud.catalogue = replace(cloud.catalogue, data_centers=(replace(data_center, disk_pools=pools),))
    accepted = "expected STORAGE_CLASS_NETWORK, which data center 'local' serves, or none"
    with pytest.raises(Invalid, match=rf"^bootDisk\.storageClass: 'STORAGE_CLASS_LOCAL' .*{accepted}"):
        cloud.create(boot_disk=boot_disk(FAST))
    disk = DiskRequest(id="data", size_gib=1, storage_class=FAST) if nested else None
    with pytest.raises(
        Invalid, match=rf"^{'disk.' * nested}storageClass: 'STORAGE_CLASS_LOCAL' .*{accepted}"
    ):
        ask_for_disk(cloud, FAST, disk=disk)
    assert (cloud.count(Vm), cloud.count(Disk), cloud.count(Reservation)) == (0, 0, 0)


def test_each_disk_costs_what_its_pool_cost_when_it_was_made(cloud):
    cloud.create_disk("old", 3, storage_class=FAST)
    (data_center,) = cloud.catalogue.data_centers
    dearer = [replace(pool, disk_gib_price_hr=pool.disk_gib_price_hr * 10) for pool in data_center.disk_pools]
    dear = replace(data_center, disk_pools=tuple(dearer))
    cloud.catalogue = replace(cloud.catalogue, data_centers=(dear,))
    cloud.create_disk("slow", 7, storage_class=OWN)
    price = cloud.create(boot_disk=boot_disk(FAST, 2), storage_disk_ids=["old", "slow"]).price
    assert price.storage_gib_price_hr.value == "0.00232"
    own_price = Decimal("0.000116")
    expected = 2 * own_price * 20 + 3 * own_price * 2 + 7 * own_price * 10
    assert Decimal(price.total_storage_price_hr.value) == expected


def test_offers_tell_the_most_of_one_pool_and_the_sum_of_all(cloud):
    cloud.create_disk("data", 30, storage_class=FAST)
    (shown,) = cloud.call(list_vm_machine_types2).machine_types
    assert (shown.max_storage_gib_free, shown.total_storage_gib_free) == (WHOLE, 2 * WHOLE - 30)
    (data_center,) = cloud.call(list_vm_data_centers).data_centers
    assert [one.storage_class for one in data_center.disk_pool_pricing] == [OWN, FAST]


def test_a_pool_that_serves_no_class_any_more_is_not_on_offer(cloud):
    (data_center,) = cloud.catalogue.data_centers
    own, fast = data_center.disk_pools
    pools = (replace(own, storage_classes=("LOCAL", "NETWORK")), replace(fast, storage_classes=()))
    drained = replace(data_center, disk_pools=pools)
    cloud.catalogue = replace(cloud.catalogue, data_centers=(drained,))
    (shown,) = cloud.call(list_vm_machine_types2).machine_types
    assert (shown.max_storage_gib_free, shown.total_storage_gib_free) == (WHOLE, WHOLE)


def test_a_pool_that_is_not_mounted_takes_no_further_disks(cloud):
    cloud.host.unmount("fast")
    cloud.sweep()
    with pytest.raises(Invalid, match="0 GiB disk free in pool 'fast', 1 requested"):
        cloud.create(boot_disk=boot_disk(FAST))
    assert cloud.running(boot_disk=boot_disk(OWN)).boot_disk.disk_state is DiskState.USED


def test_a_disk_whose_pool_has_just_gone_is_made_when_it_is_back(cloud):
    ask_for_disk(cloud, FAST)
    cloud.create(boot_disk=boot_disk(OWN), storage_disk_ids=["data"])
    cloud.host.unmount("fast")
    cloud.pass_time(60)
    shown = cloud.disk()
    assert (shown.disk_state, shown.problem) == (DiskState.INIT, HypervisorError.for_owner)
    cloud.host.mount("fast")
    cloud.settle()
    assert (cloud.disk().disk_state, pool_on_host(cloud, "data")) == (DiskState.USED, "fast")


def test_disks_of_a_pool_that_is_not_mounted_are_missing_and_not_lost(cloud):
    cloud.used_disk("data", storage_class=FAST)
    cloud.running(boot_disk=boot_disk(FAST))
    cloud.host.write_disk(cloud.row().boot_disk_id, "hard work")
    cloud.host.kill(cloud.row().id)
    cloud.host.unmount("fast")
    cloud.sweep()
    assert (cloud.vm().state, cloud.disk().disk_state) == (VmState.FAILED, DiskState.ERROR)
    assert "in pool 'fast') is missing from the host: restore it" in cloud.vm().problem
    cloud.host.mount("fast")
    cloud.sweep()
    cloud.settle()
    assert (cloud.vm().state, cloud.disk().disk_state) == (VmState.ACTIVE, DiskState.READY)
    assert cloud.host.read_disk(cloud.row().boot_disk_id) == "hard work"


def test_what_is_deleted_while_its_pool_is_not_mounted_goes_when_it_is_back(cloud):
    cloud.used_disk("data", storage_class=FAST)
    cloud.running(boot_disk=boot_disk(FAST))
    cloud.host.unmount("fast")
    cloud.ask(disk_verbs.delete_storage_disk, "data")
    cloud.ask(vm_verbs.terminate_vm)
    cloud.settle()
    assert (cloud.count(Vm), cloud.count(Disk), taken(cloud)["fast"]) == (0, 0, 0)
    cloud.host.mount("fast")
    assert len(cloud.host.disks.list()) == 2
    for _ in range(2):
        cloud.sweep()
        cloud.clock.advance(GRACE.total_seconds() + 1)
    cloud.sweep()
    assert cloud.host.disks.list() == {}
