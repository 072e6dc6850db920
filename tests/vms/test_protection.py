"""VMs and disks that are protected from deletion: nobody deletes them, and nothing does, before that is lifted."""

import pytest
from tests.made_up import PROJECT
from tests.words import PROTECTED

from cumulet.disks import operations as disk_verbs
from cumulet.disks import vm_operations as vm_disk_verbs
from cumulet.disks.wire import CreateStorageDisk, Disk, UpdateDiskDeletionProtection
from cumulet.errors import Invalid, NotFound, Refused
from cumulet.projects import operations as projects
from cumulet.projects.wire import CreateProject
from cumulet.vm_record.wire import VmState
from cumulet.vms import change_operations as changes
from cumulet.vms import operations as verbs
from cumulet.vms.reconcile import vm as reconcile
from cumulet.vms.wire import UpdateVmDeletionProtection, UpdateVmExpireTime


def protect(cloud, *, protected=True):
    data = UpdateVmDeletionProtection(deletion_protection=protected)
    cloud.call(changes.update_vm_deletion_protection, project_id=PROJECT, id="hello", data=data)


def expire(cloud, ttl):
    data = UpdateVmExpireTime(ttl=ttl)
    cloud.call(changes.update_vm_expire_time, project_id=PROJECT, id="hello", data=data)


def protect_disk(cloud, id="data", *, protected=True):
    data = UpdateDiskDeletionProtection(deletion_protection=protected)
    cloud.call(disk_verbs.update_disk_deletion_protection, project_id=PROJECT, id=id, data=data)


def delete_disk(cloud):
    cloud.call(disk_verbs.delete_storage_disk, project_id=PROJECT, id="data")


def test_a_protected_vm_is_terminated_only_once_that_is_lifted(cloud):
    cloud.create(deletion_protection=True)
    cloud.settle()
    with pytest.raises(Refused, match=PROTECTED) as refused:
        cloud.ask(verbs.terminate_vm)
    assert (refused.value.code, refused.value.details[1]["reason"]) == (9, "DELETION_PROTECTED")
    assert cloud.vm().deletion_protection
    protect(cloud, protected=False)
    assert not cloud.vm().deletion_protection
    cloud.ask(verbs.terminate_vm)
    cloud.settle()
    with pytest.raises(NotFound):
        cloud.vm()


def test_each_change_of_protection_is_told_once(cloud):
    cloud.running()
    for protected in (True, True, False):
        protect(cloud, protected=protected)
    told = [one for one in cloud.events() if "protected" in one]
    assert told == ["vm.protected", "vm.unprotected"]


def test_a_protected_vm_outlives_its_time_and_goes_when_its_protection_is_lifted(cloud):
    cloud.running(ttl="60s")
    protect(cloud)
    cloud.pass_time(3600)
    assert cloud.vm().state is VmState.ACTIVE
    protect(cloud, protected=False)
    cloud.settle()
    with pytest.raises(NotFound):
        cloud.vm()


def test_a_vm_that_is_protected_while_its_end_is_begun_lives_on(cloud, monkeypatch):
    cloud.running(ttl="60s")
    cloud.clock.advance(60)
    look = reconcile.expired

    def protect_and_look(run, vm):
        monkeypatch.setattr(reconcile, "expired", look)
        protect(cloud)
        return look(run, vm)

    monkeypatch.setattr(reconcile, "expired", protect_and_look)
    cloud.settle()
    assert cloud.vm().state is VmState.ACTIVE


def test_no_time_is_set_for_the_end_of_a_protected_vm(cloud):
    cloud.running(deletion_protection=True)
    with pytest.raises(Refused, match=PROTECTED):
        expire(cloud, "60s")
    with pytest.raises(Invalid, match="deletionProtection: True is not accepted; expected false beside"):
        cloud.create(vm_id="other", deletion_protection=True, ttl="60s")


def test_a_vm_that_is_being_terminated_is_not_protected_any_more(cloud):
    cloud.running()
    cloud.ask(verbs.terminate_vm)
    with pytest.raises(Refused, match="already being terminated"):
        protect(cloud)


def test_a_protected_disk_is_deleted_only_once_that_is_lifted(cloud):
    cloud.create_disk(deletion_protection=True)
    assert cloud.disk().deletion_protection
    with pytest.raises(Refused, match=PROTECTED):
        delete_disk(cloud)
    protect_disk(cloud, protected=False)
    delete_disk(cloud)
    with pytest.raises(Refused, match="being deleted"):
        protect_disk(cloud)


def test_older_clients_protect_a_new_disk_in_their_form(cloud):
    disk = Disk(id="data", size_gib=1, deletion_protection=True)
    data = CreateStorageDisk(data_center_id="local", disk=disk)
    cloud.call(disk_verbs.create_storage_disk, project_id=PROJECT, data=data)
    assert cloud.disk().deletion_protection


def test_a_protected_disk_outlives_its_vm_and_is_attached_and_detached(cloud):
    cloud.running()
    cloud.attached()
    protect_disk(cloud)
    assert cloud.vm().storage_disks[0].deletion_protection
    cloud.call(vm_disk_verbs.detach_storage_disk, project_id=PROJECT, id="data")
    cloud.settle()
    cloud.call(vm_disk_verbs.attach_storage_disk, project_id=PROJECT, id="data", vm_id="hello")
    cloud.settle()
    cloud.ask(verbs.terminate_vm)
    cloud.settle()
    with pytest.raises(Refused, match=PROTECTED):
        delete_disk(cloud)


def test_a_boot_disk_is_protected_with_its_vm(cloud):
    cloud.running()
    with pytest.raises(Refused, match="protect that VM"):
        protect_disk(cloud, "hello-boot")
    with pytest.raises(Invalid, match=r"bootDisk\.deletionProtection"):
        cloud.create(vm_id="other", boot_disk=Disk(deletion_protection=True))


def test_a_project_with_a_protected_disk_is_not_deleted(cloud):
    cloud.call(projects.create_project, data=CreateProject(id="other"))
    data = CreateStorageDisk(data_center_id="local", id="data", size_gib=1, deletion_protection=True)
    cloud.call(disk_verbs.create_storage_disk, project_id="other", data=data)
    with pytest.raises(Refused, match="is not empty"):
        cloud.call(projects.delete_project, id="other")
    assert cloud.call(disk_verbs.get_disk, project_id="other", id="data").disk.deletion_protection
