"""A silent host whose VMs lie in Ceph: cut off from their disks there, they go on elsewhere without anybody's word."""

from dataclasses import replace

import pytest
from tests.made_up import with_ceph_pool
from tests.vms.test_elsewhere import on_shared, with_three_far_hosts
from tests.vms.test_lost_hosts import (
    ONE,
    THREE,
    TWO,
    PowerCommand,
    back,
    row_of,
    running_on,
    silence,
    twin_of,
)
from tests.vms.test_moves import host_of
from tests.vms.test_shared_pools import OWN

from cumulet.catalogue import StorageClass, read_catalogue
from cumulet.fleet import operations as hosts
from cumulet.fleet.wire import DrainHost
from cumulet.hosts import HostState
from cumulet.hypervisor import HypervisorError, Power
from cumulet.vm_record.wire import VmState


@pytest.fixture
def cloud(database, tmp_path):
    return with_three_far_hosts(database, tmp_path, with_ceph_pool(read_catalogue(None)))


def stays_silent(cloud):
    cloud.pass_time(600)
    return row_of(cloud, ONE).state is HostState.SILENT and cloud.vm().state is VmState.UNKNOWN


def test_a_host_that_runs_on_unheard_is_cut_off_from_its_vms_disks_and_they_run_elsewhere(cloud):
    on_shared(cloud)
    id, term, disk_id = cloud.row().id, cloud.row().term, cloud.row().boot_disk_id
    silence(cloud, ONE)
    cloud.pass_time(20)
    assert row_of(cloud, ONE).state is HostState.SILENT
    cloud.pass_time(40)
    assert (row_of(cloud, ONE).state, row_of(cloud, ONE).why) == (
        HostState.LOST,
        "Ceph lets its machines write no more",
    )
    assert (cloud.vm().state, cloud.row().term) == (VmState.ACTIVE, term + 1)
    assert host_of(cloud) is not twin_of(cloud, ONE)
    twin_of(cloud, ONE).write_disk(disk_id, "of one that slept")
    assert twin_of(cloud, ONE).contents.machines[id].power is Power.PAUSED_ON_IO_ERROR
    assert host_of(cloud).read_disk(disk_id) == "hard work"
    host_of(cloud).write_disk(disk_id, "more of it")
    assert host_of(cloud).read_disk(disk_id) == "more of it"
    back(cloud, ONE)
    assert (row_of(cloud, ONE).state, twin_of(cloud, ONE).contents.machines) == (HostState.UP, {})


def test_a_host_without_power_is_cut_off_by_the_locks_that_its_machines_left(cloud):
    on_shared(cloud)
    twin_of(cloud, ONE).boot()
    silence(cloud, ONE)
    cloud.pass_time(100)
    assert (cloud.vm().state, host_of(cloud) is twin_of(cloud, ONE)) == (VmState.ACTIVE, False)


def test_a_host_with_a_disk_of_its_own_in_use_is_left_to_its_operator(cloud):
    on_shared(cloud)
    running_on(cloud, ONE, vm_id="other", boot_disk=OWN)
    silence(cloud, ONE)
    assert stays_silent(cloud)


def test_a_storage_disk_of_its_own_counts_too(cloud):
    cloud.create_disk("data", 1, storage_class=StorageClass.LOCAL)
    on_shared(cloud, storage_disk_ids=["data"])
    silence(cloud, ONE)
    assert stays_silent(cloud)


def test_a_machine_that_nobody_sees_with_its_disk_may_write_later_and_is_not_taken_for_cut_off(cloud):
    on_shared(cloud)
    twin_of(cloud, ONE).guest_powers_off(cloud.row().id)
    silence(cloud, ONE)
    assert stays_silent(cloud)


def test_no_host_is_cut_off_while_most_are_silent(cloud):
    on_shared(cloud)
    silence(cloud, ONE, TWO)
    assert stays_silent(cloud)


def test_no_host_is_cut_off_that_its_operator_drains(cloud):
    on_shared(cloud)
    silence(cloud, ONE)
    cloud.call(hosts.drain_host, id=ONE, data=DrainHost())
    assert stays_silent(cloud)


def test_who_fails_to_cut_it_off_tries_again_and_a_host_of_another_cluster_is_not_asked(cloud, monkeypatch):
    on_shared(cloud)
    asked = []

    def refuse(disk_id):
        asked.append(disk_id)
        raise HypervisorError("Ceph does not answer")

    twin_of(cloud, TWO).unmount("net")
    cloud.sweep()
    monkeypatch.setattr(twin_of(cloud, THREE).disks, "cut_off", refuse)
    monkeypatch.setattr(twin_of(cloud, TWO).disks, "cut_off", None)
    silence(cloud, ONE)
    assert stays_silent(cloud)
    assert len(asked) > 1
    monkeypatch.undo()
    cloud.pass_time(30)
    assert (cloud.vm().state, host_of(cloud)) == (VmState.ACTIVE, twin_of(cloud, THREE))


def test_where_the_power_command_fails_it_is_cut_off_all_the_same(cloud):
    cloud.backends = replace(cloud.backends, power_off=PowerCommand())
    cloud.backends.power_off.fails = True
    cloud.reconciler = cloud.new_reconciler()
    on_shared(cloud)
    silence(cloud, ONE)
    cloud.pass_time(100)
    assert (row_of(cloud, ONE).why, cloud.vm().state) == (
        "Ceph lets its machines write no more",
        VmState.ACTIVE,
    )
