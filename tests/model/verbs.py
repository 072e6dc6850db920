"""The verbs of the API as the model test calls them: each with words alone, so that a counter-example reads like a script."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

from tests.made_up import PROJECT, Cloud

from cumulet.disks import operations as disk_operations
from cumulet.disks import snapshot_operations
from cumulet.disks import vm_operations as vm_disk_operations
from cumulet.disks.wire import CreateDiskSnapshot, CreateStorageDisk, UpdateDiskDeletionProtection
from cumulet.networks import operations as network_operations
from cumulet.networks.wire import CreateNetwork
from cumulet.private_images import create as vm_image_operations
from cumulet.private_images import operations as image_operations
from cumulet.quotas import operations as quota_operations
from cumulet.quotas.wire import SetQuota
from cumulet.security_groups import attach_operations as vm_group_operations
from cumulet.security_groups import operations as group_operations
from cumulet.security_groups.wire import CreateSecurityGroup, Protocol, Rule, RuleType, UpdateSecurityGroup
from cumulet.vms import change_operations, operations
from cumulet.vms.wire import (
    NicRequest,
    UpdateVmAuthorizedSshKeys,
    UpdateVmDeletionProtection,
    UpdateVmExpireTime,
    UpdateVmMetadata,
    UpdateVmPassword,
)

VM_VERBS = {
    "start": operations.start_vm,
    "stop": operations.stop_vm,
    "reboot": operations.reboot_vm,
    "terminate": operations.terminate_vm,
}
SNAPSHOT_VERBS = {
    "revert": snapshot_operations.revert_disk,
    "forget": snapshot_operations.delete_disk_snapshot,
}
RANGES = {"n": "10.7.0.0/24", "m": "10.8.0.0/24"}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ann"


class Verbs:
    """Asks a cloud in its owner's name."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.ports = map(str, count(1))

    def _call(self, operation, **arguments):
        return self.cloud.call(operation, project_id=PROJECT, **arguments)

    def create_vm(self, id, *, image, disks=(), networks=(), group="", gpus=0, **more):
        groups = [group] if group else []
        nics = [NicRequest(network_id=one, security_group_ids=groups) for one in networks]
        chosen = {"nics": nics} if nics else {"security_group_ids": groups}
        chosen |= {"machine_type": "standard-h100", "gpus": gpus} if gpus else {}
        self.cloud.create(vm_id=id, boot_disk_image_id=image, storage_disk_ids=list(disks), **chosen, **more)

    def queue_vm(self, id, *, seconds, **words):
        deadline = self.cloud.clock() + timedelta(seconds=seconds)
        self.create_vm(id, queue=True, queue_deadline=deadline, **words)

    def vm(self, verb, id):
        self._call(VM_VERBS[verb], id=id)

    def resize_vm(self, id, memory_gib):
        self._call(change_operations.resize_vm, id=id, memory_gib=memory_gib)

    def resize_gpus(self, id, gpus):
        self._call(change_operations.resize_vm, id=id, gpus=gpus)

    def set_password(self, id):
        data = UpdateVmPassword(password="Correct horse 1!")
        self._call(change_operations.update_vm_password, id=id, data=data)

    def set_keys(self, id):
        data = UpdateVmAuthorizedSshKeys(custom_ssh_keys=[KEY])
        self._call(change_operations.update_vm_authorized_ssh_keys, id=id, data=data)

    def label(self, id, value):
        data = UpdateVmMetadata(metadata={"label": value}, merge=True)
        self._call(change_operations.update_vm_metadata, id=id, data=data)

    def expire(self, id, seconds):
        data = UpdateVmExpireTime(ttl=f"{seconds}s")
        self._call(change_operations.update_vm_expire_time, id=id, data=data)

    def protect(self, id, *, on):
        data = UpdateVmDeletionProtection(deletion_protection=on)
        self._call(change_operations.update_vm_deletion_protection, id=id, data=data)

    def protect_disk(self, id, *, on):
        data = UpdateDiskDeletionProtection(deletion_protection=on)
        self._call(disk_operations.update_disk_deletion_protection, id=id, data=data)

    def limit(self, name, most):
        data = SetQuota(limit=most, unlimited=most is None)
        self._call(quota_operations.set_quota, name=name, data=data)

    def create_disk(self, id, size_gib):
        data = CreateStorageDisk(data_center_id="local", id=id, size_gib=size_gib)
        self._call(disk_operations.create_storage_disk, data=data)

    def delete_disk(self, id):
        self._call(disk_operations.delete_storage_disk, id=id)

    def detach(self, id):
        self._call(vm_disk_operations.detach_storage_disk, id=id)

    def attach(self, id, vm_id):
        self._call(vm_disk_operations.attach_storage_disk, id=id, vm_id=vm_id)

    def grow(self, vm_id, id, size_gib):
        self._call(vm_disk_operations.resize_vm_disk, id=vm_id, disk_id=id, size_gib=size_gib)

    def snapshot(self, verb, disk_id, name):
        if verb == "take":
            data = CreateDiskSnapshot(snapshot_id=name)
            self._call(snapshot_operations.create_disk_snapshot, id=disk_id, data=data)
        else:
            self._call(SNAPSHOT_VERBS[verb], id=disk_id, snapshot_id=name)

    def take_image(self, vm_id, id):
        self._call(vm_image_operations.create_private_vm_image, vm_id=vm_id, id=id)

    def delete_image(self, id):
        self._call(image_operations.delete_private_vm_image, id=id)

    def network(self, verb, id):
        if verb == "create":
            data = CreateNetwork(id=id, data_center_id="local", ip_range=RANGES[id])
            self._call(network_operations.create_network, data=data)
        else:
            self._call(getattr(network_operations, f"{verb}_network"), id=id)

    def group(self, verb, id):
        rules = [Rule(protocol=Protocol.TCP, rule_type=RuleType.INBOUND, ports=next(self.ports))]
        if verb == "create":
            data = CreateSecurityGroup(id=id, data_center_id="local", rules=rules)
            self._call(group_operations.create_security_group, data=data)
        elif verb == "change":
            self._call(group_operations.update_security_group, id=id, data=UpdateSecurityGroup(rules=rules))
        else:
            self._call(group_operations.delete_security_group, id=id)

    def attach_group(self, id, vm_id):
        self._call(vm_group_operations.attach_security_group, id=vm_id, security_group_id=id)

    def detach_group(self, id, vm_id):
        self._call(vm_group_operations.detach_security_group, id=vm_id, security_group_id=id)
