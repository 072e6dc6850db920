"""Disks of real guests: found by their serial, growing under them, keeping what was written through all that happens to VMs."""

import time
from uuid import UUID

import pytest
from tests.e2e.real_cloud import RealCloud, Vm
from tests.lab.small_disk import cramped, enlarge
from tests.waiting import eventually

pytestmark = pytest.mark.lab

DISKS = "/v1/projects/default/disks"
DISK = "/v1/projects/default/disk"
SECTORS = (1 << 30) // 512
"""Of a GiB."""


@pytest.fixture(scope="module")
def vm(cloud: RealCloud) -> Vm:
    """A guest that each test leaves as it was."""
    return cloud.create("keeper").wait_for_ssh()


def shown(cloud, id):
    return cloud.ask("GET", f"{DISKS}/{id}")["disk"]


def wait_for(cloud, id, state):
    eventually(lambda: shown(cloud, id)["diskState"] == f"DISK_STATE_{state}")


def create(cloud, id, gib=1):
    cloud.ask("POST", DISKS, json={"dataCenterId": "local", "id": id, "sizeGib": gib})
    wait_for(cloud, id, "READY")


def attach(vm, id):
    vm.cloud.ask("PATCH", f"{DISK}/{id}/attach", params={"vmId": vm.name})
    wait_for(vm.cloud, id, "USED")


def detach(cloud, id):
    cloud.ask("PUT", f"{DISK}/{id}/detach")
    wait_for(cloud, id, "READY")


def delete(cloud, id):
    cloud.ask("DELETE", f"{DISKS}/{id}")
    eventually(lambda: cloud.api.get(f"{DISKS}/{id}").status_code == 404)


def device(vm, id):
    """The name of the disk in the guest, or nothing; the micro image has no udev that would link it by its serial."""
    serial = shown(vm.cloud, id)["serial"]
    return vm.output_of(f"grep -l '^{serial}' /sys/block/*/serial | cut -d/ -f4 || true").strip()


def sectors(vm, name):
    return int(vm.output_of(f"cat /sys/block/{name}/size"))


def mounted(vm, id, command):
    """What a command prints with the disk's file system at hand."""
    name = eventually(lambda: device(vm, id))
    return vm.output_of(f"mount /dev/{name} /mnt && cd /mnt && {command}; cd / && umount /mnt")


def power(vm, verb, state):
    vm.verb(verb)
    vm.wait_for(state)


def test_a_running_guest_finds_a_disk_by_its_serial_and_loses_it_again(cloud, vm):
    create(cloud, "passing", 2)
    attach(vm, "passing")
    name = eventually(lambda: device(vm, "passing"))
    assert sectors(vm, name) == 2 * SECTORS
    detach(cloud, "passing")
    eventually(lambda: not device(vm, "passing"))
    delete(cloud, "passing")


def test_what_is_written_to_a_disk_outlives_its_vms(cloud, vm):
    create(cloud, "lasting")
    attach(vm, "lasting")
    name = eventually(lambda: device(vm, "lasting"))
    vm.output_of(f"mke2fs -q /dev/{name}")
    write = "dd if=/dev/urandom of=file bs=1M count=20 2>/dev/null; sync; md5sum file"
    digest = mounted(vm, "lasting", write)
    cloud.ask("PATCH", f"{vm.path}/disks", params={"diskId": "lasting", "sizeGib": 3})
    eventually(lambda: sectors(vm, name) == 3 * SECTORS)
    assert mounted(vm, "lasting", "md5sum file") == digest
    detach(cloud, "lasting")

    other = cloud.create("other", storageDiskIds=["lasting"]).wait_for_ssh()
    assert mounted(other, "lasting", "md5sum file") == digest
    power(other, "stop", "STOPPED")
    cloud.ask("POST", f"{DISKS}/lasting/snapshots", json={"snapshotId": "good", "vmId": "other"})
    wait_for(cloud, "lasting", "USED")
    power(other, "start", "ACTIVE")
    other.wait_for_ssh()
    assert mounted(other, "lasting", "echo spoilt > file; sync; md5sum file") != digest
    power(other, "stop", "STOPPED")
    cloud.ask("POST", f"{DISKS}/lasting/revert", params={"snapshotId": "good", "vmId": "other"})
    other.verb("terminate")
    eventually(other.gone)

    wait_for(cloud, "lasting", "READY")
    attach(vm, "lasting")
    assert mounted(vm, "lasting", "md5sum file") == digest
    assert sectors(vm, device(vm, "lasting")) == 3 * SECTORS
    detach(cloud, "lasting")
    delete(cloud, "lasting")


def test_a_guest_that_its_host_has_no_room_for_is_kept_still_until_there_is_and_loses_nothing(
    cloud, vm, tmp_path
):
    create(cloud, "tight")
    attach(vm, "tight")  # is what makes it
    detach(cloud, "tight")
    (file,) = cloud.column("SELECT id FROM disk WHERE name = 'tight'")
    with cramped(cloud.data_dir / f"host/disks/{UUID(file)}.qcow2", tmp_path):
        attach(vm, "tight")
        name = eventually(lambda: device(vm, "tight"))
        digest = vm.output_of(
            "dd if=/dev/urandom of=/root/work bs=1M count=8 2>/dev/null; md5sum </root/work"
        )
        vm.output_of(
            f"(dd if=/root/work of=/dev/{name} bs=1M conv=fsync; echo $? >/root/done) </dev/null >/dev/null 2>&1 &"
        )
        vm.wait_for("SUSPENDED")
        eventually(lambda: "cannot write to one of its disks" in vm.shown()["waitingFor"])
        enlarge(tmp_path)
        vm.wait_for("ACTIVE")
        eventually(lambda: vm.ssh("cat /root/done").stdout == b"0\n")
        vm.output_of("echo 3 >/proc/sys/vm/drop_caches")
        assert vm.output_of(f"dd if=/dev/{name} bs=1M count=8 2>/dev/null | md5sum") == digest
        detach(cloud, "tight")
    delete(cloud, "tight")


def test_a_disk_that_joined_and_left_a_stopped_vm_is_and_is_not_there_at_its_start(cloud, vm):
    create(cloud, "cold")
    power(vm, "stop", "STOPPED")
    attach(vm, "cold")
    power(vm, "start", "ACTIVE")
    vm.wait_for_ssh()
    assert device(vm, "cold")
    power(vm, "stop", "STOPPED")
    detach(cloud, "cold")
    delete(cloud, "cold")
    power(vm, "start", "ACTIVE")
    vm.wait_for_ssh()
    assert vm.output_of("ls -d /sys/block/vd*").split() == ["/sys/block/vda", "/sys/block/vdb"]


@pytest.mark.parametrize("moment", [0.0, 0.02])
def test_a_server_killed_over_a_disk_that_comes_or_goes_finishes_it_when_it_is_back(cloud, vm, moment):
    create(cloud, "tossed")
    cloud.ask("PATCH", f"{DISK}/tossed/attach", params={"vmId": vm.name})
    time.sleep(moment)
    cloud.kill()
    cloud.start()
    wait_for(cloud, "tossed", "USED")
    assert eventually(lambda: device(vm, "tossed"))
    cloud.ask("PUT", f"{DISK}/tossed/detach")
    time.sleep(moment)
    cloud.kill()
    cloud.start()
    wait_for(cloud, "tossed", "READY")
    eventually(lambda: not device(vm, "tossed"))
    delete(cloud, "tossed")
